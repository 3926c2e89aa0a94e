"""What a client may take of us: room, time and connections, and what it is told where that is too much."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from tinyreg import DirectoryStore, MemoryStore, Registry, wire
from tinyreg.content import SMALL
from tinyreg.errors import BlobTooLarge
from tinyreg.reference import Digest, Name
from tinyreg.server import Server
from tinyreg.store import Store
from tinyreg.store.limited import Limited
from tinyreg.wire import Disconnected, Patience, Request, Response

from .asking import ask
from .raw import Raw, request
from .store import has_blob

BLOB = b"0123456789"
DIGEST = Digest.of(BLOB)
OCI = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return DirectoryStore(tmp_path / "store") if request.param == "directory" else MemoryStore()


def raw(registry: Registry) -> Raw:
    return Raw("127.0.0.1", registry.port)


def leftovers(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "store" / "_uploads").glob("*"))


# Sizes


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("steps", ["POST", "PUT", "PATCH"])
def test_a_blob_over_the_limit_is_refused_and_leaves_nothing(
    store: Store, tmp_path: Path, steps: str, chunked: bool
) -> None:
    body: Any = [b"01234", b"56789", b"x"] if chunked else BLOB + b"x"
    with Registry(store, max_blob=10) as registry, raw(registry) as connection:
        target = f"/v2/a/blobs/uploads/?digest={DIGEST}"
        if steps != "POST":
            target = connection.ask("POST", "/v2/a/blobs/uploads/", {}, b"").headers["location"] + f"?digest={DIGEST}"
        reply = connection.ask(steps, target, {}, body)
        assert (reply.status, reply.codes) == (413, ["SIZE_INVALID"])
        assert "10 bytes" in reply.json["errors"][0]["message"]
        assert len(registry._sessions) == 0
    assert leftovers(tmp_path) == []
    assert list(store.repositories()) == []
    assert registry.errors == []


def test_a_blob_of_just_the_limit_is_taken_in_any_number_of_chunks(store: Store) -> None:
    with Registry(store, max_blob=10) as registry, raw(registry) as connection:
        assert connection.ask("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", {}, BLOB).status == 201
        session = connection.ask("POST", "/v2/b/blobs/uploads/", {}, b"").headers["location"]
        for at in range(10):
            assert connection.ask("PATCH", session, {}, BLOB[at : at + 1]).status == 202
        assert connection.ask("PUT", f"{session}?digest={DIGEST}", {}, b"").status == 201
    assert has_blob(store, Name.parse("b"), DIGEST)


def test_what_is_put_mounted_or_there_already_may_be_larger(store: Store) -> None:
    limited, one, other = Limited(store, 5), Name.parse("one"), Name.parse("other")
    limited.put_blob(one, DIGEST, BLOB)
    limited.mount(other, DIGEST, one)
    assert bytes(limited.blob(other, DIGEST)) == BLOB
    upload = limited.upload(one)
    with pytest.raises(BlobTooLarge, match="a blob may have 5 bytes"):
        upload.write(BLOB)
    assert upload.size == 0
    upload.cancel()


def test_a_head_of_many_fields_is_refused_before_they_cost_memory() -> None:
    fields = [(f"a{number}", "") for number in range(wire.FIELD_LIMIT)]
    with Registry() as registry:
        with raw(registry) as connection:
            assert connection.ask("GET", "/v2/", fields[1:]).status == 200  # with Host, as many as may be
            assert connection.ask("GET", "/v2/", fields).status == 431
        with raw(registry) as connection:
            target = "/v2/?" + "&".join("a" * wire.FIELD_LIMIT)
            assert connection.ask("GET", target).status == 200
            assert connection.ask("GET", f"{target}&a").status == 414
            assert connection.rest() == b""


# Sessions


def test_too_many_open_uploads_are_refused_until_one_ends(store: Store, tmp_path: Path) -> None:
    with Registry(store, max_uploads=2) as registry, raw(registry) as connection:
        begun = [connection.ask("POST", "/v2/a/blobs/uploads/", {}, b"") for _ in range(2)]
        assert {each.status for each in begun} == {202}
        files = len(leftovers(tmp_path))
        refused = connection.ask("POST", "/v2/a/blobs/uploads/", {}, b"")
        assert (refused.status, refused.codes) == (429, ["TOOMANYREQUESTS"])
        assert refused.headers["retry-after"] == "1"
        assert len(leftovers(tmp_path)) == files
        # what needs no session is as good as ever
        assert connection.ask("POST", f"/v2/a/blobs/uploads/?digest={DIGEST}", {}, BLOB).status == 201
        assert connection.ask("DELETE", begun[0].headers["location"]).status == 204
        assert connection.ask("POST", "/v2/a/blobs/uploads/", {}, b"").status == 202


# Connections


def test_one_connection_too_many_is_told_so_and_others_go_on() -> None:
    with Registry(max_connections=2) as registry:
        with raw(registry) as one, raw(registry) as other:
            assert {each.ask("GET", "/v2/").status for each in (one, other)} == {200}
            with raw(registry) as refused:
                refused.send(request("GET", "/v2/"))
                reply = refused.read()
                assert (reply.status, reply.headers["retry-after"], reply.keeps) == (503, "1", False)
                assert reply.body == b"too many are connected now\n"
                assert refused.rest() == b""
            assert one.ask("GET", "/v2/").status == 200
        eventually(lambda: ask(registry, "/v2/").status == 200)


def test_those_who_are_turned_away_hold_no_more_descriptors_than_a_few() -> None:
    server = Server(lambda request: Response(), limit=0)
    server.start()
    try:
        connections = [Raw("127.0.0.1", server.server_port) for _ in range(100)]
        assert {each.read().status for each in connections} == {503}
        assert len(server._turned_away) == 64
        for each in connections:
            each.close()
    finally:
        server.stop()
    assert (server.refused, len(server._turned_away), server.errors) == (100, 0, [])


def test_where_no_thread_can_be_had_the_server_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    server, left = Server(lambda request: Response()), [1]
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if left and "process_request_thread" in self.name:
            left.pop()
            raise RuntimeError("can't start new thread")
        start(self)

    server.start()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    try:
        with Raw("127.0.0.1", server.server_port) as raw:
            assert raw.read().status == 503
        with Raw("127.0.0.1", server.server_port) as raw:
            assert raw.ask("GET", "/").status == 200
    finally:
        server.stop()


def eventually(true: Any, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Slow clients


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server without much patience; its Handler reads a body, or sends 50 MB."""
    monkeypatch.setattr(wire, "PATIENCE", 0.3)
    monkeypatch.setattr(wire, "RATE", 1_000_000)

    def answer(asked: Request) -> Response:
        if asked.method == "GET":
            return Response(body=bytes(50_000_000) if asked.path == "/large" else b"")
        return Response(body=b"%d" % sum(map(len, asked.body)))

    server = Server(answer, timeout=1)
    server.start()
    yield server
    server.stop()
    assert server.errors == []


HEAD = b"PUT / HTTP/1.1\r\nHost: x\r\n"
DRIPS = {
    "a head": b"",
    "empty lines before a head": b"\r\n",
    "a body": HEAD + b"Content-Length: 1000000\r\n\r\n",
    "a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nfffff\r\n",
    "a chunk's size": HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
    "a trailer": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
}


@pytest.mark.parametrize("first", DRIPS.values(), ids=DRIPS)
def test_a_client_that_sends_byte_after_byte_is_cut(hasty: Server, first: bytes) -> None:
    """CWE-400 (slowloris, R.U.D.Y.): no byte buys another time-out; the server's is a second here."""
    drop = b"\r\n" if first == b"\r\n" else b"0" if b"chunked" in first else b"G"
    with Raw("127.0.0.1", hasty.server_port) as slow, Raw("127.0.0.1", hasty.server_port) as other:
        slow.send(first)
        slow.socket.settimeout(0.02)
        assert dripped(slow, drop) < 5
        assert other.ask("PUT", "/", {}, b"abc").body == b"3"


def dripped(slow: Raw, drop: bytes) -> float:
    """The seconds until the server has enough."""
    began = time.monotonic()
    while time.monotonic() - began < 8:
        try:
            slow.send(drop)
            if slow.socket.recv(1) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - began


def test_a_client_that_takes_little_of_its_answer_is_cut(hasty: Server) -> None:
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", hasty.server_port))
        slow.sendall(request("GET", "/large"))
        while not hasty.vanished:
            time.sleep(0.02)
            assert slow.recv(2000)
            with Raw("127.0.0.1", hasty.server_port) as other:
                assert other.ask("GET", "/").status == 200


def test_who_waits_between_two_requests_uses_up_nothing(hasty: Server) -> None:
    with Raw("127.0.0.1", hasty.server_port) as patient:
        for _ in range(3):
            time.sleep(0.2)  # 0.6 s in all, of a patience of 0.3
            assert patient.ask("PUT", "/", {}, b"abc").body == b"3"


def test_patience_comes_back_with_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    patience = Patience()
    for _ in range(1000):  # at the rate itself, for ever
        now[0] += 1
        patience.spend(now[0] - 1, wire.RATE)
    patience.spend(now[0], 10**12)  # and no more than PATIENCE is ever kept
    now[0] += wire.PATIENCE
    patience.spend(now[0] - wire.PATIENCE, 0)
    now[0] += 1
    with pytest.raises(Disconnected):
        patience.spend(now[0] - 1, wire.RATE // 2)


def test_what_the_server_itself_slows_down_is_not_the_client_s_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "PATIENCE", 0.2)
    with Registry() as registry:
        registry.faults.add(latency=0.3)
        registry.faults.add(bandwidth=30_000, method="POST")
        answer = ask(registry, f"/v2/a/blobs/uploads/?digest={Digest.of(bytes(20_000))}", "POST", bytes(20_000))
        assert answer.status == 201


# What the operating system refuses

REFUSALS = [
    (errno.ENOSPC, 507, "UNAVAILABLE"),
    (errno.EDQUOT, 507, "UNAVAILABLE"),
    (errno.EACCES, 500, "UNKNOWN"),
    (errno.EROFS, 500, "UNKNOWN"),
    (errno.EMFILE, 503, "UNAVAILABLE"),
]


@pytest.mark.parametrize(("number", "status", "code"), REFUSALS)
def test_what_the_system_refuses_is_told_in_the_spec_s_form_and_is_no_bug_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int, code: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number), str(tmp_path))

    with Registry(tmp_path / "store") as registry:
        registry.push_image("app:1")
        monkeypatch.setattr(DirectoryStore, "new_file", refuse)
        for target, method, body in (
            (f"/v2/app/blobs/uploads/?digest={DIGEST}", "POST", BLOB),
            (ask(registry, "/v2/app/blobs/uploads/", "POST", b"").headers["Location"], "PATCH", bytes(SMALL + 1)),
            ("/v2/app/manifests/2", "PUT", b'{"schemaVersion":2}'),
        ):
            answer = ask(registry, target, method, body, Content_Type=OCI)
            assert (answer.status, answer.json["errors"][0]["code"]) == (status, code)
            assert answer.headers["Content-Type"] == "application/json"
            assert str(tmp_path) not in str(answer.json)  # CWE-209: whose disk it is, is nobody's business
        assert registry.repository("app").tags() == ["1"]
        assert ask(registry, "/v2/app/manifests/1").status == 200
    assert registry.errors == []


def test_another_oserror_is_still_kept_as_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(MemoryStore, "upload", fail)
    with Registry() as registry:
        assert ask(registry, "/v2/a/blobs/uploads/", "POST", b"").status == 500
    assert len(registry.errors) == 1


@pytest.mark.parametrize("spill", [1, 1000])
def test_an_upload_of_which_a_part_could_not_be_written_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spill: int, store: Store
) -> None:
    """Else the client goes on, and what is stored is not what was hashed."""
    if isinstance(store, MemoryStore):
        store.spill = spill
    with Registry(store) as registry, raw(registry) as connection:
        session = connection.ask("POST", "/v2/a/blobs/uploads/", {}, b"").headers["location"]
        assert connection.ask("PATCH", session, {}, BLOB[:5]).status == 202
        upload = next(iter(registry._sessions._open.values())).upload
        monkeypatch.setattr(getattr(upload, "inner", upload), "write", full)
        assert connection.ask("PATCH", session, {}, BLOB[5:]).status == 507
        assert connection.ask("GET", session).status == 404
        assert connection.ask("PUT", f"{session}?digest={DIGEST}", {}, BLOB[5:]).status == 404
    assert leftovers(tmp_path) == []


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_spill_file_on_a_full_disk_is_507_and_leaves_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: FileIO("/dev/full", "r+"))
    store = MemoryStore(spill=10)
    with Registry(store) as registry:
        for body in (BLOB, BLOB * 100_000):
            answer = ask(registry, f"/v2/a/blobs/uploads/?digest={Digest.of(body)}", "POST", body)
            assert (answer.status, answer.json["errors"][0]["code"]) == (507, "UNAVAILABLE")
        assert ask(registry, f"/v2/a/blobs/uploads/?digest={Digest.of(b'small')}", "POST", b"small").status == 201
    assert store._uploads == set()
    assert registry.errors == []


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    with Registry(tmp_path / "store") as registry:
        registry.push_image("app:1")
        folders = [tmp_path / "store", *(each for each in (tmp_path / "store").rglob("*") if each.is_dir())]
        for each in folders:
            each.chmod(0o555)
        try:
            assert ask(registry, "/v2/app/manifests/2", "PUT", b'{"schemaVersion":2}', Content_Type=OCI).status == 500
            assert registry.repository("app").tags() == ["1"]
        finally:
            for each in folders:
                each.chmod(0o755)
        assert ask(registry, "/v2/app/manifests/2", "PUT", b'{"schemaVersion":2}', Content_Type=OCI).status == 201


# A real disk that is full, or may not be written


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte, of which nothing is left behind."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=200", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting takes root on Linux")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def manifest(note: str) -> bytes:
    return json.dumps({"schemaVersion": 2, "annotations": {"note": note}}).encode()


def test_on_a_full_disk_pushes_are_507_pulls_go_on_and_nothing_is_lost(small: Path) -> None:
    store = DirectoryStore(small / "store")
    with Registry(store) as registry, raw(registry) as connection:
        kept: dict[str, bytes] = {}
        statuses: list[int] = []
        for number in range(40):
            body = os.urandom(50_000)
            target = f"/v2/app/blobs/uploads/?digest={Digest.of(body)}"
            statuses.append(connection.ask("POST", target, {}, body).status)
            if statuses[-1] == 201:
                kept[Digest.of(body)] = body
            put = ask(registry, f"/v2/app/manifests/t{number}", "PUT", manifest(str(number)), Content_Type=OCI)
            assert put.status in (201, 507)
            assert (ask(registry, f"/v2/app/manifests/t{number}").status == 200) == (put.status == 201)
        assert set(statuses) == {201, 507}
        for digest, body in kept.items():
            assert connection.ask("GET", f"/v2/app/blobs/{digest}").body == body
        tags = registry.repository("app").tags()
        assert leftovers(small) == []
        for digest in kept:  # and room that is made can be used
            assert connection.ask("DELETE", f"/v2/app/blobs/{digest}").status == 202
        assert connection.ask("POST", f"/v2/app/blobs/uploads/?digest={DIGEST}", {}, BLOB).status == 201
    assert registry.errors == []
    again = DirectoryStore(small / "store")
    assert list(again.tags(Name("app"))) == tags
    assert all(again.manifest(Name("app"), again.resolve(Name("app"), tag)).data for tag in tags)


def test_a_read_only_disk_is_read_and_a_push_is_an_error(small: Path) -> None:
    with Registry(small / "store") as registry:
        registry.push_image("app:1")
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    with Registry(small / "store") as registry:
        assert ask(registry, "/v2/app/manifests/1").status == 200
        for target, method, body in (
            (f"/v2/app/blobs/uploads/?digest={DIGEST}", "POST", BLOB),
            ("/v2/app/manifests/2", "PUT", manifest("")),
            ("/v2/app/manifests/1", "DELETE", None),
        ):
            answer = ask(registry, target, method, body, Content_Type=OCI)
            assert (answer.status, answer.json["errors"][0]["code"]) == (500, "UNKNOWN")
        assert registry.repository("app").tags() == ["1"]
    assert registry.errors == []
