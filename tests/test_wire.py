"""HTTP/1.1 on a socket: what goes in, what comes out, and when a connection ends."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreg import wire
from tinyreg.content import CHUNK, Content, FileSlice, open_slice
from tinyreg.server import Server
from tinyreg.wire import (
    Abort,
    Body,
    Disconnected,
    Handler,
    Headers,
    ProtocolError,
    Request,
    Response,
    Stream,
    frame,
    parse_head,
)

from .raw import Listener, Raw, Watch, chunked, request

Serve = Callable[..., Server]
Dial = Callable[[Server], Raw]
BIG = bytes(range(256)) * 4096  # 1 MiB


def echo(request: Request) -> Response:
    """The body back, and what was asked in the headers."""
    data = b"".join(map(bytes, request.body))
    return Response(200, Headers([("X-Method", request.method), ("X-Path", request.path)]), data)


def ignore(request: Request) -> Response:
    """An answer that never looks at the body."""
    return Response(403, body=b"no")


def always(response: Callable[[], Response]) -> Handler:
    return lambda request: response()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers; stops them at the end, when none may have raised."""
    with ExitStack() as stack:

        def run(handler: Handler = echo, listener: dict[str, Any] | None = None, **options: Any) -> Server:
            server = Server(handler, **options)
            stack.callback(lambda: pytest.fail(repr(server.errors)) if server.errors else None)
            stack.callback(server.stop)
            if listener:
                server.socket = cast("socket.socket", Listener(server.socket, **listener))
            server.start()
            return server

        yield run


@pytest.fixture
def dial() -> Iterator[Dial]:
    """Connects to servers; hangs up at the end."""
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(Raw("127.0.0.1", server.server_port))


class Feed:
    """The reading side of a socket that gives what it was fed, piece by piece, then the end."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = list(pieces)

    def recv(self, size: int) -> bytes:
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if len(piece) > size:
            self._pieces.insert(0, piece[size:])
        return piece[:size]

    def recv_into(self, view: memoryview) -> int:
        data = self.recv(len(view))
        view[: len(data)] = data
        return len(data)


def stream_of(*pieces: bytes) -> Stream:
    return Stream(cast("socket.socket", Feed(pieces)))


def whole(data: bytes) -> Stream:
    return stream_of(data)


def byte_by_byte(data: bytes) -> Stream:
    return stream_of(*(data[at : at + 1] for at in range(len(data))))


feeds = pytest.mark.parametrize("feed", [whole, byte_by_byte])
HEAD = b"GET /v2/ HTTP/1.1\r\nHost: x"


# Headers


def test_headers_find_names_in_any_case_and_keep_the_first_spelling() -> None:
    headers = Headers([("Content-Type", "a")])
    headers["content-TYPE"] = "b"
    assert headers["CONTENT-TYPE"] == "b"
    assert list(headers) == ["content-TYPE"]
    headers.add("Content-Type", "c")
    assert dict(headers) == {"content-TYPE": "b, c"}
    assert len(headers) == 1
    del headers["content-type"]
    assert headers.get("content-type") is None
    assert headers.get("content-type", "none") == "none"
    assert "content-type" not in headers


def test_headers_show_their_fields() -> None:
    assert repr(Headers([("A", "1")])) == "Headers([('A', '1')])"


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\nEvil: 1", "a\rEvil: 1"])
def test_a_line_break_cannot_leave_in_a_header(value: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        Headers([("X-Fine", "1"), ("X-Path", value)]).lines()


def test_headers_without_line_breaks_stand_one_a_line() -> None:
    assert Headers([("A", "1"), ("B", "2")]).lines() == "A: 1\r\nB: 2\r\n"


# parse_head


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param(b"GET /v2/ HTTP/1.1\r\nHost: x", ("GET", "/v2/", {}, "/v2/"), id="plain"),
        pytest.param(b"GET /v2/ HTTP/1.0", ("GET", "/v2/", {}, "/v2/"), id="1.0 without Host"),
        pytest.param(
            b"GET /a?n=1&n=2&b&c=%3A HTTP/1.1\r\nHost: x",
            ("GET", "/a", {"n": ["1", "2"], "b": [""], "c": [":"]}, "/a?n=1&n=2&b&c=%3A"),
            id="query",
        ),
        pytest.param(b"GET /a? HTTP/1.1\r\nHost: x", ("GET", "/a", {}, "/a?"), id="empty query"),
        pytest.param(b"GET /a%2Fb%3a HTTP/1.1\r\nHost: x", ("GET", "/a/b:", {}, "/a%2Fb%3a"), id="percent"),
        pytest.param(b"GET /%ff HTTP/1.1\r\nHost: x", ("GET", "/\ufffd", {}, "/%ff"), id="not UTF-8"),
        pytest.param(b"GET /%zz HTTP/1.1\r\nHost: x", ("GET", "/%zz", {}, "/%zz"), id="not percent"),
        pytest.param(b"GET http://h:1/v2/?a=b HTTP/1.1\r\nHost: x", ("GET", "/v2/", {"a": ["b"]}, None), id="absolute"),
        pytest.param(b"GET HTTPS://h HTTP/1.1\r\nHost: x", ("GET", "/", {}, None), id="absolute without path"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: x", ("OPTIONS", "*", {}, "*"), id="asterisk"),
        pytest.param(b"GET ftp://h/v2/ HTTP/1.1\r\nHost: x", ("GET", "ftp://h/v2/", {}, None), id="foreign scheme"),
        pytest.param(b"M-SEARCH / HTTP/1.1\r\nHost: x", ("M-SEARCH", "/", {}, "/"), id="any token is a method"),
    ],
)
def test_a_head_becomes_a_request(head: bytes, expected: tuple[str, str, dict[str, list[str]], str | None]) -> None:
    request = parse_head(head)
    assert (request.method, request.path, request.query) == expected[:3]
    assert request.target == (expected[3] or head.split(b" ")[1].decode())


def test_header_fields_are_trimmed_and_repeated_ones_joined() -> None:
    request = parse_head(HEAD + b"\r\nAccept:  a \t\r\naccept:b\r\nX-Empty:\r\nX-Latin: \xe9")
    assert dict(request.headers) == {"Host": "x", "Accept": "a, b", "X-Empty": "", "X-Latin": "é"}


def test_the_first_value_of_a_query_parameter_is_easy_to_ask_for() -> None:
    request = parse_head(b"GET /?n=1&n=2 HTTP/1.0")
    assert (request.first("n"), request.first("m")) == ("1", None)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b"", 400, id="empty"),
        pytest.param(b"GET /v2/", 400, id="HTTP/0.9"),
        pytest.param(b"GET  /v2/ HTTP/1.1\r\nHost: x", 400, id="two spaces"),
        pytest.param(b"GET /v2/ x HTTP/1.1\r\nHost: x", 400, id="space in target"),
        pytest.param(b"GET\t/v2/\tHTTP/1.1\r\nHost: x", 400, id="tabs"),
        pytest.param(b"G(T /v2/ HTTP/1.1\r\nHost: x", 400, id="method no token"),
        pytest.param(b"GET /\xc3\xa9 HTTP/1.1\r\nHost: x", 400, id="target not ASCII"),
        pytest.param(b"GET /\x00 HTTP/1.1\r\nHost: x", 400, id="NUL in target"),
        pytest.param(b"GET /v2/ HTTP/1.1 \r\nHost: x", 400, id="space behind version"),
        pytest.param(b"GET /v2/ http/1.1\r\nHost: x", 400, id="version in lower case"),
        pytest.param(b"GET /v2/ HTTP/2.0\r\nHost: x", 505, id="version 2.0"),
        pytest.param(b"PRI * HTTP/2.0", 505, id="HTTP/2 preface"),
        pytest.param(b"GET /v2/ HTTP/1.2\r\nHost: x", 505, id="version 1.2"),
        pytest.param(b"GET /v2/ HTTP/11\r\nHost: x", 400, id="version 11"),
        pytest.param(b"GET /v2/ HTTP/1.1", 400, id="no Host"),
        pytest.param(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nHost: y", 400, id="two Hosts"),
        pytest.param(HEAD + b"\r\nX-A : b", 400, id="space before colon"),
        pytest.param(HEAD + b"\r\n folded", 400, id="folded line"),
        pytest.param(HEAD + b"\r\n\tfolded: so", 400, id="folded with tab"),
        pytest.param(HEAD + b"\r\nnothing", 400, id="no colon"),
        pytest.param(HEAD + b"\r\n: value", 400, id="no name"),
        pytest.param(HEAD + b"\r\nX-A: b\nX-C: d", 400, id="bare LF in a field"),
        pytest.param(HEAD + b"\r\nX-A: b\rX-C: d", 400, id="bare CR in a field"),
        pytest.param(HEAD + b"\r\nX-A: \x00", 400, id="NUL in a field"),
        pytest.param(HEAD + b"\r\nX-A: \x7f", 400, id="DEL in a field"),
        pytest.param(b"GET /v2/ HTTP/1.1\nHost: x", 400, id="bare LF behind the request line"),
    ],
)
def test_a_malformed_head_is_refused(head: bytes, status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_head(head)
    assert caught.value.status == status


# Stream


@feeds
def test_a_head_is_found_however_it_comes(feed: Callable[[bytes], Stream]) -> None:
    stream = feed(b"\r\n\r\n" + HEAD + b"\r\n\r\n")
    assert stream.head() == HEAD
    assert stream.head() is None


@feeds
def test_heads_lines_and_bodies_are_read_apart_however_they_come(feed: Callable[[bytes], Stream]) -> None:
    stream = feed(b"POST / HTTP/1.0\r\n\r\nline\r\n\r\n12345" + HEAD + b"\r\n\r\n")
    assert stream.head() == b"POST / HTTP/1.0"
    assert stream.line() == b"line"
    assert stream.line() == b""
    buffer, data = memoryview(bytearray(5)), b""
    while len(data) < 5:
        data += bytes(buffer[: stream.into(buffer[: 5 - len(data)])])
    assert data == b"12345"
    assert stream.head() == HEAD
    assert stream.received == len(b"POST / HTTP/1.0\r\n\r\nline\r\n\r\n12345" + HEAD + b"\r\n\r\n")


@feeds
def test_a_second_request_behind_a_body_is_left_for_later(feed: Callable[[bytes], Stream]) -> None:
    first, second = request("PUT", "/a", body=b"hello"), request("GET", "/b")
    stream = feed(first + second)
    asked = parse_head(stream.head() or b"")
    assert frame(asked, stream, pytest.fail).read(100) == b"hello"
    assert stream.received == len(first)
    assert parse_head(stream.head() or b"").path == "/b"
    assert stream.received == len(first + second)


@pytest.mark.parametrize("cut", [1, 10, len(HEAD) + 3])
def test_a_connection_that_ends_within_a_head_is_lost(cut: int) -> None:
    with pytest.raises(Disconnected):
        stream_of((HEAD + b"\r\n\r\n")[:cut]).head()


@pytest.mark.parametrize(
    ("size", "status"),
    [pytest.param(wire.HEAD_LIMIT, None, id="at the limit"), pytest.param(wire.HEAD_LIMIT + 1, 431, id="over it")],
)
def test_a_head_may_have_64_kib(size: int, status: int | None) -> None:
    head = HEAD + b"\r\nX-Long: "
    head += b"a" * (size - len(head))
    stream = stream_of(head + b"\r\n\r\n")
    if status is None:
        assert stream.head() == head
    else:
        with pytest.raises(ProtocolError) as caught:
            stream.head()
        assert caught.value.status == status


def test_a_head_without_end_is_refused_once_it_is_too_long() -> None:
    with pytest.raises(ProtocolError) as caught:
        stream_of(HEAD, b"a" * wire.HEAD_LIMIT, b"b").head()
    assert caught.value.status == 431


@feeds
def test_lines_that_end_with_a_bare_lf_are_refused_without_waiting_for_more(feed: Callable[[bytes], Stream]) -> None:
    with pytest.raises(ProtocolError, match="CR LF"):
        feed(b"GET / HTTP/1.1\nHost: x\n\n").head()


def test_a_tls_hello_is_refused_at_its_first_byte() -> None:
    with pytest.raises(ProtocolError, match="plain HTTP"):
        stream_of(b"\x16").head()


def test_a_framing_line_without_end_is_refused() -> None:
    with pytest.raises(ProtocolError, match="too long"):
        stream_of(b"a" * 4097, b"a").line()


def test_a_framing_line_that_ends_with_a_bare_lf_is_refused_without_waiting_for_more() -> None:
    with pytest.raises(ProtocolError, match="CR LF"):
        stream_of(b"5\n").line()


def test_a_framing_line_may_be_cut_between_cr_and_lf() -> None:
    assert stream_of(b"5\r", b"\n").line() == b"5"


@pytest.mark.parametrize("read", [Stream.line, lambda stream: stream.into(memoryview(bytearray(1)))])
def test_a_connection_that_ends_within_a_body_is_lost(read: Callable[[Stream], object]) -> None:
    with pytest.raises(Disconnected):
        read(stream_of())


# Body


def body_of(stream: Stream, *fields: tuple[str, str], version: str = "HTTP/1.1") -> Body:
    return frame(Request("PUT", "/", headers=Headers(fields), version=version), stream, lambda: None)


CHUNKED = ("Transfer-Encoding", "chunked")


@feeds
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(chunked([b"hel", b"lo"]), id="chunks"),
        pytest.param(b'5;name=value;other="x y"\r\nhello\r\n0\r\n\r\n', id="extension"),
        pytest.param(b"5 \t;x\r\nhello\r\n0;last\r\n\r\n", id="blanks before an extension"),
        pytest.param(b"0005\r\nhello\r\n000\r\n\r\n", id="leading zeros"),
        pytest.param(chunked([b"hello"], b"X-Sum: 1\r\nX-More: 2\r\n"), id="trailer"),
    ],
)
def test_chunks_are_joined(feed: Callable[[bytes], Stream], data: bytes) -> None:
    stream = feed(data + b"next")
    body = body_of(stream, CHUNKED)
    assert (body.size, body.left, body.finished) == (None, None, False)
    assert body.read(100) == b"hello"
    assert (body.left, body.finished) == (0, True)
    assert stream.received == len(data)
    assert list(body) == []


def test_chunk_sizes_are_hexadecimal_in_either_case() -> None:
    assert body_of(stream_of(b"1a\r\n" + b"a" * 26 + b"\r\n1A\r\n" + b"b" * 26 + b"\r\n0\r\n\r\n"), CHUNKED).read(
        99
    ) == (b"a" * 26 + b"b" * 26)


@feeds
@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"xyz\r\n", 400, id="no number"),
        pytest.param(b"\r\n", 400, id="empty size"),
        pytest.param(b"-5\r\nhello\r\n", 400, id="negative"),
        pytest.param(b"+5\r\nhello\r\n", 400, id="plus"),
        pytest.param(b"0x5\r\nhello\r\n", 400, id="0x"),
        pytest.param(b"5_0\r\n", 400, id="underscore"),
        pytest.param(b" 5\r\nhello\r\n", 400, id="blank in front"),
        pytest.param(b"1234567890123456\r\n", 400, id="over-long number"),
        pytest.param(b"5;\x00\r\nhello\r\n", 400, id="NUL in an extension"),
        pytest.param(b"5;a\nb\r\nhello\r\n", 400, id="bare LF in an extension"),
        pytest.param(b"5\nhello\n0\n\n", 400, id="bare LF"),
        pytest.param(b"5;" + b"a" * 5000 + b"a", 400, id="over-long line"),
        pytest.param(b"3\r\nhello\r\n0\r\n\r\n", 400, id="chunk longer than its size"),
        pytest.param(b"0\r\n" + b"X-Long: 1\r\n" * 8000 + b"\r\n", 431, id="over-long trailer"),
    ],
)
def test_malformed_chunks_are_refused(feed: Callable[[bytes], Stream], data: bytes, status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        body_of(feed(data), CHUNKED).read(1000)
    assert caught.value.status == status


@feeds
def test_a_body_is_as_long_as_its_content_length(feed: Callable[[bytes], Stream]) -> None:
    stream = feed(b"hello" + HEAD)
    body = body_of(stream, ("Content-Length", "5"))
    assert (body.size, body.left, body.finished) == (5, 5, False)
    assert body.read(5) == b"hello"
    assert (body.left, body.finished, stream.received) == (0, True, 5)


@pytest.mark.parametrize(
    ("fields", "version", "status"),
    [
        pytest.param([("Content-Length", "-1")], "HTTP/1.1", 400, id="negative"),
        pytest.param([("Content-Length", "+1")], "HTTP/1.1", 400, id="plus"),
        pytest.param([("Content-Length", "")], "HTTP/1.1", 400, id="empty"),
        pytest.param([("Content-Length", "1.0")], "HTTP/1.1", 400, id="no whole number"),
        pytest.param([("Content-Length", "5, 5")], "HTTP/1.1", 400, id="two lengths"),
        pytest.param([("Content-Length", "1" * 19)], "HTTP/1.1", 400, id="over-long"),
        pytest.param([("Content-Length", "²")], "HTTP/1.1", 400, id="not ASCII"),
        pytest.param([("Content-Length", "5"), CHUNKED], "HTTP/1.1", 400, id="both body headers"),
        pytest.param([CHUNKED], "HTTP/1.0", 400, id="chunked in HTTP/1.0"),
        pytest.param([("Transfer-Encoding", "gzip")], "HTTP/1.1", 501, id="unknown coding"),
        pytest.param([("Transfer-Encoding", "gzip, chunked")], "HTTP/1.1", 501, id="two codings"),
        pytest.param([("Expect", "200-ok")], "HTTP/1.1", 417, id="unknown expectation"),
    ],
)
def test_contradicting_body_headers_are_refused(fields: list[tuple[str, str]], version: str, status: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        body_of(stream_of(), *fields, version=version)
    assert caught.value.status == status


def test_a_request_without_body_headers_has_no_body() -> None:
    body = body_of(stream_of(b"GET"))
    assert (body.size, body.finished, body.read(9), list(Request("GET", "/").body)) == (0, True, b"", [])


@pytest.mark.parametrize("coding", ["chunked", "Chunked"])
def test_the_name_of_a_coding_has_any_case(coding: str) -> None:
    assert body_of(stream_of(b"0\r\n\r\n"), ("Transfer-Encoding", coding)).read(1) == b""


@pytest.mark.parametrize(
    ("body", "left"),
    [
        pytest.param(Body(stream_of(b"hello"), 5), b"hello", id="its length says so"),
        pytest.param(Body(stream_of(chunked([b"hello"])), None), b"", id="found out on the way"),
    ],
)
def test_a_body_over_the_limit_is_not_read_to_its_end(body: Body, left: bytes) -> None:
    assert body.read(4) is None
    assert b"".join(map(bytes, body)) == left


def test_a_body_is_handed_out_in_pieces_of_bounded_size() -> None:
    sizes = [len(piece) for piece in Body(stream_of(BIG), len(BIG))]
    assert sum(sizes) == len(BIG)
    assert max(sizes) <= CHUNK


@pytest.mark.parametrize(
    ("body", "limit", "drained"),
    [
        pytest.param(lambda: Body(stream_of(b"hello"), 5), 5, True, id="small"),
        pytest.param(lambda: Body(stream_of(b"hello"), 5), 4, False, id="large"),
        pytest.param(lambda: Body(stream_of(chunked([b"hello"])), None), 5, True, id="small chunks"),
        pytest.param(lambda: Body(stream_of(chunked([b"he", b"l", b"l", b"o"])), None), 2, False, id="large chunks"),
        pytest.param(lambda: Body(stream_of(b"hello"), 5, lambda: None), 5, False, id="waiting for 100 Continue"),
        pytest.param(Body, 0, True, id="none"),
    ],
)
def test_only_a_small_body_on_its_way_is_drained(body: Callable[[], Body], limit: int, drained: bool) -> None:
    assert body().drain(limit) is drained


# Connection: requests in turn


def test_a_connection_carries_one_request_after_the_other(serve: Serve, dial: Dial) -> None:
    raw = dial(serve())
    replies = [raw.ask("PUT", f"/{number}", body=b"x" * number) for number in range(3)]
    assert [(each.status, each.body, each.headers["x-path"], each.keeps) for each in replies] == [
        (200, b"x" * number, f"/{number}", True) for number in range(3)
    ]


def test_pipelined_requests_are_answered_in_order(serve: Serve, dial: Dial) -> None:
    raw = dial(serve())
    raw.send(request("PUT", "/1", body=b"a") + request("PUT", "/2", body=[b"b", b"c"]) + request("GET", "/3"))
    assert [(each.headers["x-path"], each.body) for each in (raw.read(), raw.read(), raw.read())] == [
        ("/1", b"a"),
        ("/2", b"bc"),
        ("/3", b""),
    ]


def test_a_request_that_comes_byte_by_byte_is_answered(serve: Serve, dial: Dial) -> None:
    raw = dial(serve())
    raw.send(request("PUT", "/a", body=[b"hel", b"lo"]), piece=1)
    assert raw.read().body == b"hello"


def test_an_answer_has_the_headers_http_wants(serve: Serve, dial: Dial) -> None:
    reply = dial(serve(always(lambda: Response(201, Headers([("X-A", "1")]), b"hi")))).ask("GET", "/")
    assert reply.line == "HTTP/1.1 201 Created"
    assert reply.headers["date"].endswith(" GMT")
    assert {name: value for name, value in reply.headers.items() if name != "date"} == {
        "x-a": "1",
        "content-length": "2",
    }


def test_a_status_without_a_name_can_be_sent(serve: Serve, dial: Dial) -> None:
    assert dial(serve(always(lambda: Response(299)))).ask("GET", "/").line == "HTTP/1.1 299 Unknown"


@pytest.mark.parametrize(
    ("version", "connection", "stays", "answered"),
    [
        ("HTTP/1.1", None, True, None),
        ("HTTP/1.1", "keep-alive", True, None),
        ("HTTP/1.1", "Close", False, "close"),
        ("HTTP/1.0", None, False, "close"),
        ("HTTP/1.0", "Keep-Alive", True, "keep-alive"),
        ("HTTP/1.0", "close", False, "close"),
    ],
)
def test_a_connection_stays_as_long_as_the_client_wants(
    serve: Serve, dial: Dial, version: str, connection: str | None, stays: bool, answered: str | None
) -> None:
    raw = dial(serve())
    ask = f"GET / {version}\r\nHost: x\r\n" + (f"Connection: {connection}\r\n" if connection else "") + "\r\n"
    raw.send(ask.encode())
    assert raw.read().headers.get("connection") == answered
    if stays:
        raw.send(ask.encode())
        assert raw.read().status == 200
    else:
        assert raw.rest() == b""


@pytest.mark.parametrize(
    ("method", "status", "length"),
    [("HEAD", 200, "5"), ("GET", 204, None), ("GET", 304, None), ("HEAD", 204, None), ("GET", 200, "5")],
)
def test_only_an_answer_that_may_have_a_body_has_one(
    serve: Serve, dial: Dial, method: str, status: int, length: str | None
) -> None:
    raw = dial(serve(always(lambda: Response(status, body=b"hello"))))
    reply = raw.ask(method, "/")
    assert (reply.status, reply.headers.get("content-length")) == (status, length)
    assert reply.body == (b"hello" if (method, status) == ("GET", 200) else b"")
    assert raw.ask(method, "/").status == status
    raw.finish()
    assert raw.rest() == b""


# Connection: answers in pieces


@pytest.mark.parametrize("size", [0, 1, wire.ONE_SEND])
def test_a_head_and_a_small_body_leave_in_one_send(serve: Serve, dial: Dial, size: int) -> None:
    watch = Watch()
    server = serve(always(lambda: Response(body=b"x" * size)), listener={"wrap": watch})
    reply = dial(server).ask("GET", "/")
    assert watch.sends == [len(reply.raw)]


def test_a_small_file_leaves_with_its_head_in_one_send(serve: Serve, dial: Dial, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"hello")
    watch = Watch()
    server = serve(always(lambda: Response(body=open_slice(tmp_path / "file"))), listener={"wrap": watch})
    reply = dial(server).ask("GET", "/")
    assert (reply.body, watch.sends) == (b"hello", [len(reply.raw)])


def test_a_large_body_follows_its_head(serve: Serve, dial: Dial) -> None:
    watch = Watch()
    server = serve(always(lambda: Response(body=BIG)), listener={"wrap": watch})
    reply = dial(server).ask("GET", "/")
    assert reply.body == BIG
    assert watch.sends == [len(reply.raw) - len(BIG), *[CHUNK] * 4]


@pytest.mark.parametrize("sendfile", [True, False])
def test_a_large_file_arrives_whole_with_sendfile_and_without(
    serve: Serve, dial: Dial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sendfile: bool
) -> None:
    (tmp_path / "file").write_bytes(BIG)
    used: list[int] = []
    if sendfile and not hasattr(os, "sendfile"):
        pytest.skip("the system has no sendfile")
    if sendfile:
        real = os.sendfile
        monkeypatch.setattr(os, "sendfile", lambda *a: used.append(real(*a)) or used[-1])  # type: ignore[func-returns-value]
    else:
        monkeypatch.delattr(os, "sendfile", raising=False)
    raw = dial(serve(always(lambda: Response(body=open_slice(tmp_path / "file")[10:-10]))))
    for _ in range(2):
        assert raw.ask("GET", "/").body == BIG[10:-10]
    assert sum(used) == (2 * (len(BIG) - 21) if sendfile else 0)


@pytest.mark.parametrize("sendfile", [True, False])
@pytest.mark.parametrize("size", [1000, len(BIG)])
def test_a_file_that_shrinks_ends_the_connection(
    serve: Serve, dial: Dial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sendfile: bool, size: int
) -> None:
    (tmp_path / "file").write_bytes(BIG[: size // 2])
    if not sendfile:
        monkeypatch.delattr(os, "sendfile", raising=False)

    def handler(request: Request) -> Response:
        return Response(body=FileSlice(open_slice(tmp_path / "file").file, 0, size))

    raw = dial(serve(handler))
    raw.send(request("GET", "/"))
    head, _, body = raw.rest().partition(b"\r\n\r\n")
    assert f"Content-Length: {size}".encode() in head
    assert body == BIG[: size // 2]


@pytest.mark.parametrize("size", [7, len(BIG) + 5])
def test_an_iterable_is_sent_as_it_comes(serve: Serve, dial: Dial, tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(BIG)
    expected = b"he" + BIG[: size - 5] + b"llo"

    def handler(request: Request) -> Response:
        body: list[Content] = [b"he", open_slice(tmp_path / "file")[: size - 5], memoryview(b"llo"), b""]
        return Response(200, Headers([("Content-Length", str(size))]), iter(body))

    raw = dial(serve(handler))
    assert raw.ask("GET", "/").body == expected
    assert raw.ask("HEAD", "/").headers["content-length"] == str(size)
    assert raw.ask("GET", "/").body == expected


@pytest.mark.parametrize("body", [[b"he", b"ll"], []], ids=["some", "none"])
def test_a_body_shorter_than_promised_ends_the_connection(serve: Serve, dial: Dial, body: list[bytes]) -> None:
    raw = dial(serve(always(lambda: Response(200, Headers([("Content-Length", "5")]), iter(body)))))
    raw.send(request("GET", "/") * 2)
    assert raw.rest().partition(b"\r\n\r\n")[2] == b"".join(body)


def test_bytes_shorter_than_a_stated_length_end_the_connection(serve: Serve, dial: Dial) -> None:
    raw = dial(serve(always(lambda: Response(200, Headers([("Content-Length", "9")]), b"hello"))))
    raw.send(request("GET", "/"))
    assert raw.rest().endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize(
    ("headers", "body", "size"),
    [
        ([], b"hello", 5),
        ([], memoryview(b"hello"), 5),
        ([], iter([b"hello"]), 0),
        ([("Content-Length", "9")], b"hello", 9),
    ],
    ids=["bytes", "memoryview", "iterable", "stated"],
)
def test_a_response_knows_its_size(headers: list[tuple[str, str]], body: Any, size: int) -> None:
    assert Response(200, Headers(headers), body).size == size


# Connection: bodies nobody asked for


@pytest.mark.parametrize("size", [5, wire.DRAIN_LIMIT])
def test_a_small_unread_body_is_read_away_and_the_connection_kept(serve: Serve, dial: Dial, size: int) -> None:
    raw = dial(serve(ignore))
    for _ in range(2):
        reply = raw.ask("PUT", "/", body=b"x" * size)
        assert (reply.status, reply.body, reply.keeps) == (403, b"no", True)


@pytest.mark.parametrize("chunks", [False, True], ids=["length", "chunked"])
def test_a_large_unread_body_closes_but_a_client_that_sends_it_all_sees_the_answer(
    serve: Serve, dial: Dial, chunks: bool
) -> None:
    raw = dial(serve(ignore))
    body = BIG * 8
    raw.send(request("PUT", "/", body=[body] if chunks else body))
    reply = raw.read()
    assert (reply.status, reply.body, reply.headers["connection"]) == (403, b"no", "close")
    assert raw.rest() == b""


def test_an_unread_body_of_broken_chunks_gets_one_answer_and_not_a_second(serve: Serve, dial: Dial) -> None:
    raw = dial(serve(ignore))
    raw.send(request("PUT", "/", [CHUNKED]) + b"no chunk\r\n")
    assert raw.read().status == 403
    assert raw.rest() == b""


def test_a_half_read_body_does_not_become_the_next_request(serve: Serve, dial: Dial) -> None:
    def first_piece(request: Request) -> Response:
        return Response(body=bytes(next(iter(request.body), b"")))

    raw = dial(serve(first_piece))
    raw.send(request("PUT", "/", body=b"1" * 70_000 + request("GET", "/evil")) + request("PUT", "/", body=b"2"))
    assert set(raw.read().body) == set(b"1")
    assert raw.read().body == b"2"


def test_lingering_ends_at_its_limit(serve: Serve, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LINGER_LIMIT", 10)
    raw = dial(serve(ignore))
    raw.send(request("PUT", "/", {"Content-Length": "9999999"}))
    assert raw.read().status == 403
    raw.send(b"x" * 11)
    assert raw.rest() == b""


def test_lingering_ends_in_time(serve: Serve, dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LINGER_SECONDS", 0.02)
    watch = Watch()
    raw = dial(serve(ignore, {"wrap": watch}))
    raw.send(request("PUT", "/", {"Content-Length": "9999999"}))
    assert raw.read().status == 403
    assert watch.closed.wait(1)


# Connection: 100 Continue

EXPECT = {"Expect": "100-Continue", "Content-Length": "5"}


def test_the_body_is_asked_for_when_it_is_read(serve: Serve, dial: Dial) -> None:
    raw = dial(serve())
    raw.send(request("PUT", "/", EXPECT))
    assert raw.read().raw == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw.send(b"hello")
    assert (reply := raw.read()).body == b"hello"
    assert reply.keeps


def test_a_refusal_does_not_ask_for_the_body_and_closes(serve: Serve, dial: Dial) -> None:
    raw = dial(serve(ignore))
    raw.send(request("PUT", "/", EXPECT))
    reply = raw.read()
    assert (reply.status, reply.headers["connection"]) == (403, "close")
    assert raw.rest() == b""


def test_a_client_of_http_1_0_is_never_told_to_continue(serve: Serve, dial: Dial) -> None:
    raw = dial(serve())
    raw.send(b"PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
    assert raw.read().body == b"hello"


def test_an_empty_body_needs_no_continue(serve: Serve, dial: Dial) -> None:
    raw = dial(serve())
    assert raw.ask("PUT", "/", {"Expect": "100-continue"}, b"").status == 200
    assert raw.ask("GET", "/").status == 200


# Connection: what is no HTTP


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"nonsense\r\n\r\n", 400, id="nonsense"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, id="HTTP/2 preface"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x0d\x0a\x00" * 100, 400, id="TLS hello"),
        pytest.param(b"GET / HTTP/1.1\nHost: x\n\n", 400, id="bare LF"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 70_000, 431, id="head over 64 KiB"),
        pytest.param(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, id="chunk size"),
        pytest.param(b"PUT / HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n", 417, id="expectation"),
    ],
)
def test_what_is_no_http_gets_an_answer_and_the_end(serve: Serve, dial: Dial, data: bytes, status: int) -> None:
    server = serve()
    raw = dial(server)
    raw.send(data)
    reply = raw.read()
    assert reply.raw.startswith(b"HTTP/1.0 %d " % status)
    assert reply.headers["connection"] == "close"
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.body.endswith(b"\n")
    assert raw.rest() == b""
    assert dial(server).ask("GET", "/").status == 200
    assert server.vanished == 0


def test_a_handler_that_echoes_line_breaks_into_a_header_sends_nothing(dial: Dial) -> None:
    server = Server(echo)
    server.start()
    try:
        raw = dial(server)
        raw.send(request("GET", "/a%0d%0aEvil:%201"))
        assert raw.rest() == b""
        assert dial(server).ask("GET", "/fine").headers["x-path"] == "/fine"
    finally:
        server.stop()
    assert [str(error) for error in server.errors] == ["a line break in a header field"]


# Connection: ends


@pytest.mark.parametrize("where", ["handler", "body"])
@pytest.mark.parametrize("reset", [True, False])
def test_an_abort_ends_the_connection_with_a_reset_if_asked(serve: Serve, dial: Dial, where: str, reset: bool) -> None:
    def stop_short() -> Iterator[bytes]:
        yield b"he"
        raise Abort(reset=reset)

    def handler(request: Request) -> Response:
        if where == "handler":
            raise Abort(reset=reset)
        return Response(200, Headers([("Content-Length", "5")]), stop_short())

    raw = dial(serve(handler))
    raw.send(request("GET", "/"))
    if reset:
        with pytest.raises(ConnectionResetError):
            raw.rest()
    else:
        assert raw.rest().endswith(b"he" if where == "body" else b"")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="idle"),
        pytest.param(b"GET / HT", id="half a head"),
        pytest.param(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe", id="half a body"),
        pytest.param(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r", id="half a chunk"),
    ],
)
def test_a_silent_client_is_cut_off_and_only_counted_in_the_middle_of_something(
    serve: Serve, dial: Dial, data: bytes
) -> None:
    server = serve(timeout=0.05)
    raw = dial(server)
    raw.send(data)
    assert raw.rest() == b""
    server.stop()
    assert server.vanished == (1 if data else 0)


def test_a_connection_idle_after_an_answer_is_closed(serve: Serve, dial: Dial) -> None:
    server = serve(timeout=0.05)
    raw = dial(server)
    assert raw.ask("GET", "/").status == 200
    assert raw.rest() == b""
    server.stop()
    assert server.vanished == 0


@pytest.mark.parametrize("data", [b"GET / HT", b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe"])
@pytest.mark.parametrize("reset", [True, False])
def test_a_client_that_vanishes_is_counted_and_nothing_printed(
    serve: Serve, dial: Dial, capfd: pytest.CaptureFixture[str], data: bytes, reset: bool
) -> None:
    watch = Watch()
    server = serve(listener={"wrap": watch})
    raw = dial(server)
    raw.send(data)
    if reset:
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()
    assert watch.closed.wait(5)
    assert server.vanished == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("file", [True, False])
def test_a_client_that_does_not_take_its_answer_is_cut_off(
    serve: Serve, dial: Dial, tmp_path: Path, file: bool
) -> None:
    (tmp_path / "file").write_bytes(b"")
    os.truncate(tmp_path / "file", 64 * 1024 * 1024)
    watch = Watch()

    def handler(request: Request) -> Response:
        content = open_slice(tmp_path / "file")
        return Response(200, Headers([("Content-Length", str(len(content)))]), content if file else content.chunks())

    server = serve(handler, {"wrap": watch}, timeout=0.05)
    raw = dial(server)
    raw.send(request("GET", "/"))
    assert watch.closed.wait(5)
    assert server.vanished == 1


def test_where_the_system_is_windows_timeouts_and_files_work_without_the_kernels_help(
    serve: Serve, dial: Dial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(BIG)
    monkeypatch.setattr(wire, "os", SimpleNamespace(name="nt"))
    server = serve(always(lambda: Response(body=open_slice(tmp_path / "file"))), timeout=0.2)
    raw = dial(server)
    assert raw.ask("GET", "/").body == BIG
    assert raw.rest() == b""
    assert server.vanished == 0


def test_done_is_told_the_bytes_before_the_last_of_them_leave(serve: Serve, dial: Dial) -> None:
    told: list[tuple[int, int]] = []

    def handler(request: Request) -> Response:
        return Response(body=b"".join(map(bytes, request.body)), done=lambda *counts: told.append(counts))

    raw = dial(serve(handler))
    for body in (b"hello", BIG, b""):
        before = raw.sent
        reply = raw.ask("PUT", "/", body=body)
        assert told.pop() == (raw.sent - before, len(reply.raw))
        assert told == []


@pytest.mark.parametrize("how", ["hangs up", "resets"])
def test_a_handler_that_waits_can_see_that_the_client_is_gone(serve: Serve, dial: Dial, how: str) -> None:
    told: list[bool] = []
    entered, done = threading.Event(), threading.Event()

    def wait(request: Request) -> Response:
        told.append(request.gone())
        entered.set()
        while not request.gone():
            done.wait(0.001)
        done.set()
        return Response()

    raw = dial(serve(wait))
    raw.send(request("GET", "/"))
    assert entered.wait(5)
    if how == "resets":
        raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()
    assert done.wait(5)
    assert told == [False]


def test_a_client_that_sends_more_is_not_gone_and_its_bytes_stay_to_be_read(serve: Serve, dial: Dial) -> None:
    def look(request: Request) -> Response:
        return Response(body=b"gone" if request.gone() else request.path.encode())

    raw = dial(serve(look))
    for data in (request("GET", "/1") * 2, request("PUT", "/1", body=b"hello")):
        raw.send(data)
        assert raw.read().body == b"/1"
    assert raw.read().body == b"/1"


def test_a_handler_that_waits_sees_the_server_stop(serve: Serve, dial: Dial) -> None:
    entered = threading.Event()

    def wait(request: Request) -> Response:
        while not request.gone():
            entered.set()
        return Response()

    server = serve(wait)
    dial(server).send(request("GET", "/"))
    assert entered.wait(5)
    server.stop()
    assert server.connections == {}


@pytest.mark.parametrize("second", [0, 951_782_400, 1_000_000_000, 1_764_057_600, 4_102_444_799])
def test_the_date_is_the_one_that_the_mail_package_writes(monkeypatch: pytest.MonkeyPatch, second: int) -> None:
    monkeypatch.setattr("time.time", lambda: second + 0.9)
    assert wire._date() == f"Date: {formatdate(second, usegmt=True)}\r\n"


def test_fields_that_were_parsed_before_belong_to_each_request_alone() -> None:
    first, second = (wire.parse_head(b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX-A: 1") for _ in range(2))
    first.headers["X-A"] = "2"
    del first.headers["Host"]
    assert list(second.headers.items()) == [("Host", "a"), ("X-A", "1")]
    assert wire.parse_head(b"GET /v2/ HTTP/1.1\r\nHost: a\r\nX-A: 1").headers["x-a"] == "1"


@given(st.text(alphabet="ab=&%+3Cé ü;", max_size=40))
def test_a_query_is_read_as_the_standard_library_reads_it(query: str) -> None:
    target = query.encode("ascii", errors="ignore").decode().replace(" ", "")
    request = parse_head(f"GET /v2/?{target} HTTP/1.1\r\nHost: x".encode())
    assert request.query == parse_qs(target, keep_blank_values=True)
