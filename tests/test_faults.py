"""Answers that go wrong on purpose, as a raw client sees them byte by byte."""

from __future__ import annotations

import hashlib
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinyreg import Registry
from tinyreg.faults import GARBAGE, Fault, Faults
from tinyreg.manifest import OCI_MANIFEST
from tinyreg.reference import Digest
from tinyreg.wire import Headers, Request, Response

from .raw import Raw, Reply, request

LIE = "sha256:" + "0" * 64
DATA = bytes(range(256)) * 8
PUSHED = b"pushed" * 100
PUSHED_DIGEST = Digest.of(PUSHED)
OTHER_MANIFEST = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}'
MANIFEST = "/v2/team/app/manifests/1.0"


def dial(registry: Registry) -> Raw:
    return Raw("127.0.0.1", registry.port)


def ask(registry: Registry, method: str, path: str, headers: Any = (), body: bytes | None = None) -> Reply:
    with dial(registry) as raw:
        return raw.ask(method, path, headers, body)


def blob_path(registry: Registry) -> str:
    """The path of a blob that consists of DATA."""
    return f"/v2/team/app/blobs/{registry.repository('team/app').put_raw(Digest.of(DATA), DATA)}"


def split(data: bytes) -> tuple[bytes, bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    return head, body


def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline, "it did not happen within 5 seconds"
        time.sleep(0.002)


def idle(registry: Registry) -> bool:
    server = registry._server
    return server is not None and not server.connections


class Ask(NamedTuple):
    """A request of some kind and the status that is right for it."""

    kind: str
    method: str
    path: str
    status: int
    body: bytes | None = None


UPLOAD = "/v2/team/app/blobs/uploads/"
ASKS = {
    f"{each.method} {each.kind}": each
    for each in (
        Ask("base", "GET", "/v2/", 200),
        Ask("catalog", "GET", "/v2/_catalog", 200),
        Ask("tags", "GET", "/v2/team/app/tags/list", 200),
        Ask("manifest", "GET", MANIFEST, 200),
        Ask("manifest", "HEAD", MANIFEST, 200),
        Ask("manifest", "PUT", "/v2/team/app/manifests/2.0", 201, OTHER_MANIFEST),
        Ask("manifest", "DELETE", MANIFEST, 202),
        Ask("blob", "GET", f"/v2/team/app/blobs/{Digest.of(DATA)}", 200),
        Ask("blob", "HEAD", f"/v2/team/app/blobs/{Digest.of(DATA)}", 200),
        Ask("blob", "DELETE", f"/v2/team/app/blobs/{Digest.of(DATA)}", 202),
        Ask("uploads", "POST", UPLOAD, 202),
        Ask("upload", "GET", UPLOAD + "SESSION", 204),
        Ask("upload", "PATCH", UPLOAD + "SESSION", 202, PUSHED),
        Ask("upload", "PUT", f"{UPLOAD}SESSION?digest={PUSHED_DIGEST}", 201, PUSHED),
        Ask("upload", "DELETE", UPLOAD + "SESSION", 204),
        Ask("referrers", "GET", f"/v2/team/app/referrers/{LIE}", 200),
        Ask("token", "GET", "/token", 404),
        Ask("other", "GET", "/favicon.ico", 404),
    )
}
READS = [name for name, each in ASKS.items() if each.method == "GET" and each.status != 204]
every_kind = pytest.mark.parametrize("name", ASKS)
every_body = pytest.mark.parametrize("name", READS)


@pytest.fixture
def filled(registry: Registry) -> Registry:
    """A registry with an image, and a blob of DATA."""
    registry.push_image("team/app:1.0")
    blob_path(registry)
    return registry


def written(registry: Registry, name: str) -> bytes:
    """The bytes of a request; a session is started for those that need one."""
    kind, method, path, _, body = ASKS[name]
    if "SESSION" in path:
        path = path.replace("SESSION", registry.repository("team/app").start_upload().upload.id)
    headers = {"Content-Type": OCI_MANIFEST} if kind == "manifest" and body else {}
    return request(method, path, headers, body)


def outcome(registry: Registry, name: str) -> Reply:
    with dial(registry) as raw:
        raw.send(written(registry, name))
        return raw.read(ASKS[name].method)


def everything(registry: Registry, name: str) -> bytes:
    """All that is answered until the connection ends."""
    with dial(registry) as raw:
        raw.send(written(registry, name))
        return raw.rest()


def add(registry: Registry, name: str, **effect: Any) -> Fault:
    return registry.faults.add(kind=ASKS[name].kind, method=ASKS[name].method, **effect)


def unchanged(registry: Registry) -> bool:
    team = registry.repository("team/app")
    return team.tags() == ["1.0"] and team.blob(Digest.of(DATA)) == DATA and bool(team.files("1.0"))


# Each fault on each kind of request


@every_kind
def test_without_a_fault_that_matches_the_answer_is_right(filled: Registry, name: str) -> None:
    fault = filled.faults.add(status=503, repository="another/*", reference="x")
    assert outcome(filled, name).status == ASKS[name].status
    assert fault.hits == 0
    assert filled.requests[-1].fault is None


@every_kind
def test_a_status_answers_in_place_of_the_registry_which_is_not_asked(filled: Registry, name: str) -> None:
    fault = add(filled, name, status=503, headers={"Retry-After": "1"})
    reply = outcome(filled, name)
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert reply.headers["docker-distribution-api-version"] == "registry/2.0"
    body = b'{"errors":[{"code":"UNAVAILABLE","message":"a fault answers 503"}]}'
    assert reply.body == (b"" if ASKS[name].method == "HEAD" else body)
    assert reply.headers["content-length"] == str(len(body))
    assert unchanged(filled)
    assert fault.hits == 1


@every_kind
def test_garbage_is_all_that_comes(filled: Registry, name: str) -> None:
    add(filled, name, garbage=True)
    assert everything(filled, name) == GARBAGE
    assert unchanged(filled)


@every_kind
def test_empty_closes_without_a_word(filled: Registry, name: str) -> None:
    add(filled, name, empty=True)
    assert everything(filled, name) == b""
    assert unchanged(filled)


@every_kind
def test_reset_peer_resets_without_a_word(filled: Registry, name: str) -> None:
    add(filled, name, reset_peer=True)
    with dial(filled) as raw:
        raw.send(written(filled, name))
        with pytest.raises(ConnectionResetError):
            raw.rest()
        assert raw.received == 0
    assert unchanged(filled)


@every_kind
def test_a_redirect_sends_the_client_elsewhere(filled: Registry, name: str) -> None:
    add(filled, name, redirect="http://127.0.0.1:1/x")
    reply = outcome(filled, name)
    assert (reply.status, reply.headers["location"], reply.body) == (307, "http://127.0.0.1:1/x", b"")
    assert unchanged(filled)


@every_kind
def test_a_digest_lies_and_nothing_else_changes(filled: Registry, name: str) -> None:
    add(filled, name, digest=LIE)
    reply = outcome(filled, name)
    assert (reply.status, reply.headers["docker-content-digest"]) == (ASKS[name].status, LIE)


@every_kind
def test_an_edit_is_given_the_request_and_the_right_answer(filled: Registry, name: str) -> None:
    seen = []

    def edit(request: Request, response: Response) -> None:
        seen.append((request.method, response.status))
        response.headers["X-Edited"] = "yes"

    add(filled, name, edit=edit)
    assert outcome(filled, name).headers["x-edited"] == "yes"
    assert seen == [(ASKS[name].method, ASKS[name].status)]


@every_kind
def test_a_held_request_goes_on_when_it_is_released(filled: Registry, name: str) -> None:
    hold = add(filled, name, hold=True)
    with dial(filled) as raw:
        raw.send(written(filled, name))
        hold.wait(timeout=5)
        assert unchanged(filled)
        assert raw.received == 0
        hold.release()
        assert raw.read(ASKS[name].method).status == ASKS[name].status


@every_kind
def test_latency_comes_before_the_right_answer(filled: Registry, name: str) -> None:
    add(filled, name, latency=0.02)
    began = time.monotonic()
    assert outcome(filled, name).status == ASKS[name].status
    assert time.monotonic() - began >= 0.02


@every_body
def test_limit_data_ends_the_body_early_behind_a_head_that_promised_more(filled: Registry, name: str) -> None:
    right = outcome(filled, name)
    for limit in (0, 1, len(right.body) - 1):
        with add(filled, name, limit_data=limit):
            head, body = split(everything(filled, name))
        assert f"Content-Length: {len(right.body)}".encode() in head
        assert body == right.body[:limit]


@every_body
def test_corrupt_flips_one_byte_behind_an_honest_head(filled: Registry, name: str) -> None:
    right = outcome(filled, name)
    add(filled, name, corrupt=True)
    wrong = outcome(filled, name)
    assert [here for here, there in zip(right.body, wrong.body, strict=True) if here != there] == [
        right.body[len(right.body) // 2]
    ]
    for head in (right.headers, wrong.headers):
        head.pop("date")  # type: ignore[attr-defined]
    assert wrong.headers == right.headers


@every_body
def test_a_stall_sends_half_and_the_rest_when_it_is_removed(filled: Registry, name: str) -> None:
    right = outcome(filled, name)
    fault = add(filled, name, stall=True)
    with dial(filled) as raw:
        raw.send(written(filled, name))
        fault.wait()
        until(lambda: _arrived(raw) == right.body[: len(right.body) // 2])
        fault.remove()
        assert raw.read().body == right.body


def _arrived(raw: Raw) -> bytes:
    raw.socket.settimeout(0.02)
    with suppress(TimeoutError):
        raw._more()
    raw.socket.settimeout(5)
    return split(raw._ahead)[1]


@pytest.mark.parametrize("name", [name for name in ASKS if name not in READS])
def test_an_answer_without_a_body_is_stalled_before_its_head(filled: Registry, name: str) -> None:
    fault = add(filled, name, stall=True)
    with dial(filled) as raw:
        raw.send(written(filled, name))
        fault.wait()
        fault.remove()
        assert raw.read(ASKS[name].method).status == ASKS[name].status


@every_body
def test_a_body_with_a_bandwidth_takes_its_time(filled: Registry, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(Fault, "pause", lambda self, request, seconds: pauses.append(seconds))
    right = outcome(filled, name)
    add(filled, name, bandwidth=1000)
    assert outcome(filled, name).body == right.body
    assert sum(pauses) == pytest.approx(len(right.body) / 1000)
    assert max(pauses) <= 0.05


@pytest.mark.parametrize("effect", [{"corrupt": True}, {"limit_data": 5}, {"bandwidth": 1}])
@pytest.mark.parametrize("name", [name for name, each in ASKS.items() if each.method in ("HEAD", "DELETE")])
def test_a_fault_in_the_body_leaves_an_answer_without_one_alone(
    filled: Registry, name: str, effect: dict[str, Any]
) -> None:
    add(filled, name, **effect)
    assert outcome(filled, name).status == ASKS[name].status


# What each of them does in particular


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "UNKNOWN"),
        (401, "UNAUTHORIZED"),
        (403, "DENIED"),
        (405, "UNSUPPORTED"),
        (416, "RANGE_INVALID"),
        (418, "UNKNOWN"),
        (429, "TOOMANYREQUESTS"),
        (500, "UNKNOWN"),
        (503, "UNAVAILABLE"),
        (599, "UNKNOWN"),
    ],
)
def test_an_error_has_the_code_of_its_status_unless_another_is_given(
    registry: Registry, status: int, code: str
) -> None:
    with registry.faults.add(status=status):
        reply = ask(registry, "GET", "/v2/")
        assert (reply.status, reply.codes) == (status, [code])
    registry.faults.add(status=status, code="MINE", message="so it is")
    reply = ask(registry, "GET", "/v2/")
    assert reply.json == {"errors": [{"code": "MINE", "message": "so it is"}]}


@pytest.mark.parametrize("status", [200, 204, 301, 304])
def test_a_status_that_is_no_error_has_headers_and_no_body(registry: Registry, status: int) -> None:
    registry.faults.add(status=status, headers={"X-A": "b"})
    reply = ask(registry, "GET", "/v2/")
    assert (reply.status, reply.headers["x-a"], reply.body) == (status, "b", b"")


def test_a_connection_is_kept_behind_an_answer_with_a_status(registry: Registry) -> None:
    registry.faults.add(status=503, times=1)
    with dial(registry) as raw:
        assert [raw.ask("GET", "/v2/").status for _ in range(2)] == [503, 200]


def test_jitter_spreads_the_latency_repeatably(monkeypatch: pytest.MonkeyPatch) -> None:
    def pauses(**words: Any) -> list[float]:
        found: list[float] = []
        monkeypatch.setattr(Fault, "pause", lambda self, request, seconds: found.append(seconds))
        faults = bare()
        faults.add(**words)
        for _ in range(50):
            faults(Request("GET", "/v2/"))
        return found

    assert pauses(latency=0.2) == [0.2] * 50
    spread = pauses(latency=0.2, jitter=0.1)
    assert spread == pauses(latency=0.2, jitter=0.1) != pauses(latency=0.2, jitter=0.1, seed=2)
    assert 0.1 <= min(spread) < 0.15 < 0.25 < max(spread) <= 0.3
    assert min(pauses(latency=0.1, jitter=5)) == 0


def test_latency_may_come_before_another_effect(registry: Registry) -> None:
    registry.faults.add(latency=0.02, status=503)
    began = time.monotonic()
    assert ask(registry, "GET", "/v2/").status == 503
    assert time.monotonic() - began >= 0.02


def test_a_client_that_leaves_is_not_waited_for(registry: Registry) -> None:
    fault = registry.faults.add(latency=600)
    with dial(registry) as raw:
        raw.send(request("GET", "/v2/"))
        until(lambda: fault.hits == 1)
    until(lambda: idle(registry))


def test_a_latency_ends_when_its_fault_is_removed(registry: Registry) -> None:
    fault = registry.faults.add(latency=600)
    with dial(registry) as raw:
        raw.send(request("GET", "/v2/"))
        until(lambda: fault.hits == 1)
        registry.faults.clear()
        assert raw.read().status == 200


def test_bandwidth_slows_an_upload_too(filled: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(Fault, "pause", lambda self, request, seconds: pauses.append(seconds))
    filled.faults.add(bandwidth=1000, method="PATCH")
    assert outcome(filled, "PATCH upload").status == 202
    assert sum(pauses) == pytest.approx(len(PUSHED) / 1000)


def test_a_real_bandwidth_is_kept(filled: Registry) -> None:
    filled.faults.add(bandwidth=20_480, kind="blob")
    began = time.monotonic()
    assert outcome(filled, "GET blob").body == DATA
    assert time.monotonic() - began >= len(DATA) / 20_480


def test_reset_peer_after_so_many_bytes_of_an_answer(filled: Registry) -> None:
    filled.faults.add(reset_peer=True, limit_data=1000, kind="blob")
    received = b""
    with dial(filled) as raw:
        raw.send(written(filled, "GET blob"))
        with pytest.raises(ConnectionResetError):  # noqa: PT012 - what came before it is kept
            while data := raw.socket.recv(65536):
                received += data
    assert (b"\r\n\r\n" + DATA[:1000]).endswith(split(received)[1])
    assert len(split(received)[1]) <= 1000


@pytest.mark.parametrize("more", [0, 3000], ids=["no more comes", "more comes"])
def test_an_upload_that_was_reset_can_be_resumed_and_the_store_has_nothing_of_it(filled: Registry, more: int) -> None:
    data = DATA * 5
    digest = Digest.of(data)
    location = ask(filled, "POST", UPLOAD).headers["location"]
    fault = filled.faults.add(reset_peer=True, kind="upload", method="PATCH", limit_data=5000, times=1)
    with dial(filled) as raw:
        whole = request("PATCH", location, body=data)
        raw.send(whole[: len(whole) - len(data) + 5000 + more])
        with pytest.raises(ConnectionResetError):
            raw.rest()
    assert fault.hits == 1
    assert ask(filled, "GET", f"/v2/team/app/blobs/{digest}").status == 404
    assert ask(filled, "GET", location).headers["range"] == "0-4999"
    rest = {"Content-Range": f"5000-{len(data) - 1}"}
    assert ask(filled, "PATCH", location, rest, data[5000:]).status == 202
    assert ask(filled, "PUT", f"{location}?digest={digest}", body=b"").status == 201
    assert filled.repository("team/app").blob(digest) == data


def test_a_push_in_one_request_that_was_reset_leaves_nothing(filled: Registry) -> None:
    filled.faults.add(reset_peer=True, kind="uploads", limit_data=100)
    with dial(filled) as raw:
        raw.send(request("POST", f"{UPLOAD}?digest={PUSHED_DIGEST}", body=PUSHED))
        with pytest.raises(ConnectionResetError):
            raw.rest()
    assert ask(filled, "GET", f"/v2/team/app/blobs/{PUSHED_DIGEST}").status == 404
    assert len(filled._sessions) == 0


def test_reset_peer_leaves_an_answer_for_which_no_body_was_read(filled: Registry) -> None:
    filled.faults.add(reset_peer=True, limit_data=5, method="PATCH")
    assert ask(filled, "PATCH", UPLOAD + "nobody", body=b"x" * 10).status == 404


@pytest.mark.parametrize("size", [1, 2, 3, 300_000])
def test_faults_in_the_body_of_any_size(registry: Registry, size: int) -> None:
    data = b"x" * size
    path = f"/v2/a/blobs/{registry.repository('a').put_raw(Digest.of(data), data)}"
    with registry.faults.add(stall=True) as stall, dial(registry) as raw:
        raw.send(request("GET", path))
        stall.wait()
        if size < 4:
            until(lambda: _arrived(raw) == data[: size // 2])
        stall.release()
        assert raw.read().body == data
    with registry.faults.add(corrupt=True):
        wrong = ask(registry, "GET", path).body
        assert wrong == data[: size // 2] + b"\x87" + data[size // 2 + 1 :]
    with registry.faults.add(limit_data=size - 1), dial(registry) as raw:
        raw.send(request("GET", path))
        assert split(raw.rest())[1] == data[:-1]
    with registry.faults.add(limit_data=size):
        assert ask(registry, "GET", path).body == data


def test_a_range_of_a_blob_goes_wrong_like_the_whole(filled: Registry) -> None:
    for header, size in (("bytes=100-199", 100), ("bytes=0-99,300-399", None)):
        with filled.faults.add(corrupt=True):
            reply = ask(filled, "GET", ASKS["GET blob"].path, {"Range": header})
            assert reply.status == 206
            assert len(reply.body) == (size or int(reply.headers["content-length"]))
        right = ask(filled, "GET", ASKS["GET blob"].path, {"Range": header})
        if size:
            assert sum(a != b for a, b in zip(reply.body, right.body, strict=True)) == 1


def test_faults_act_on_blobs_in_files(make_registry: Callable[..., Registry], tmp_path: Path) -> None:
    registry = make_registry(tmp_path)
    path = blob_path(registry)
    with registry.faults.add(corrupt=True):
        assert ask(registry, "GET", path).body != DATA
    with registry.faults.add(limit_data=7), dial(registry) as raw:
        raw.send(request("GET", path))
        assert split(raw.rest())[1] == DATA[:7]
    assert ask(registry, "GET", path).body == DATA


def test_an_edit_may_answer_something_else(registry: Registry) -> None:
    registry.faults.add(edit=lambda request, response: Response(299, Headers([("X-A", "b")]), b"mine"))
    reply = ask(registry, "GET", "/v2/")
    assert (reply.status, reply.body) == (299, b"mine")


def test_an_edit_that_raises_is_an_error_of_the_server() -> None:
    def edit(request: Request, response: Response) -> None:
        raise LookupError("mine")

    with Registry() as registry:
        registry.faults.add(edit=edit)
        with dial(registry) as raw:
            raw.send(request("GET", "/v2/"))
            assert raw.rest() == b""
    assert [str(each) for each in registry.errors] == ["mine"]


# redirects


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_redirect_without_a_path_keeps_the_path_and_query_of_the_request(registry: Registry, slash: str) -> None:
    registry.faults.add(redirect=f"http://other.example{slash}")
    reply = ask(registry, "GET", "/v2/team/app/tags/list?n=2")
    assert reply.headers["location"] == "http://other.example/v2/team/app/tags/list?n=2"


def test_a_second_registry_shows_that_urllib_sends_authorization_along(
    filled: Registry, make_registry: Callable[..., Registry]
) -> None:
    other = make_registry()
    path = blob_path(other)
    filled.faults.add(redirect=other.url, kind="blob")
    asked = urllib.request.Request(filled.url + path, headers={"Authorization": "Basic secret"})
    with urllib.request.urlopen(asked, timeout=5) as answer:
        assert answer.read() == DATA
    assert other.requests[-1].headers["authorization"] == "Basic ***"  # it came; the log masks what it says
    assert (other.requests[-1].path, other.requests[-1].status) == (path, 200)
    assert filled.requests[-1].status == 307


def test_a_second_registry_shows_that_a_careful_client_does_not(
    filled: Registry, make_registry: Callable[..., Registry]
) -> None:
    other = make_registry()
    path = blob_path(other)
    filled.faults.add(redirect=other.url, kind="blob")
    reply = ask(filled, "GET", path, {"Authorization": "Basic secret"})
    assert ask(other, "GET", reply.headers["location"].removeprefix(other.url)).body == DATA
    assert "authorization" not in other.requests[-1].headers


# hold, stall, and the end


@pytest.mark.parametrize("last", [0, 1], ids=["the first arrives last", "the second arrives last"])
def test_two_pushes_of_one_tag_are_raced_in_a_chosen_order(registry: Registry, last: int) -> None:
    manifests = [OTHER_MANIFEST, OTHER_MANIFEST + b"\n"]
    holds = [registry.faults.add(hold=True, kind="manifest", method="PUT", times=1) for _ in manifests]
    with ExitStack() as stack:
        raws = [stack.enter_context(dial(registry)) for _ in manifests]
        for raw, hold, data in zip(raws, holds, manifests, strict=True):
            raw.send(request("PUT", "/v2/a/manifests/1", {"Content-Type": OCI_MANIFEST}, data))
            hold.wait(timeout=5)
        for each in (1 - last, last):
            holds[each].release()
            assert raws[each].read().status == 201
    assert registry.repository("a").manifest("1").data == manifests[last]


def test_waiting_for_a_request_that_does_not_come_says_how_many_did(registry: Registry) -> None:
    hold = registry.faults.add(hold=True, kind="blob", times=2)
    with pytest.raises(TimeoutError, match=r"^0 of 1 requests arrived at hold=True kind=blob times=2 within 0.01 s$"):
        hold.wait(timeout=0.01)
    with dial(registry) as raw:
        raw.send(request("GET", f"/v2/a/blobs/{LIE}"))
        hold.wait()
        with pytest.raises(TimeoutError, match="1 of 2 requests"):
            hold.wait(0.01, count=2)


def test_what_arrives_after_a_release_does_not_wait(registry: Registry) -> None:
    hold = registry.faults.add(hold=True)
    hold.release()
    assert ask(registry, "GET", "/v2/").status == 200
    hold.wait(timeout=0)


@pytest.mark.parametrize("effect", ["hold", "stall"])
def test_removing_lets_go_of_all_that_wait(filled: Registry, effect: str) -> None:
    fault = filled.faults.add(**{effect: True})  # type: ignore[arg-type]  # one word for an effect
    with ExitStack() as stack:
        raws = [stack.enter_context(dial(filled)) for _ in range(3)]
        for raw in raws:
            raw.send(written(filled, "GET blob"))
        fault.wait(count=3)
        filled.faults.clear()
        assert [raw.read().body for raw in raws] == [DATA] * 3


@pytest.mark.parametrize("effect", ["hold", "stall"])
def test_the_thread_of_a_client_that_leaves_ends(filled: Registry, effect: str) -> None:
    fault = filled.faults.add(**{effect: True})  # type: ignore[arg-type]  # one word for an effect
    with dial(filled) as raw:
        raw.send(written(filled, "GET blob"))
        fault.wait()
        assert not idle(filled)
    until(lambda: idle(filled))
    assert len(filled.faults) == 1


@pytest.mark.parametrize("name", ["GET blob", "PUT manifest", "PATCH upload"])
@pytest.mark.parametrize("effect", [{"hold": True}, {"stall": True}, {"latency": 600}], ids=str)
def test_stop_is_quick_and_raises_nothing_while_a_request_waits(name: str, effect: dict[str, Any]) -> None:
    registry = Registry().start()
    registry.push_image("team/app:1.0")
    blob_path(registry)
    fault = registry.faults.add(**effect)
    with dial(registry) as raw:
        raw.send(written(registry, name))
        until(lambda: fault.hits == 1)
        threads = threading.active_count()
        began = time.monotonic()
        registry.stop()
        assert time.monotonic() - began < 1
        assert threading.active_count() <= threads - 2
    assert registry.errors == []


# Which requests, and how many of them


def bare() -> Faults:
    return Faults(lambda request: Response(200))


def statuses(faults: Faults, count: int, path: str = "/v2/") -> list[int]:
    return [faults(Request("GET", path)).status for _ in range(count)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, "xxxxxx"),
        ({"times": 2}, "xx...."),
        ({"after": 2}, "..xxxx"),
        ({"times": 2, "after": 3}, "...xx."),
        ({"after": 9}, "......"),
    ],
)
def test_times_and_after_choose_among_those_that_match(words: dict[str, Any], expected: str) -> None:
    faults = bare()
    fault = faults.add(status=500, kind="base", **words)
    assert statuses(faults, 3, "/other") == [200] * 3
    assert statuses(faults, 6) == [500 if each == "x" else 200 for each in expected]
    assert fault.hits == expected.count("x")


def test_a_probability_is_a_repeatable_share() -> None:
    def run(**words: Any) -> list[int]:
        faults = bare()
        faults.add(status=500, probability=0.1, **words)
        return statuses(faults, 1000)

    assert run() == run() == run(seed=0)
    assert run(seed=1) == run(seed=1) != run()
    assert 70 < run(seed=1).count(500) < 130
    assert run(times=3).count(500) == 3


def test_the_first_fault_that_matches_acts_and_the_next_when_it_is_used_up() -> None:
    faults = bare()
    first, second = faults.add(status=501, times=2), faults.add(status=502, times=1)
    faults.add(status=503, kind="blob")
    assert statuses(faults, 4) == [501, 501, 502, 200]
    assert [each.hits for each in faults] == [2, 1, 0]
    assert list(faults)[:2] == [first, second]


@pytest.mark.parametrize(
    "words", [{"method": "GET"}, {"kind": "blob"}, {"repository": "team/*"}, {"reference": "sha256:0*"}]
)
def test_a_fault_selects_by_the_words_of_the_log(words: dict[str, Any]) -> None:
    faults = bare()
    fault = faults.add(status=500, **words)
    assert faults(Request("GET", f"/v2/team/app/blobs/{LIE}")).status == 500
    assert faults(Request("PUT", "/v2/other/manifests/1.0")).status == 200
    assert fault.hits == 1


def test_as_a_context_manager_it_is_gone_at_the_end_of_the_block(registry: Registry) -> None:
    with registry.faults.add(status=500) as fault:
        assert ask(registry, "GET", "/v2/").status == 500
    assert ask(registry, "GET", "/v2/").status == 200
    assert (fault.hits, len(registry.faults)) == (1, 0)


def test_remove_takes_one_and_clear_takes_all_and_both_may_be_called_again() -> None:
    faults = bare()
    first, second = faults.add(status=501), faults.add(status=502)
    first.remove()
    first.remove()
    assert list(faults) == [second]
    faults.clear()
    faults.clear()
    assert statuses(faults, 1) == [200]
    second.remove()


def test_a_fault_that_leaves_by_an_exception_is_gone_all_the_same() -> None:
    faults = bare()
    with pytest.raises(LookupError), faults.add(status=500):
        raise LookupError
    assert len(faults) == 0


def test_assert_all_hit_names_those_that_no_request_met() -> None:
    faults = bare()
    faults.assert_all_hit()
    faults.add(status=503, kind="base", times=2)
    faults.add(latency=0.2, repository="team/*", reference="1.0", method="GET")
    faults.add(edit=_named)
    message = r"^faults that no request met: (.*)$"
    with pytest.raises(AssertionError, match=message) as error:
        faults.assert_all_hit()
    assert str(error.value).partition(": ")[2].split("; ") == [
        "status=503 kind=base times=2",
        "latency=0.2 method=GET repository=team/* reference=1.0",
        "edit=_named",
    ]
    statuses(faults, 1)
    with pytest.raises(AssertionError, match=r"met: latency=0.2 .*; edit=_named$"):
        faults.assert_all_hit()
    statuses(faults, 2)
    with pytest.raises(AssertionError, match="latency"):
        faults.assert_all_hit()
    next(each for each in faults if not each.hits).remove()
    faults.assert_all_hit()


def _named(request: Request, response: Response) -> None:
    pass


def test_the_log_shows_the_fault_that_answered(filled: Registry) -> None:
    fault = filled.faults.add(status=503, kind="blob", times=1)
    with dial(filled) as raw:
        for _ in range(2):
            raw.send(written(filled, "GET blob"))
            raw.read()
    shown, other = filled.requests
    assert (shown.fault, other.fault) == (fault, None)
    assert str(shown).endswith("fault: status=503 kind=blob times=1")
    assert "fault" not in str(other)


@pytest.mark.parametrize(
    "effect", [{"garbage": True}, {"empty": True}, {"reset_peer": True}, {"limit_data": 9}], ids=str
)
def test_an_answer_that_never_came_stands_in_the_log_too(filled: Registry, effect: dict[str, Any]) -> None:
    fault = filled.faults.add(**effect)
    with dial(filled) as raw:
        raw.send(written(filled, "GET blob"))
        with suppress(ConnectionResetError):
            raw.rest()
        received = raw.received
    (exchange,) = filled.requests.wait()
    assert exchange.fault is fault
    until(lambda: exchange.sent == received)
    assert exchange.status == (200 if "limit_data" in effect else 0)


def test_faults_come_and_go_while_requests_run(filled: Registry) -> None:
    found: list[int] = []

    def client() -> None:
        with dial(filled) as raw:
            for _ in range(100):
                found.append(raw.ask("GET", "/v2/").status)

    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    hits = 0
    while any(each.is_alive() for each in clients):
        with filled.faults.add(status=503, times=3) as fault, filled.faults.add(status=429, kind="blob"):
            time.sleep(0.0005)
        hits += fault.hits
    assert len(found) == 400
    assert (found.count(503), found.count(200)) == (hits, 400 - hits)
    assert len(filled.faults) == 0


def test_times_is_exact_when_many_ask_at_once(registry: Registry) -> None:
    fault = registry.faults.add(status=503, times=25)
    found: list[int] = []

    def client() -> None:
        with dial(registry) as raw:
            found.extend(raw.ask("GET", "/v2/").status for _ in range(25))

    clients = [threading.Thread(target=client) for _ in range(4)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    assert (found.count(503), found.count(200), fault.hits) == (25, 75, 25)


# What makes no sense


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ({}, ValueError, "a fault needs something to do: latency or one of status, bandwidth"),
        ({"kind": "blob"}, ValueError, "something to do"),
        ({"hold": False}, ValueError, "something to do"),
        ({"kind": "blobs", "status": 500}, ValueError, "kind='blobs': the kinds of request are base"),
        ({"method": "get", "status": 500}, ValueError, "method='get': methods are upper case"),
        ({"statsu": 500}, TypeError, "statsu"),
        ({"status": 500, "stall": True}, ValueError, "status and stall in one fault: add one fault for each"),
        ({"corrupt": True, "redirect": "http://x"}, ValueError, "corrupt and redirect in one fault"),
        ({"limit_data": 5, "corrupt": True}, ValueError, "limit_data and corrupt in one fault"),
        ({"reset_peer": True, "limit_data": 5, "hold": True}, ValueError, "reset_peer and hold in one fault"),
        ({"garbage": True, "empty": True}, ValueError, "garbage and empty in one fault"),
        ({"code": "X"}, ValueError, "something to do"),
        ({"code": "X", "latency": 1}, ValueError, "code needs status"),
        ({"message": "x", "corrupt": True}, ValueError, "message needs status"),
        ({"headers": {"A": "b"}, "digest": LIE}, ValueError, "headers needs status"),
        ({"jitter": 0.1, "status": 500}, ValueError, "jitter needs latency"),
        ({"jitter": 0.1}, ValueError, "something to do"),
        ({"code": "X", "status": 200}, ValueError, "code and message need an error's status, not 200"),
        ({"message": "X", "status": 302}, ValueError, "code and message need an error's status, not 302"),
        ({"headers": {"A": "b\r\nC: d"}, "status": 500}, ValueError, "a line break in a header field"),
        ({"redirect": "http://x\n"}, ValueError, "a line break in a header field"),
        ({"digest": "x\r\n"}, ValueError, "a line break in a header field"),
        ({"latency": -1}, ValueError, "latency=-1: less than nothing"),
        ({"latency": 1, "jitter": -1}, ValueError, "jitter=-1: less than nothing"),
        ({"limit_data": -1}, ValueError, "limit_data=-1: less than nothing"),
        ({"bandwidth": 0}, ValueError, "bandwidth=0: bytes a second, more than 0"),
        ({"bandwidth": -1}, ValueError, "bandwidth=-1: bytes a second, more than 0"),
        ({"status": 199}, ValueError, "status=199: an answer's status is from 200 to 599"),
        ({"status": 600}, ValueError, "status=600: an answer's status is from 200 to 599"),
        ({"status": "503"}, TypeError, None),
        ({"latency": "1"}, TypeError, None),
        ({"edit": "x"}, TypeError, "edit='x': a function of the request and the right answer"),
        ({"status": 500, "times": 0}, ValueError, "times=0: such a fault never acts"),
        ({"status": 500, "after": -1}, ValueError, "after=-1: less than nothing"),
        ({"status": 500, "probability": 0}, ValueError, "probability=0: more than 0, and 1 at most"),
        ({"status": 500, "probability": 1.1}, ValueError, "probability=1.1: more than 0, and 1 at most"),
    ],
    ids=str,
)
def test_a_fault_that_makes_no_sense_is_refused_at_the_line_that_adds_it(
    words: dict[str, Any], error: type[Exception], message: str | None
) -> None:
    faults = bare()
    with pytest.raises(error, match=message):
        faults.add(**words)
    assert len(faults) == 0


@pytest.mark.parametrize(
    "words",
    [
        {"latency": 0},
        {"limit_data": 0},
        {"reset_peer": True, "limit_data": 0},
        {"status": 200},
        {"status": 599},
        {"status": 500, "stall": False},
        {"latency": 1, "jitter": 0},
        {"status": 500, "probability": 1},
        {"status": 500, "times": 1, "after": 0},
        {"latency": 0.1, "hold": True},
    ],
    ids=str,
)
def test_what_is_at_the_edge_of_sense_is_taken(words: dict[str, Any]) -> None:
    faults = bare()
    added = faults.add(**words)
    assert list(faults) == [added]


# The store stays as it was

EFFECTS: list[dict[str, Any]] = [
    {"status": 503},
    {"status": 204},
    {"latency": 0.0},
    {"bandwidth": 1e9},
    {"limit_data": 10},
    {"reset_peer": True},
    {"reset_peer": True, "limit_data": 10},
    {"corrupt": True},
    {"digest": LIE},
    {"redirect": "http://127.0.0.1:1/x"},
    {"garbage": True},
    {"empty": True},
    {"edit": lambda request, response: Response(200, body=b"x")},
]


def on_disk(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and path.parent.name == "sha256")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(EFFECTS), st.sampled_from(sorted(ASKS))), max_size=6))
def test_whatever_goes_wrong_each_blob_and_manifest_is_what_its_digest_says(
    steps: list[tuple[dict[str, Any], str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("store")
    with Registry(folder) as registry:
        image = registry.push_image("team/app:1.0")
        blob_path(registry)
        before = registry.repository("team/app").manifest("1.0").data
        for effect, name in steps:
            with registry.faults.add(**effect), dial(registry) as raw:
                raw.send(written(registry, name))
                with suppress(ConnectionError):
                    raw.finish()
                    raw.rest()
        assert registry.errors == []
        assert registry.repository("team/app").manifest(image.digest).data == before
    files = list(on_disk(folder))
    assert len(files) >= 3
    for path in files:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


@pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: " ".join(effect))
@pytest.mark.parametrize("name", [name for name, each in ASKS.items() if each.method in ("GET", "HEAD")])
def test_after_a_fault_the_next_answer_is_right_again(filled: Registry, name: str, effect: dict[str, Any]) -> None:
    right = outcome(filled, name)
    with filled.faults.add(**effect), dial(filled) as raw:
        raw.send(written(filled, name))
        with suppress(ConnectionError):
            raw.finish()
            raw.rest()
    again = outcome(filled, name)
    assert (again.status, again.body) == (right.status, right.body)
    assert unchanged(filled)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"redirect": True}, "redirect=True: str, not bool"),
        ({"status": "500"}, "status='500': int, not str"),
        ({"latency": "1s"}, "latency='1s': float, not str"),
        ({"status": 500, "headers": [("A", "b")]}, "headers=.*: Mapping, not list"),
        ({"limit_data": 1.5}, "limit_data=1.5: int, not float"),
    ],
    ids=str,
)
def test_a_word_of_the_wrong_type_is_told_at_once(registry: Registry, words: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        registry.faults.add(**words)
    assert len(registry.faults) == 0
