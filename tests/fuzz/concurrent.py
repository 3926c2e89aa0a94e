"""Many clients at once on the same few repositories: each acknowledged push readable, each delete gone, never a 5xx.

A worker owns some of the content, whose state nobody else changes, and shares the rest, of which every answer that
the spec allows is right. Only the order in which threads run is not the seed's.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable

from tests.raw import Raw, Reply
from tinyreg import Registry
from tinyreg.manifest import OCI_MANIFEST
from tinyreg.reference import Digest

from .run import Run
from .target import STORES, attacked

WORKERS = 8
STEPS = 60
NAMES = ["app", "team/app"]
SHARED = [b"shared %d" % number * (1 if number % 2 else 5000) for number in range(3)]


class Worker:
    """One client; `own` is what it has pushed and not deleted, by repository and digest or tag."""

    def __init__(self, registry: Registry, number: int, seed: int, count: Callable[[int], None]) -> None:
        self.random = random.Random(seed)
        self.number = number
        self.registry = registry
        self.count = count
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.tags: dict[tuple[str, str], bytes] = {}
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        try:
            with Raw("127.0.0.1", self.registry.port, timeout=30) as self.raw:
                for _ in range(STEPS):
                    self.random.choice([self.push, self.push, self.drop, self.tag, self.untag, self.look, self.share])()
                for _ in range(10):
                    self.look()
        except BaseException as error:
            self.error = error

    def ask(self, method: str, target: str, body: bytes | None = None, *right: int) -> Reply:
        """One request, whose status is one of those that are right."""
        headers = {"Content-Type": OCI_MANIFEST} if "/manifests/" in target and method == "PUT" else {}
        reply = self.raw.ask(method, target, headers, body)
        self.count(reply.status)
        assert reply.status in right, (method, target, reply, self.registry.errors)
        return reply

    def push(self) -> None:
        """A blob nobody else has, in one of three ways; it is there."""
        name, body = self.random.choice(NAMES), b"%d/%d" % (self.number, self.random.randrange(20))
        digest = Digest.of(body)
        if self.random.random() < 0.4:
            self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", body, 201)
        else:
            session = self.ask("POST", f"/v2/{name}/blobs/uploads/", b"", 202).headers["location"]
            self.ask("PATCH", session, body, 202)
            self.ask("PUT", f"{session}?digest={digest}", b"", 201)
        self.blobs[name, digest] = body
        other = self.random.choice(NAMES)
        self.ask("POST", f"/v2/{other}/blobs/uploads/?mount={digest}&from={name}", b"", 201)
        self.blobs[other, digest] = body
        assert self.ask("GET", f"/v2/{name}/blobs/{digest}", None, 200).body == body

    def drop(self) -> None:
        """One of its blobs, which is gone then."""
        if self.blobs:
            name, digest = self.random.choice(list(self.blobs))
            del self.blobs[name, digest]
            self.ask("DELETE", f"/v2/{name}/blobs/{digest}", None, 202)
            self.ask("GET", f"/v2/{name}/blobs/{digest}", None, 404)

    def tag(self) -> None:
        """A manifest about a shared subject, under a tag of its own and under everybody's."""
        name, tag = self.random.choice(NAMES), f"w{self.number}-{self.random.randrange(4)}"
        subject = {"mediaType": OCI_MANIFEST, "digest": Digest.of(b"subject"), "size": 7}
        note = {"note": f"{self.number} {self.random.random()}"}
        body = json.dumps({"schemaVersion": 2, "annotations": note, "subject": subject}).encode()
        self.ask("PUT", f"/v2/{name}/manifests/{tag}", body, 201)
        self.tags[name, tag] = body
        assert self.ask("GET", f"/v2/{name}/manifests/{tag}", None, 200).body == body
        about = self.ask("GET", f"/v2/{name}/referrers/{subject['digest']}", None, 200).json["manifests"]
        assert Digest.of(body) in [each["digest"] for each in about]
        if self.random.random() < 0.5:
            self.ask("PUT", f"/v2/{name}/manifests/latest", body, 201)
            self.ask("GET", f"/v2/{name}/manifests/latest", None, 200)

    def untag(self) -> None:
        """One of its tags, alone or with its manifest, which is gone then."""
        if not self.tags:
            return
        name, tag = self.random.choice(list(self.tags))
        body = self.tags.pop((name, tag))
        self.ask("DELETE", f"/v2/{name}/manifests/{tag}", None, 202)
        self.ask("GET", f"/v2/{name}/manifests/{tag}", None, 404)
        assert self.ask("GET", f"/v2/{name}/manifests/{Digest.of(body)}", None, 200).body == body
        listed = self.ask("GET", f"/v2/{name}/tags/list", None, 200).json["tags"]
        assert tag not in listed
        assert {mine for where, mine in self.tags if where == name} <= set(listed)

    def look(self) -> None:
        """What it has pushed is still there, and what nobody has is not."""
        for (name, digest), body in self.random.sample(list(self.blobs.items()), min(2, len(self.blobs))):
            assert self.ask("GET", f"/v2/{name}/blobs/{digest}", None, 200).body == body
        for (name, tag), body in self.random.sample(list(self.tags.items()), min(2, len(self.tags))):
            assert self.ask("GET", f"/v2/{name}/manifests/{tag}", None, 200).body == body
        self.ask("GET", f"/v2/{self.random.choice(NAMES)}/blobs/{Digest.of(b'nobody')}", None, 404)

    def share(self) -> None:
        """Everybody's blobs come and go; what is there is whole."""
        name, body = self.random.choice(NAMES), self.random.choice(SHARED)
        digest = Digest.of(body)
        what = self.random.randrange(4)
        if what == 0:
            self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", body, 201)
        elif what == 1:
            self.ask("DELETE", f"/v2/{name}/blobs/{digest}", None, 202, 404)
        elif what == 2:
            reply = self.ask("POST", f"/v2/{name}/blobs/uploads/?mount={digest}&from={NAMES[0]}", b"", 201, 202)
            if reply.status == 202:
                self.ask("DELETE", reply.headers["location"], None, 204)
        else:
            reply = self.ask("GET", f"/v2/{name}/blobs/{digest}", None, 200, 404)
            assert reply.status == 404 or reply.body == body


def case(random: random.Random, run: Run) -> None:
    """A new registry and WORKERS clients."""
    kind, lock = random.choice(list(STORES)), threading.Lock()

    def count(status: int) -> None:
        with lock:
            run.count(status)

    with run.guarded("concurrent", lambda: f"over {kind}"), attacked(kind) as registry:
        workers = [Worker(registry, number, random.randrange(2**32), count) for number in range(WORKERS)]
        for each in workers:
            each.thread.start()
        for each in workers:
            each.thread.join()
        for each in workers:
            if each.error:
                raise each.error


def main(run: Run) -> None:
    """Case after case."""
    for each in run.cases():
        case(each, run)
