"""HTTP/1.1 on a socket: bytes to Request, Response to bytes (RFC 9110, RFC 9112); nothing of registries.

Everything clever is here. A request's head is read in one loop with limits; its body only when somebody asks for
it; an answer's head and small body leave in one send, a file by `sendfile`.
"""

from __future__ import annotations

import os
import re
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from socketserver import BaseRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_plus

from .content import CHUNK, Content, FileSlice, chunks

if TYPE_CHECKING:
    from .server import Server

HEAD_LIMIT = 64 * 1024
"""Bytes a request's line and headers may have together."""
DRAIN_LIMIT = 256 * 1024
"""Bytes of an unread body that are read away to keep a connection."""
LINGER_LIMIT = 64 * 1024 * 1024
"""Bytes that are read away behind a last answer, so that the client gets to see it."""
LINGER_SECONDS = 2.0
"""The longest that takes."""
FIELD_LIMIT = 128
"""Header fields a request may have, and parameters in its query: each costs memory beyond its bytes."""
PATIENCE = 60.0
"""Seconds a client may keep us waiting in one exchange, all in all; each RATE bytes bring one of them back."""
RATE = 1024
"""Bytes a second that a client has to send, or take, in the long run."""
ONE_SEND = 64 * 1024
"""An answer's body up to so many bytes leaves together with its head."""

_AT_ONCE = 1024 * 1024
"""Bytes in memory that are given to the system at once: each time it takes the interpreter's lock back."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) ([^ ]*)", re.DOTALL)
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NUMBER = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e]*)?")
_LINE_LIMIT = 4096
_TLS_HANDSHAKE = b"\x16"
_TIMED_OUT = (TimeoutError, BlockingIOError)


class ProtocolError(Exception):
    """A request that is no proper HTTP; the connection ends with `status` as its last answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Disconnected(Exception):
    """The client is gone, or silent for too long; there is nobody to answer."""


class Headers(MutableMapping[str, str]):
    """Header fields: names in any case, kept as first written; repeated fields joined by commas (RFC 9110 §5.3)."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields = {name.lower(): (name, value) for name, value in fields} if fields else {}

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()][1]

    def __setitem__(self, name: str, value: str) -> None:
        self._fields[name.lower()] = (name, value)

    def __delitem__(self, name: str) -> None:
        del self._fields[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._fields.values())

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({list(self._fields.values())!r})"

    def get(self, name: str, default: Any = None) -> Any:
        found = self._fields.get(name.lower())
        return default if found is None else found[1]

    def has_any(self, names: frozenset[str]) -> bool:
        """Whether one of them, in lower case, is there."""
        return not names.isdisjoint(self._fields)

    def copy(self) -> Headers:
        """The same fields, to be changed apart."""
        headers = Headers()
        headers._fields = self._fields.copy()
        return headers

    def add(self, name: str, value: str) -> None:
        """Set the field, or add `value` to what it has."""
        found = self._fields.get(name.lower())
        self._fields[name.lower()] = (name, value) if found is None else (found[0], f"{found[1]}, {value}")

    def lines(self) -> str:
        """The fields as they stand in a head. Raises ValueError for one that would break out of its line."""
        lines = "".join([f"{name}: {value}\r\n" for name, value in self._fields.values()])
        if not lines.count("\r") == lines.count("\n") == len(self._fields):
            raise ValueError("a line break in a header field")
        return lines


Query = dict[str, list[str]]


def _never() -> bool:
    return False


@dataclass(slots=True)
class Request:
    """What a client asks. `path` and `query` are percent-decoded, `target` is what stood in the request line.

    `gone` tells whether the client has left while it waits. `user`, `asked`, `granted` and `fault` are notes for the
    log: who it is, which scopes a token was asked for and given, and what made the answer go wrong.
    """

    method: str
    path: str
    query: Query = field(default_factory=dict)
    headers: Headers = field(default_factory=Headers)
    body: Body = field(default_factory=lambda: Body())
    target: str = ""
    version: str = "HTTP/1.1"
    peer: str = ""
    secure: bool = False
    head_size: int = 0
    gone: Callable[[], bool] = _never
    user: str | None = None
    asked: str = ""
    granted: str = ""
    fault: object = None

    def first(self, name: str) -> str | None:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else None


@dataclass(slots=True)
class Response:
    """What it is answered.

    Unless `headers` has a Content-Length, it is set from `body`. A body that is an iterable is sent as it comes; it
    needs a Content-Length, and where fewer bytes come than that says, the connection is closed.
    `raw` sends the body alone, without a head, and ends the connection.

    `done`, if given, is called with the bytes received and sent, heads and bodies: just before the last of them
    leave, so that whoever has the answer finds it accounted for, and again where fewer of them did.
    """

    status: int = 200
    headers: Headers = field(default_factory=Headers)
    body: Content | Iterable[Content] = b""
    raw: bool = False
    done: Callable[[int, int], None] | None = None

    @property
    def size(self) -> int:
        """Bytes of the body, by its Content-Length if it has one."""
        stated = self.headers._fields.get("content-length")
        if stated is not None:
            return int(stated[1])
        return len(self.body) if isinstance(self.body, (bytes, memoryview, FileSlice)) else 0


Handler = Callable[[Request], Response]
"""The seam: whatever depends on bytes on the wire takes one of these and gives one back."""


class Abort(Exception):
    """Raised by a Handler, or by a Response's body: end the connection here, with a reset if `reset` is set."""

    def __init__(self, *, reset: bool = False) -> None:
        super().__init__("the connection is to end here")
        self.reset = reset


def parse_head(head: bytes) -> Request:
    """The request that a head, without its empty line, asks. Raises ProtocolError."""
    line, _, block = head.partition(b"\r\n")
    if block.count(b"\r\n") >= FIELD_LIMIT:
        raise ProtocolError(431, f"a request may have {FIELD_LIMIT} header fields")
    method, path, query, target, version = _parse_line(line.decode("latin-1"))
    headers = (_known_fields(block) if len(block) <= _KNOWN_BLOCK else _parse_fields(block)).copy()
    if version == "HTTP/1.1" and "," in headers._fields.get("host", _NO_HOST)[1]:
        raise ProtocolError(400, "exactly one Host header is needed")
    return Request(method, path, query, headers, _NO_BODY, target, version)


_NO_HOST = ("Host", ",")


def _parse_fields(block: bytes) -> Headers:
    headers = Headers()
    for line in block.decode("latin-1").split("\r\n") if block else ():
        name, colon, value = line.partition(":")
        value = value.strip(" \t")
        # Spaces before the colon and folded lines are how requests get smuggled (RFC 9112 §5.1, §5.2).
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ProtocolError(400, "malformed header field")
        headers.add(name, value)
    return headers


_known_fields = lru_cache(maxsize=64)(_parse_fields)
"""A client sends the same fields with one request after the other. What is malformed is not kept."""
_KNOWN_BLOCK = 2048
"""Bytes of the fields that are kept at most."""


def _parse_line(line: str) -> tuple[str, str, Query, str, str]:
    parts = _LINE.fullmatch(line)
    if parts is None:
        raise ProtocolError(400, "malformed request line")
    method, target, version = parts.groups()
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        status = 505 if re.fullmatch(r"HTTP/[0-9]\.[0-9]", version) else 400
        raise ProtocolError(status, "HTTP/1.1 is spoken here")
    path, _, query = target.partition("?")
    if path[:1] != "/":  # the absolute form, as proxies send it (RFC 9112 §3.2.2), or the `*` of OPTIONS
        scheme, mark, rest = path.partition("://")
        path = "/" + rest.partition("/")[2] if mark and scheme.lower() in ("http", "https") else path
    if "%" in path:
        path = unquote(path, errors="replace")
    return method, path, _parse_query(query) if query else {}, target, version


def _parse_query(query: str) -> Query:
    pairs = query.split("&")
    if len(pairs) > FIELD_LIMIT:
        raise ProtocolError(414, f"a query may have {FIELD_LIMIT} parameters")
    found: Query = {}
    for name, _, value in [pair.partition("=") for pair in pairs if pair]:
        found.setdefault(_plain(name), []).append(_plain(value))
    return found


def _plain(text: str) -> str:
    """A parameter's name or value, decoded; what is no UTF-8 is replaced."""
    return unquote_plus(text) if "%" in text or "+" in text else text


class Patience:
    """How long a slow client is waited for in one exchange: PATIENCE, and a second more for each RATE bytes.

    A time-out on each read alone would never cut who sends a byte a second. Only waits count: what we take to make
    an answer, or slow down on purpose, is not the client's.
    """

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = PATIENCE

    def spend(self, began: float, count: int) -> None:
        """A wait from `began` on has moved `count` bytes. Raises Disconnected where that was too slow."""
        self.left = min(PATIENCE, self.left - time.monotonic() + began + count / RATE)
        if self.left < 0:
            raise Disconnected


class Stream:
    """The reading side of a socket: heads, lines and stretches of bytes, with what was read ahead left over."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._ahead = b""
        self._at = 0
        self.patience = Patience()
        self.received = 0
        """Bytes handed out so far."""

    def head(self) -> bytes | None:
        """The next head without its empty line; None where the connection ends between two requests."""
        data = self._ahead[self._at :].lstrip(b"\r\n")
        self.patience.left = PATIENCE
        waited = False
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > HEAD_LIMIT:
                break
            if data[:1] == _TLS_HANDSHAKE:
                raise ProtocolError(400, "this port speaks plain HTTP")
            if data.count(b"\n") != data.count(b"\r\n"):
                raise ProtocolError(400, "a line ends with CR LF")
            more = self._receive(idle=not data, free=not data and not waited)
            waited = True
            if not more:
                return None
            data = data + more if data else more.lstrip(b"\r\n")
        if not 0 <= end <= HEAD_LIMIT:
            raise ProtocolError(431, f"a request's head may have {HEAD_LIMIT} bytes")
        self._ahead, self._at = data, end + 4
        self.received += end + 4
        return data[:end]

    def line(self) -> bytes:
        """The next line without its CR LF."""
        while (end := self._ahead.find(b"\r\n", self._at)) < 0:
            if len(self._ahead) - self._at > _LINE_LIMIT:
                raise ProtocolError(400, "a line of the body's framing is too long")
            if self._ahead.find(b"\n", self._at) >= 0:
                raise ProtocolError(400, "a line ends with CR LF")
            self._ahead = self._ahead[self._at :] + self._receive()
            self._at = 0
        line = self._ahead[self._at : end]
        if b"\n" in line:  # else it would depend on how the bytes arrive
            raise ProtocolError(400, "a line ends with CR LF")
        self.received += end + 2 - self._at
        self._at = end + 2
        return line

    def into(self, view: memoryview) -> int:
        """Fill some of `view`, of one byte at least; how many bytes it was."""
        count = min(len(self._ahead) - self._at, len(view))
        if count:
            view[:count] = memoryview(self._ahead)[self._at : self._at + count]
            self._at += count
        else:
            began = time.monotonic()
            try:
                count = self._socket.recv_into(view)
            except OSError as error:
                raise Disconnected from error
            if not count:
                raise Disconnected
            self.patience.spend(began, count)
        self.received += count
        return count

    def _receive(self, *, idle: bool = False, free: bool = False) -> bytes:
        """What comes next; nothing only where the connection is `idle` and ends, or has been so for too long.

        A wait that is `free`, for a request to begin, asks for no patience.
        """
        began = 0.0 if free else time.monotonic()
        try:
            data = self._socket.recv(65536)
        except OSError as error:
            if idle and isinstance(error, _TIMED_OUT):
                return b""
            raise Disconnected from error
        if not data and not idle:
            raise Disconnected
        if not free:
            self.patience.spend(began, len(data))
        return data


class Body:
    """A request's body, read when somebody asks for it: by `Content-Length`, or in chunks (RFC 9112 §6, §7.1).

    Iterating gives pieces of it, each good until the next; `size` is its length in bytes, None where the client
    leaves that open.
    """

    __slots__ = ("_continue", "_left", "_stream", "chunked", "finished", "size", "tap")

    def __init__(self, stream: Stream | None = None, size: int | None = 0, proceed: Callable[[], None] | None = None):
        self._stream = stream
        self._continue = proceed
        self._left = size or 0
        self.size = size
        self.chunked = size is None
        self.finished = size == 0
        self.tap: Callable[[Iterator[memoryview]], Iterator[memoryview]] = iter
        """What the pieces pass through on their way to who reads them."""

    @property
    def refused(self) -> bool:
        """Whether the client still waits for `100 Continue`, so that no body may be on its way at all."""
        return self._continue is not None and not self.finished

    @property
    def left(self) -> int | None:
        """Bytes still to come; None where nobody knows."""
        return None if self.chunked and not self.finished else self._left

    def __iter__(self) -> Iterator[memoryview]:
        return self.tap(self._pieces())

    def _pieces(self) -> Iterator[memoryview]:
        buffer: memoryview | None = None
        while (room := self._room()) > 0 and self._stream is not None:
            if buffer is None:
                buffer = memoryview(bytearray(CHUNK if self.chunked else min(CHUNK, room)))
            count = self._stream.into(buffer[:room])
            self._left -= count
            if self.chunked and not self._left and self._stream.line():
                raise ProtocolError(400, "a chunk is longer than its size says")
            if not self.chunked and not self._left:
                self.finished = True
            yield buffer[:count]

    def read(self, limit: int) -> bytes | None:
        """All of it, or None where it is of more than `limit` bytes."""
        if self.size is not None and self.size > limit:
            return None
        data = bytearray()
        for piece in self:
            data += piece
            if len(data) > limit:
                return None
        return bytes(data)

    def drain(self, limit: int) -> bool:
        """Read what is left away, if it is no more than `limit` bytes; whether nothing is left."""
        if self.finished or self.refused or (self.left or 0) > limit:
            return self.finished
        for piece in self._pieces():
            limit -= len(piece)
            if limit < 0:
                break
        return self.finished

    def _room(self) -> int:
        """Bytes that may be read now; none at the end of the body."""
        if self.finished or self._stream is None:
            return 0
        if self._continue is not None:
            proceed, self._continue = self._continue, None
            proceed()
        if self.chunked and not self._left:
            self._left = self._next_chunk(self._stream)
        return self._left

    def _next_chunk(self, stream: Stream) -> int:
        match = _CHUNK_SIZE.fullmatch(stream.line())
        if match is None:
            raise ProtocolError(400, "malformed chunk size")
        size = int(match[1], 16)
        if size == 0:
            trailer = HEAD_LIMIT
            while line := stream.line():
                trailer -= len(line)
                if trailer < 0:
                    raise ProtocolError(431, "the trailer is too long")
            self.finished = True
        return size


_FRAMING = frozenset({"content-length", "transfer-encoding", "expect"})


def frame(request: Request, stream: Stream, proceed: Callable[[], None]) -> Body:
    """The body that follows the request's head (RFC 9112 §6.3). Raises ProtocolError."""
    if not request.headers.has_any(_FRAMING):
        return Body()
    length = request.headers.get("content-length")
    coding = request.headers.get("transfer-encoding")
    expect = request.headers.get("expect")
    if expect is not None and expect.lower() != "100-continue":
        raise ProtocolError(417, "only 100-continue can be expected")
    wait = proceed if expect is not None and request.version == "HTTP/1.1" else None
    if coding is not None:
        if length is not None or request.version != "HTTP/1.1":
            raise ProtocolError(400, "a body has a Content-Length or a Transfer-Encoding, not both")
        if coding.lower() != "chunked":
            raise ProtocolError(501, "chunked is the only transfer coding understood")
        return Body(stream, None, wait)
    if length is None:
        return Body(stream, 0)
    if not _NUMBER.fullmatch(length):
        raise ProtocolError(400, "malformed Content-Length")
    return Body(stream, int(length), wait)


_NO_BODY = Body()


class Connection(BaseRequestHandler):
    """One client's connection: requests in turn, until either side has enough."""

    server: Server
    request: socket.socket

    def setup(self) -> None:
        """No Nagle: an answer is one send, and waiting for more costs 40 ms (DESIGN.md, "measured")."""
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        set_timeout(self.request, self.server.timeout_seconds)
        self.secure = hasattr(self.request, "do_handshake")
        self.user = _shake_hands(self.request) if self.secure else None
        self.stream = Stream(self.request)
        self.sent = 0
        self.patience = self.stream.patience
        self.current: Request | None = None
        self.server.connections[self.request] = self

    def handle(self) -> None:
        """Answer until the connection ends. Raises Disconnected where the client left in the middle of something."""
        keep = True
        try:
            while keep and not self.server.stopping:
                head = self.stream.head()
                if head is None:
                    return
                keep = self._exchange(head)
        except ProtocolError as error:
            self._refuse(error)
            keep = False
        except Abort as abort:
            self._abort(abort)
            return
        if not keep:
            self._linger()

    def _exchange(self, head: bytes) -> bool:
        """Answer one request; whether the connection may carry another."""
        self._received, self._sent = self.stream.received - len(head) - 4, self.sent
        self.current = request = parse_head(head)
        try:
            request.body = body = frame(request, self.stream, self._proceed)
            request.peer, request.secure = self.client_address[0], self.secure
            request.user, request.gone, request.head_size = self.user, self._gone, len(head)
            response = self.server.handler(request)
            keep = _wants_more(request) and not _too_much(body)
            try:
                whole = self._send(request, response, keep)
            except BaseException:
                self._tell(response, 0)
                raise
            # Where the connection is not kept, what is left of the body is `_linger`'s.
            return keep and whole and (body.finished or body.drain(DRAIN_LIMIT))
        finally:
            # Whoever keeps the request, as the log does, is not to keep the connection.
            request.body, request.gone, self.current = _NO_BODY, _never, None

    def _tell(self, response: Response, about_to_send: int) -> None:
        if response.done is not None:
            response.done(self.stream.received - self._received, self.sent - self._sent + about_to_send)

    def _proceed(self) -> None:
        self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, error: ProtocolError) -> None:
        reason = _reason(error.status)
        body = f"{error}\n".encode()
        self._write(
            f"HTTP/1.0 {error.status} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
            + body
        )

    def _send(self, request: Request, response: Response, keep: bool) -> bool:
        """Send the answer; whether it was as long as it said."""
        size, body = response.size, response.body
        head = b"" if response.raw else _head(response, size, request.version, keep)
        if not response.raw and (request.method == "HEAD" or response.status in (204, 304)):
            size, body = 0, b""
        pieces = _pieces(head, body, sendfile=not self.secure)
        left = len(head) + size
        for piece in pieces:
            left -= len(piece)
            if left <= 0:
                self._tell(response, len(piece))
            if isinstance(piece, FileSlice):
                self._send_file(piece)
            else:
                self._write(piece)
        if left > 0:
            self._tell(response, 0)
        return left == 0 and not response.raw

    def _gone(self) -> bool:
        """Whether nobody waits for the answer any more; what the client may have sent meanwhile stays to be read."""
        if self.server.stopping:
            return True
        readable, _, _ = select.select([self.request], [], [], 0)
        if self.secure:  # TLS has no peeking: what comes behind the request is its end
            return bool(readable) and self.current is not None and self.current.body.finished
        try:
            return bool(readable) and not self.request.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def _send_file(self, content: FileSlice) -> None:
        at, stop = content.start, content.start + content.size
        try:
            while at < stop:
                began = time.monotonic()
                count = os.sendfile(self.request.fileno(), content.file.fileno(), at, stop - at)
                if not count:
                    raise Disconnected("the file has shrunk")
                at += count
                self.sent += count
                self.patience.spend(began, count)
        except OSError as error:
            raise Disconnected from error

    def _write(self, data: bytes | memoryview) -> None:
        try:
            while True:
                began = time.monotonic()
                count = self.request.send(data)
                self.sent += count
                # Who takes all of it at once is no slow client: the system waits for that no longer than TIMEOUT.
                if count == len(data):
                    return
                self.patience.spend(began, count)
                data = memoryview(data)[count:]
        except OSError as error:
            raise Disconnected from error

    def _linger(self) -> None:
        """Say that we are done and read on for a while: a reset would take the answer away (RFC 9112 §9.6)."""
        try:
            self.request.shutdown(socket.SHUT_WR)
            deadline, left = time.monotonic() + LINGER_SECONDS, LINGER_LIMIT
            while left > 0 and (seconds := deadline - time.monotonic()) > 0:
                set_timeout(self.request, seconds)
                data = self.request.recv(CHUNK)
                if not data:
                    return
                left -= len(data)
        except OSError:
            return  # gone, which is what we wait for

    def _abort(self, abort: Abort) -> None:
        if abort.reset:
            # A linger time of zero makes close send RST instead of FIN.
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


_RESET = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


def set_timeout(sock: socket.socket, seconds: float) -> None:
    """Let every wait for the socket end after `seconds`.

    Where the system has it, the kernel keeps the time: `settimeout` costs a poll before each call, and takes
    `os.sendfile` its patience. TLS reads again and again where the kernel's time is over, and needs `settimeout`.
    """
    if os.name == "nt" or hasattr(sock, "do_handshake"):
        sock.settimeout(seconds)
        return
    microseconds = max(1, int(seconds * 1_000_000))
    value = struct.pack("ll", *divmod(microseconds, 1_000_000))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)


def _shake_hands(sock: Any) -> str | None:
    """Begin TLS; the common name of the client's certificate, if it showed one."""
    sock.do_handshake()
    subject = (sock.getpeercert() or {}).get("subject", ())
    return next((value for names in subject for key, value in names if key == "commonName"), None)


def _wants_more(request: Request) -> bool:
    """Whether the client means to ask again on this connection."""
    found = request.headers._fields.get("connection")
    if found is None:
        return request.version != "HTTP/1.0"
    options = found[1].lower()
    return "keep-alive" in options if request.version == "HTTP/1.0" else "close" not in options


def _pieces(head: bytes, body: Content | Iterable[Content], *, sendfile: bool) -> Iterable[Content]:
    """An answer in the pieces it is sent in: what is small together with the head, a large file by itself."""
    if isinstance(body, bytes) and len(body) <= ONE_SEND:
        return (head + body,)
    if not isinstance(body, (bytes, memoryview, FileSlice)):
        return _streamed(head, body, sendfile=sendfile)
    if len(body) <= ONE_SEND:
        return (b"".join((head, bytes(body) if isinstance(body, FileSlice) else body)),)
    return _streamed(head, (body,), sendfile=sendfile)


def _streamed(head: bytes, body: Iterable[Content], *, sendfile: bool) -> Iterator[Content]:
    yield head
    for part in body:
        yield from _parts(part, sendfile=sendfile)


def _parts(content: Content, *, sendfile: bool) -> Iterator[Content]:
    if sendfile and isinstance(content, FileSlice) and len(content) > ONE_SEND and hasattr(os, "sendfile"):
        # The tail apart: what is done before an answer's last bytes leave is then done before they can arrive.
        yield content[:-1]
        yield bytes(content[-1:])
    elif isinstance(content, memoryview):
        for at in range(0, len(content), _AT_ONCE):
            yield content[at : at + _AT_ONCE]
    else:
        yield from chunks(content)


def _too_much(body: Body) -> bool:
    """Whether what is left of an unread body is not worth reading away."""
    if body.finished:
        return False
    return body.refused or body.left is None or body.left > DRAIN_LIMIT


def _head(response: Response, size: int, version: str, keep: bool) -> bytes:
    status, headers = response.status, response.headers
    lines = (_STATUS_LINES.get(status) or _status_line(status)) + _date() + headers.lines()
    if "content-length" not in headers._fields and status not in (204, 304) and status >= 200:
        lines = f"{lines}Content-Length: {size}\r\n"
    if not keep:
        lines += "Connection: close\r\n"
    elif version == "HTTP/1.0":
        lines += "Connection: keep-alive\r\n"
    return (lines + "\r\n").encode("latin-1", errors="replace")


_REASONS = {status.value: status.phrase for status in HTTPStatus}


def _reason(status: int) -> str:
    return _REASONS.get(status, "Unknown")


def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {_reason(status)}\r\n"


_STATUS_LINES = {status: _status_line(status) for status in _REASONS}


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_now: tuple[int, str] = (0, "")


def _date() -> str:
    """The Date header, made once a second."""
    global _now
    second = int(time.time())
    if _now[0] != second:
        year, month, day, hour, minute, past, weekday, *_ = time.gmtime(second)
        clock = f"{hour:02}:{minute:02}:{past:02}"
        _now = (second, f"Date: {_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year} {clock} GMT\r\n")
    return _now[1]
