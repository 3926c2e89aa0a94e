"""What was asked and what was answered."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tinyreg import Registry
from tinyreg import recorder as module
from tinyreg.recorder import Exchange, Recorder, Requests
from tinyreg.routes import Target
from tinyreg.server import Server
from tinyreg.wire import Abort, Handler, Headers, Request, Response

from .raw import Raw, request

BIG = bytes(range(256)) * 4096


def echo(request: Request) -> Response:
    request.fault = request.headers.get("x-fault")
    request.user = request.headers.get("x-user")
    return Response(int(request.first("status") or 200), Headers([("X-A", "1")]), b"".join(map(bytes, request.body)))


def exchange(path: str = "/v2/a/manifests/1", method: str = "GET", status: int = 200, fault: object = None) -> Exchange:
    requests = Requests()
    response = Recorder(lambda request: Response(status), requests)(Request(method, path, fault=fault))
    assert response.done is not None
    response.done(10, 20)
    requests[0].seconds = 0.0015
    return requests[0]


class Answer(Headers):
    """Header fields that can be watched."""


def test_an_answer_that_is_forgotten_leaves_nothing_to_the_garbage_collector() -> None:
    requests = Requests()
    answers = [Answer()]
    ref = weakref.ref(answers[0])
    gc.disable()
    try:
        response = Recorder(lambda _: Response(200, answers.pop()), requests)(Request("GET", "/v2/"))
        assert response.done is not None
        response.done(10, 20)
        del response
        assert ref() is not None  # in the log
        requests.clear()
        assert ref() is None
    finally:
        gc.enable()


class Recorded:
    """A server whose requests are recorded."""

    def __init__(self, handler: Handler) -> None:
        self.requests = Requests()
        self.server = Server(Recorder(handler, self.requests))

    def dial(self) -> Raw:
        return Raw("127.0.0.1", self.server.server_port)


@pytest.fixture
def record() -> Iterator[Callable[[Handler], Recorded]]:
    """Starts a recorded server around a Handler; at the end it may not have raised."""
    made: list[Recorded] = []

    def make(handler: Handler) -> Recorded:
        made.append(Recorded(handler))
        made[-1].server.start()
        return made[-1]

    yield make
    for each in made:
        each.server.stop()
    assert [each.server.errors for each in made if each.server.errors] == []


Record = Callable[[Handler], Recorded]


def test_an_exchange_is_there_when_the_client_has_its_answer(record: Record) -> None:
    recorded = record(echo)
    with recorded.dial() as raw:
        for count in range(1, 201):
            reply = raw.ask("PUT", "/v2/", body=BIG[:70_000] if count % 50 == 0 else b"x")
            assert len(recorded.requests) == count
            assert recorded.requests[-1].sent == len(reply.raw)


def test_an_exchange_says_what_was_asked_and_answered(record: Record) -> None:
    recorded = record(echo)
    with recorded.dial() as raw:
        fields = {"User-Agent": "me/1", "X-User": "tester", "X-Fault": "mine"}
        reply = raw.ask("PUT", "/v2/te%61m/app/manifests/1.0?status=201&a=b", fields, b"hello")
    (found,) = recorded.requests
    assert (found.method, found.path, found.query) == (
        "PUT",
        "/v2/team/app/manifests/1.0",
        {"status": ["201"], "a": ["b"]},
    )
    assert (found.kind, found.repository, found.reference) == ("manifest", "team/app", "1.0")
    assert found.target == Target("manifest", "team/app", "1.0")
    assert (found.status, found.headers["content-length"], found.response_headers["X-A"]) == (201, "5", "1")
    assert (found.user, found.client, found.fault) == ("tester", "me/1", "mine")
    assert (found.received, found.sent) == (raw.sent, len(reply.raw))
    assert 0 < found.seconds < 5


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("GET", None),
        ("HEAD", None),
        ("PUT", b""),
        ("PUT", b"hello"),
        ("PUT", BIG),
        ("PUT", [b"hel", b"lo"]),
        ("HEAD", b"hello"),
    ],
    ids=["GET", "HEAD", "empty", "small", "large", "chunked", "HEAD with a body"],
)
def test_the_bytes_are_those_that_crossed_the_socket(
    record: Record, method: str, body: bytes | list[bytes] | None
) -> None:
    recorded = record(echo)
    with recorded.dial() as raw:
        for _ in range(2):
            sent, received = raw.sent, raw.received
            raw.ask(method, "/v2/", body=body)
            found = recorded.requests[-1]
            assert (found.received, found.sent) == (raw.sent - sent, raw.received - received)


def test_credentials_do_not_stand_in_the_log(record: Record) -> None:
    recorded = record(echo)
    with recorded.dial() as raw:
        raw.ask("GET", "/v2/", {"Authorization": "Basic dGVzdGVyOnNlY3JldA=="})
    assert recorded.requests[0].headers["authorization"] == "Basic ***"


def test_a_continue_counts_as_sent(record: Record) -> None:
    recorded = record(echo)
    with recorded.dial() as raw:
        raw.send(request("PUT", "/v2/", {"Expect": "100-continue", "Content-Length": "5"}))
        assert raw.read().status == 100
        raw.send(b"hello")
        raw.read()
    assert (recorded.requests[0].received, recorded.requests[0].sent) == (raw.sent, raw.received)


def test_an_answer_cut_short_is_recorded_with_what_was_sent(record: Record) -> None:
    def cut(request: Request) -> Response:
        def body() -> Iterator[bytes]:
            yield b"he"
            if request.path == "/abort":
                raise Abort

        return Response(200, Headers([("Content-Length", "5")]), body())

    recorded = record(cut)
    for path in ("/short", "/abort"):
        with recorded.dial() as raw:
            raw.send(request("GET", path))
            assert raw.rest().endswith(b"\r\n\r\nhe")
            assert [each.sent for each in recorded.requests.where()][-1] == raw.received
    assert [each.path for each in recorded.requests] == ["/short", "/abort"]


def test_an_answer_the_client_did_not_wait_for_is_recorded_once() -> None:
    requests = Requests()
    told: list[tuple[int, int]] = []
    recorder = Recorder(lambda request: Response(body=b"hello"), requests)
    response = recorder(Request("GET", "/v2/"))
    assert response.done is not None
    response.done(10, 20)
    told.append((requests[0].received, requests[0].sent))
    response.done(10, 5)  # as wire does where the last bytes did not leave after all
    told.append((requests[0].received, requests[0].sent))
    assert told == [(10, 20), (10, 5)]
    assert len(requests) == 1


def test_exchanges_stand_in_the_order_of_their_answers(record: Record) -> None:
    recorded = record(echo)
    with recorded.dial() as one, recorded.dial() as other:
        for number in range(10):
            (one if number % 3 else other).ask("GET", f"/{number}")
    assert [each.path for each in recorded.requests] == [f"/{number}" for number in range(10)]


def test_each_of_many_clients_requests_is_recorded_once(record: Record) -> None:
    recorded = record(echo)

    def client(number: int) -> None:
        with recorded.dial() as raw:
            for turn in range(50):
                assert raw.ask("GET", f"/{number}/{turn}").status == 200

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8)))
    paths = [each.path for each in recorded.requests]
    assert len(paths) == 400
    assert set(paths) == {f"/{number}/{turn}" for number in range(8) for turn in range(50)}
    for number in range(8):
        own = [path for path in paths if path.startswith(f"/{number}/")]
        assert own == [f"/{number}/{turn}" for turn in range(50)]


# Requests, the sequence

LOG = [
    exchange("/v2/team/app/manifests/1", "PUT", 201),
    exchange("/v2/team/app/manifests/1"),
    exchange("/v2/team/db/manifests/2", status=404),
    exchange("/v2/other/blobs/uploads/", "POST", 202),
    exchange("/v2/"),
]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"method": "GET"}, [1, 2, 4]),
        ({"kind": "manifest"}, [0, 1, 2]),
        ({"kind": "manifest", "status": 404}, [2]),
        ({"repository": "team/*"}, [0, 1, 2]),
        ({"repository": "team/*", "method": "GET"}, [1, 2]),
        ({"reference": "[12]"}, [0, 1, 2]),
        ({"status": 500}, []),
    ],
)
def test_requests_are_narrowed_by_all_words_given(words: dict[str, str], found: list[int]) -> None:
    narrowed = Requests(LOG).where(**words)  # type: ignore[arg-type]
    assert isinstance(narrowed, Requests)
    assert list(narrowed) == [LOG[at] for at in found]


def test_what_is_narrowed_can_be_narrowed_again_and_does_not_grow() -> None:
    requests = Requests(LOG)
    narrowed = requests.where(kind="manifest").where(method="GET")
    requests.add(LOG[1])
    assert list(narrowed) == [LOG[1], LOG[2]]
    assert len(requests) == 6


@pytest.mark.parametrize("words", [{"kind": "blobs"}, {"method": "get"}])
def test_a_word_that_can_match_nothing_is_refused(words: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(words))):
        Requests(LOG).where(**words)  # type: ignore[arg-type]


def test_requests_are_a_sequence() -> None:
    requests = Requests(LOG)
    assert (requests[0], requests[-1], len(requests)) == (LOG[0], LOG[-1], 5)
    assert list(requests[1:3]) == LOG[1:3]
    assert list(requests[::-1]) == LOG[::-1]
    assert LOG[2] in requests
    assert list(reversed(requests))[0] == LOG[-1]  # noqa: RUF015
    assert requests.index(LOG[3]) == 3
    with pytest.raises(IndexError):
        requests[5]
    assert not Requests()


def test_requests_show_a_line_each_with_the_fault_that_acted() -> None:
    requests = Requests([exchange(), exchange("/v2/ü\n", fault="slow")])
    first, second = repr(requests).split("\n")
    assert first.split() == ["200", "GET", "/v2/a/manifests/1", "10", "B", "in", "20", "B", "out", "1.5", "ms"]
    assert second.split()[2] == "/v2/\\xfc\\n"
    assert second.endswith(" ms  fault: slow")
    assert repr(Requests()) == "no requests"


def test_a_table_says_how_many_it_leaves_out() -> None:
    lines = Requests(exchange(f"/{number}") for number in range(40)).table(last=2).split("\n")
    assert lines[0] == "… 38 before"
    assert [line.split()[2] for line in lines[1:]] == ["/38", "/39"]


def test_clear_forgets_them_all() -> None:
    requests = Requests(LOG)
    requests.clear()
    assert (len(requests), list(requests), requests.dropped) == (0, [], 0)


def test_only_the_newest_are_kept_and_the_others_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    requests = Requests()
    for each in LOG:
        requests.add(each)
    assert (list(requests), requests.dropped) == (LOG[2:], 2)
    requests.clear()
    assert requests.dropped == 0


def test_listeners_hear_of_each() -> None:
    requests, heard = Requests(), list[Exchange]()
    requests.listeners.append(heard.append)
    requests.add(LOG[0])
    assert heard == [LOG[0]]
    assert requests[0] is LOG[0]


def test_a_listener_may_read_the_requests_it_hears_of() -> None:
    requests, lengths = Requests(), list[int]()
    requests.listeners.append(lambda each: lengths.append(len(requests.where(method=each.method))))
    requests.add(LOG[1])
    assert lengths == [1]


# Requests.wait


def test_wait_returns_at_once_what_is_there() -> None:
    assert list(Requests(LOG).wait(2, kind="manifest", method="GET", timeout=0)) == [LOG[1], LOG[2]]


def test_wait_returns_when_the_last_one_comes() -> None:
    requests, found = Requests(LOG[:1]), list[int]()
    waiting = threading.Thread(target=lambda: found.append(len(requests.wait(3, kind="manifest"))))
    waiting.start()
    for each in LOG[1:3]:
        requests.add(each)
    waiting.join(5)
    assert found == [3]


def test_wait_for_a_real_client(record: Record) -> None:
    recorded = record(echo)

    def client() -> None:
        with recorded.dial() as raw:
            for status in (200, 404):
                raw.ask("GET", f"/v2/?status={status}")

    thread = threading.Thread(target=client)
    thread.start()
    assert [each.status for each in recorded.requests.wait(1, status=404)] == [404]
    thread.join(5)


def test_wait_gives_up_and_says_what_came_instead() -> None:
    with pytest.raises(TimeoutError) as caught:
        Requests(LOG).wait(2, status=404, timeout=0.01)
    first, *lines = str(caught.value).split("\n")
    assert first == "1 of 2 such requests after 0.01 s; answered were"
    assert lines == Requests(LOG).table().split("\n")


def test_wait_refuses_a_word_that_can_match_nothing() -> None:
    with pytest.raises(ValueError, match="kind"):
        Requests().wait(kind="blobs", timeout=0)


def test_an_answer_is_let_go_of_at_once_and_not_by_the_garbage_collector() -> None:
    response = Recorder(lambda request: Held(), Requests())(Request("GET", "/"))
    gone = weakref.ref(response)
    assert response.done is not None
    response.done(1, 2)
    gc.disable()
    try:
        del response
        assert gone() is None
    finally:
        gc.enable()


class Held(Response):
    """A Response that can be watched."""

    __slots__ = ("__weakref__",)


def test_a_log_of_large_heads_is_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """CWE-770: ten thousand heads of 64 KiB would be more than half a gigabyte."""
    monkeypatch.setattr(module, "KEPT_BYTES", 100_000)
    with Registry() as registry, Raw("127.0.0.1", registry.port) as raw:
        for _ in range(20):
            raw.ask("GET", "/v2/", {"X": "x" * 30_000})
        assert (len(registry.requests), registry.requests.dropped) == (3, 17)
        assert all(30_000 < each.head_size < 31_000 for each in registry.requests)
        registry.requests.clear()
        for _ in range(20):
            raw.ask("GET", "/v2/")
        assert (len(registry.requests), registry.requests.dropped) == (20, 0)


def test_an_exchange_that_is_kept_does_not_keep_its_connection(registry: Registry) -> None:
    with Raw("127.0.0.1", registry.port) as connection:
        connection.ask("PUT", "/v2/a/blobs/uploads/x", {}, b"of no session")
        server = registry._server
        assert server is not None
        (talk,) = (weakref.ref(each) for each in server.connections.values())
        assert talk() is not None
    deadline = time.monotonic() + 5
    while server.connections and time.monotonic() < deadline:
        time.sleep(0.001)
    gc.collect()
    assert talk() is None
    assert [each.status for each in registry.requests] == [400]
