"""`kill -9` at a random moment of a mix of pushes, deletes and mounts into a directory; what was acknowledged stays.

The server is a process of its own, killed again and again, over one folder. After each kill the store opens, every
acknowledged manifest and blob is there and hashes right, every acknowledged delete has stayed one, nothing half-written
is visible, and no debris grows. What was under way may have happened or not, but whole. It looks at the store's
methods and at the layout's blobs only, not at how an index is written.
"""

from __future__ import annotations

import json
import os
import random
import signal
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.raw import Raw
from tinyreg import DirectoryStore, Registry
from tinyreg.errors import RegistryError
from tinyreg.manifest import OCI_MANIFEST
from tinyreg.reference import Digest, Name, Tag

from .run import Run
from .target import debris

WORKERS = 3
LONGEST = 0.1
"""Seconds after which a server is killed at the latest."""
_Value = TypeVar("_Value")
Key = tuple[str, str]
"""A repository, and a digest or tag in it."""


@dataclass
class Model:
    """What is acknowledged, and what was under way; each worker has repositories of its own, so no two race."""

    blobs: dict[Key, bytes | None] = field(default_factory=dict)
    manifests: dict[Key, bytes | None] = field(default_factory=dict)
    tags: dict[Key, str | None] = field(default_factory=dict)
    under_way: set[Key] = field(default_factory=set)


def serve(folder: Path) -> tuple[int, int]:
    """The process and port of a server on `folder`."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        try:
            registry = Registry(folder).start()
            os.write(writing, b"%d\n" % registry.port)
            signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        line = pipe.readline()
    assert line, "the store did not open"
    return process, int(line)


class Client:
    """Pushes, mounts and deletes in two repositories of its own until the server is gone."""

    def __init__(self, number: int, seed: int, model: Model, port: int) -> None:
        self.random = random.Random(seed)
        self.names = [f"w{number}/app", f"w{number}/other"]
        self.model = model
        self.port = port
        self.acknowledged = 0
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        try:
            with Raw("127.0.0.1", self.port, timeout=20) as self.raw:
                while True:
                    self.random.choice(
                        [self.push, self.push, self.image, self.image, self.mount, self.drop, self.untag]
                    )()
        except (OSError, EOFError):
            return  # killed
        except BaseException as error:
            self.error = error

    def ask(self, method: str, target: str, body: bytes | None, right: int) -> dict[str, str]:
        """One request, acknowledged with `right`."""
        headers = {"Content-Type": OCI_MANIFEST} if "/manifests/" in target and method == "PUT" else {}
        reply = self.raw.ask(method, target, headers, body)
        assert reply.status == right, (method, target, reply)
        self.acknowledged += 1
        return dict(reply.headers)

    def push(self) -> str:
        """A blob, in one go or two."""
        name = self.names[0]
        body = b"%d" % self.random.randrange(30) * self.random.choice([1, 30_000])
        digest = Digest.of(body)
        self.model.under_way = self.model.under_way | {(name, digest)}
        if self.random.random() < 0.5:
            self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", body, 201)
        else:
            session = self.ask("POST", f"/v2/{name}/blobs/uploads/", b"", 202)["location"]
            self.ask("PATCH", session, body, 202)
            self.ask("PUT", f"{session}?digest={digest}", b"", 201)
        self._done(self.model.blobs, (name, digest), body)
        return digest

    def image(self) -> None:
        """A manifest with a layer that was pushed before it, under a tag."""
        name, layer = self.names[0], self.push()
        tag = f"t{self.random.randrange(5)}"
        listed = {"mediaType": "a/b", "digest": layer, "size": len(self.model.blobs[name, layer] or b"")}
        note = {"n": str(self.random.randrange(10))}
        body = json.dumps({"schemaVersion": 2, "layers": [listed], "annotations": note}).encode()
        digest = Digest.of(body)
        self.model.under_way = self.model.under_way | {(name, digest), (name, tag)}
        self.ask("PUT", f"/v2/{name}/manifests/{tag}", body, 201)
        self._done(self.model.manifests, (name, digest), body)
        self._done(self.model.tags, (name, tag), digest)

    def mount(self) -> None:
        """A blob from one repository in the other."""
        if found := [key for key, body in self.model.blobs.items() if body is not None and key[0] == self.names[0]]:
            name, digest = self.random.choice(found)
            target = self.names[1], digest
            self.model.under_way = self.model.under_way | {target}
            self.ask("POST", f"/v2/{target[0]}/blobs/uploads/?mount={digest}&from={name}", b"", 201)
            self._done(self.model.blobs, target, self.model.blobs[name, digest])

    def drop(self) -> None:
        """A blob of the second repository, which no manifest needs."""
        if found := [key for key, body in self.model.blobs.items() if body is not None and key[0] == self.names[1]]:
            key = self.random.choice(found)
            self.model.under_way = self.model.under_way | {key}
            self.ask("DELETE", f"/v2/{key[0]}/blobs/{key[1]}", None, 202)
            self._done(self.model.blobs, key, None)

    def untag(self) -> None:
        """A tag, or a manifest with all its tags."""
        mine = [key for key, named in self.model.tags.items() if named and key[0] == self.names[0]]
        if not mine:
            return
        name, tag = self.random.choice(mine)
        if self.random.random() < 0.5:
            self.model.under_way = self.model.under_way | {(name, tag)}
            self.ask("DELETE", f"/v2/{name}/manifests/{tag}", None, 202)
            self._done(self.model.tags, (name, tag), None)
            return
        digest = self.model.tags[name, tag]
        assert digest
        named = [key for key in mine if self.model.tags[key] == digest]
        self.model.under_way = self.model.under_way | {(name, digest), *named}
        self.ask("DELETE", f"/v2/{name}/manifests/{digest}", None, 202)
        self._done(self.model.manifests, (name, digest), None)
        for key in named:
            self._done(self.model.tags, key, None)

    def _done(self, table: dict[Key, _Value], key: Key, value: _Value) -> None:
        table[key] = value
        self.model.under_way = self.model.under_way - {key}


def verify(folder: Path, models: list[Model]) -> int:
    """Compare a store that opens now with what was acknowledged; adopt what was under way; how many were looked at."""
    store, checked = DirectoryStore(folder), 0
    for model in models:
        for (name, digest), body in model.blobs.items():
            found = _blob(store, name, digest)
            if (name, digest) not in model.under_way:
                assert found == body, f"blob {digest} of {name}: {found!r:.99}, not {body!r:.99}"
            assert found is None or Digest.of(found) == digest
            checked += 1
        for (name, digest), body in model.manifests.items():
            found = _manifest(store, name, digest)
            if (name, digest) not in model.under_way:
                assert found == body, f"manifest {digest} of {name}: {found!r:.99}, not {body!r:.99}"
            checked += 1
        for (name, tag), named in model.tags.items():
            if (name, tag) not in model.under_way:
                assert _named(store, name, tag) == named, f"{name}:{tag} is {_named(store, name, tag)}, not {named}"
        _adopt(store, model)
    for repository in store.repositories():
        for tag in store.tags(repository):
            manifest = store.manifest(repository, store.resolve(repository, tag))
            for each in manifest.layers:
                assert store.blob_size(repository, each.digest) == each.size, f"{repository}:{tag} lacks {each.digest}"
    left = [each for each in debris(folder) if each.startswith("not") or "_uploads" in each]
    assert not left, left
    return checked


def _adopt(store: DirectoryStore, model: Model) -> None:
    """What was under way is as it is now."""
    for name, what in model.under_way:
        if not what.startswith("sha256:"):
            model.tags[name, what] = _named(store, name, what)
        elif (manifest := _manifest(store, name, what)) is not None or (name, what) in model.manifests:
            model.manifests[name, what] = manifest
        elif (blob := _blob(store, name, what)) is not None or (name, what) in model.blobs:
            model.blobs[name, what] = blob
    model.under_way = set()


def _blob(store: DirectoryStore, name: str, digest: str) -> bytes | None:
    try:
        return bytes(store.blob(Name(name), Digest(digest)))
    except RegistryError:
        return None


def _manifest(store: DirectoryStore, name: str, digest: str) -> bytes | None:
    try:
        return store.manifest(Name(name), Digest(digest)).data
    except RegistryError:
        return None


def _named(store: DirectoryStore, name: str, tag: str) -> str | None:
    try:
        return store.resolve(Name(name), Tag(tag))
    except RegistryError:
        return None


def strays(folder: Path) -> int:
    """Files in the folder that are no blobs."""
    return sum(path.is_file() and path.parent.parent.name != "blobs" for path in folder.rglob("*"))


def case(random: random.Random, run: Run, folder: Path, models: list[Model]) -> None:
    """A server, a few clients, a kill, a look."""
    with run.guarded("kill"):
        process, port = serve(folder)
        clients = [Client(number, random.randrange(2**32), model, port) for number, model in enumerate(models)]
        try:
            for client in clients:
                client.thread.start()
            time.sleep(random.random() * LONGEST)
        finally:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        for client in clients:
            client.thread.join()
        for client in clients:
            if client.error:
                raise client.error
        run.answers["under way"] += sum(len(model.under_way) > 0 for model in models)
        run.answers["acknowledged"] += sum(client.acknowledged for client in clients)
        run.answers["checked"] += verify(folder, models)
        run.count("killed")


def main(run: Run) -> None:
    """Kill after kill, over one folder; a kill counts as a request."""
    models = [Model() for _ in range(WORKERS)]
    with tempfile.TemporaryDirectory(prefix="tinyreg-kill-") as name:
        folder = Path(name)
        for each in run.cases():
            case(each, run, folder, models)
        run.figures["files that are no blobs, at the end"] = str(strays(folder))
        run.figures["blobs, at the end"] = str(sum(path.is_file() for path in folder.rglob("blobs/*/*")))
        assert strays(folder) <= 4 * 2 * WORKERS, "debris grows"
