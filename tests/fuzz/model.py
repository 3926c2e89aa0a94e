"""Random sequences of pushes, mounts, deletes, uploads, tags and referrers, compared with a few dictionaries.

hypothesis finds the sequences, and shortens those that fail. Every step's answer is what the model says; at the end
all that can be asked for is asked for. Over every store.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.raw import Raw, Reply
from tinyreg.manifest import OCI_INDEX, OCI_MANIFEST
from tinyreg.reference import Digest

from .run import Run
from .target import STORES, attacked

NAMES = ["app", "team/app", "team"]
DATA = [b"", b"one", b"two" * 30, b"three" * 20_000]
TAGS = ["v1", "v2", "latest"]
EXAMPLES = 10
"""Sequences a case has."""
STEPS = 50


@dataclass
class Known:
    """What a repository should have."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    subjects: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


names, data, tags = st.sampled_from(NAMES), st.sampled_from(DATA), st.sampled_from(TAGS)
digests = st.sampled_from(["sha256", "sha256", "sha512"])


class Machine(RuleBasedStateMachine):
    """A registry and its model, side by side."""

    kind = "memory"
    run: Run

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.registry = self.stack.enter_context(attacked(self.kind))
        self.raw = self.stack.enter_context(Raw("127.0.0.1", self.registry.port, timeout=20))
        self.known: dict[str, Known] = {}
        self.sessions: list[tuple[str, str, bytearray]] = []
        self.made: list[tuple[bytes, str, str | None]] = []

    def ask(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Reply:
        """One request; its answer is no failure of ours."""
        reply = self.raw.ask(method, target, headers or {}, body)
        self.run.count(reply.status)
        assert reply.status < 500, (reply, self.registry.errors)
        return reply

    def at(self, name: str) -> Known:
        """The repository, known from now on."""
        return self.known.setdefault(name, Known())

    def of(self, name: str) -> Known:
        """The repository, whether or not it is known."""
        return self.known.get(name, Known())

    @rule(name=names, body=data, algorithm=digests)
    def push(self, name: str, body: bytes, algorithm: str) -> None:
        digest = Digest.of(body, algorithm)
        assert self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest}", {}, body).status == 201
        self.at(name).blobs[digest] = body

    @rule(name=names, body=data)
    def push_a_lie(self, name: str, body: bytes) -> None:
        reply = self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={Digest.of(body + b'!')}", {}, body)
        assert (reply.status, reply.codes) == (400, ["DIGEST_INVALID"])

    @precondition(lambda self: len(self.sessions) < 5)
    @rule(name=names)
    def begin(self, name: str) -> None:
        reply = self.ask("POST", f"/v2/{name}/blobs/uploads/", {}, b"")
        assert reply.status == 202
        self.sessions.append((name, reply.headers["location"], bytearray()))

    @precondition(lambda self: self.sessions)
    @rule(at=st.integers(0, 4), body=data, wrong=st.booleans(), ranged=st.booleans())
    def append(self, at: int, body: bytes, wrong: bool, ranged: bool) -> None:
        _, location, held = self.sessions[at % len(self.sessions)]
        start = len(held) + (7 if wrong else 0)
        headers = {"Content-Range": f"{start}-{start + len(body) - 1}"} if ranged and body else {}
        reply = self.ask("PATCH", location, headers, body)
        if wrong and headers:
            assert reply.status == 416
        else:
            assert reply.status == 202
            held += body
        assert reply.headers["range"] == f"0-{max(0, len(held) - 1)}"
        assert self.ask("GET", location).headers["range"] == reply.headers["range"]

    @precondition(lambda self: self.sessions)
    @rule(at=st.integers(0, 4), last=data, lie=st.booleans(), algorithm=digests)
    def finish(self, at: int, last: bytes, lie: bool, algorithm: str) -> None:
        name, location, held = self.sessions.pop(at % len(self.sessions))
        whole = bytes(held) + last
        digest = Digest.of(whole + (b"!" if lie else b""), algorithm)
        assert self.ask("PUT", f"{location}?digest={digest}", {}, last).status == (400 if lie else 201)
        assert self.ask("GET", location).status == 404
        if not lie:
            self.at(name).blobs[digest] = whole

    @precondition(lambda self: self.sessions)
    @rule(at=st.integers(0, 4))
    def cancel(self, at: int) -> None:
        _, location, _ = self.sessions.pop(at % len(self.sessions))
        assert self.ask("DELETE", location).status == 204
        assert self.ask("PATCH", location, {}, b"x").status == 404

    @rule(name=names, source=names, body=data)
    def mount(self, name: str, source: str, body: bytes) -> None:
        digest = Digest.of(body)
        reply = self.ask("POST", f"/v2/{name}/blobs/uploads/?mount={digest}&from={source}", {}, b"")
        if digest in self.of(source).blobs:
            assert reply.status == 201
            self.at(name).blobs[digest] = body
        else:
            assert reply.status == 202
            assert self.ask("DELETE", reply.headers["location"]).status == 204

    @rule(name=names, body=data)
    def delete_blob(self, name: str, body: bytes) -> None:
        found = self.of(name).blobs.pop(Digest.of(body), None)
        reply = self.ask("DELETE", f"/v2/{name}/blobs/{Digest.of(body)}")
        assert reply.status == (404 if found is None else 202)

    @rule(name=names, body=data, tag=st.none() | tags, about=st.integers(-3, 5), note=st.integers(0, 3))
    def put_image(self, name: str, body: bytes, tag: str | None, about: int, note: int) -> None:
        layer = {"mediaType": "a/b", "digest": Digest.of(body), "size": len(body)}
        subject = self._subject(about)
        table = {"config": layer, "layers": [layer], "annotations": {"note": str(note)}, "subject": subject}
        self._put(name, tag, OCI_MANIFEST, table, Digest.of(body) in self.of(name).blobs)

    @precondition(lambda self: self.made)
    @rule(name=names, tag=st.none() | tags, child=st.integers(0, 20), about=st.integers(-3, 5))
    def put_index(self, name: str, tag: str | None, child: int, about: int) -> None:
        body, media_type, _ = self.made[child % len(self.made)]
        listed = {"mediaType": media_type, "digest": Digest.of(body), "size": len(body)}
        table = {"manifests": [listed], "subject": self._subject(about)}
        self._put(name, tag, OCI_INDEX, table, Digest.of(body) in self.of(name).manifests)

    def _subject(self, about: int) -> Any:
        """None, something that was never pushed, or what was, here or elsewhere."""
        if about < 0:
            return None
        body, media_type, _ = self.made[about % len(self.made)] if self.made else (b"", OCI_MANIFEST, None)
        return {"mediaType": media_type, "digest": Digest.of(body), "size": len(body)}

    def _put(self, name: str, tag: str | None, media_type: str, table: dict[str, Any], complete: bool) -> None:
        table = {"schemaVersion": 2, **{key: value for key, value in table.items() if value is not None}}
        body = json.dumps(table).encode()
        digest, subject = Digest.of(body), table.get("subject", {}).get("digest")
        reply = self.ask("PUT", f"/v2/{name}/manifests/{tag or digest}", {"Content-Type": media_type}, body)
        if not complete:
            assert (reply.status, set(reply.codes)) == (400, {"MANIFEST_BLOB_UNKNOWN"})
            return
        assert (reply.status, reply.headers.get("oci-subject")) == (201, subject)
        known = self.at(name)
        known.manifests[digest] = body, media_type
        if subject:
            known.subjects[digest] = subject
        if tag:
            known.tags[tag] = digest
        if (body, media_type, subject) not in self.made:
            self.made.append((body, media_type, subject))

    @precondition(lambda self: self.made)
    @rule(name=names, which=st.integers(0, 20))
    def delete_manifest(self, name: str, which: int) -> None:
        digest, known = Digest.of(self.made[which % len(self.made)][0]), self.of(name)
        found = known.manifests.pop(digest, None)
        assert self.ask("DELETE", f"/v2/{name}/manifests/{digest}").status == (404 if found is None else 202)
        known.subjects.pop(digest, None)
        for tag in [tag for tag, named in known.tags.items() if named == digest]:
            del known.tags[tag]

    @rule(name=names, tag=tags)
    def delete_tag(self, name: str, tag: str) -> None:
        found = self.of(name).tags.pop(tag, None)
        assert self.ask("DELETE", f"/v2/{name}/manifests/{tag}").status == (404 if found is None else 202)

    @rule(name=names, count=st.integers(0, 4), last=st.sampled_from(["", "latest", "v", "v1", "zz"]))
    def list_tags(self, name: str, count: int, last: str) -> None:
        reply = self.ask("GET", f"/v2/{name}/tags/list?n={count}&last={last}")
        if name not in self.known:
            assert reply.status == 404
            return
        rest = sorted(tag for tag in self.known[name].tags if tag > last)
        assert reply.json == {"name": name, "tags": rest[:count]}
        assert ("link" in reply.headers) == (0 < count < len(rest))

    @rule(name=names, which=st.integers(0, 20), body=data)
    def look(self, name: str, which: int, body: bytes) -> None:
        known = self.of(name)
        blob = self.ask("GET", f"/v2/{name}/blobs/{Digest.of(body)}")
        assert blob.status == (200 if Digest.of(body) in known.blobs else 404)
        if self.made:
            manifest, _, _ = self.made[which % len(self.made)]
            reply = self.ask("GET", f"/v2/{name}/manifests/{Digest.of(manifest)}")
            assert reply.status == (200 if Digest.of(manifest) in known.manifests else 404)
            self._check_referrers(name, Digest.of(manifest))

    def _check_referrers(self, name: str, digest: str) -> None:
        listed = self.ask("GET", f"/v2/{name}/referrers/{digest}").json["manifests"]
        about = {key for key, subject in self.of(name).subjects.items() if subject == digest}
        assert {each["digest"] for each in listed} == about
        assert len(listed) == len(about)

    def teardown(self) -> None:
        """All that can be asked for is as the model has it, and nothing is left behind."""
        with self.stack:
            assert self.ask("GET", "/v2/_catalog").json == {"repositories": sorted(self.known)}
            for name in NAMES:
                known = self.of(name)
                for digest, body in known.blobs.items():
                    assert self.ask("GET", f"/v2/{name}/blobs/{digest}").body == body
                for digest, (body, media_type) in known.manifests.items():
                    reply = self.ask("GET", f"/v2/{name}/manifests/{digest}")
                    assert (reply.body, reply.headers["content-type"]) == (body, media_type)
                for tag in TAGS:
                    reply = self.ask("HEAD", f"/v2/{name}/manifests/{tag}")
                    assert reply.headers.get("docker-content-digest") == known.tags.get(tag)
                for body, _, _ in self.made:
                    self._check_referrers(name, Digest.of(body))


def examine(
    kind: str, run: Run, number: int, examples: int = EXAMPLES, steps: int = STEPS, *, shorten: bool = True
) -> None:
    """Sequences of one seed over one store."""
    machine = hypothesis.seed(number)(type(f"Machine_{kind}", (Machine,), {"kind": kind, "run": run}))
    quiet = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink] if shorten else [Phase.generate],
    )
    run_state_machine_as_test(machine, settings=quiet)


def main(run: Run) -> None:
    """Store after store."""
    for each in run.cases():
        kind, number = list(STORES)[run.case % len(STORES)], each.randrange(2**32)
        with run.guarded("model", lambda kind=kind: f"over {kind}"):  # type: ignore[misc]
            examine(kind, run, number)
