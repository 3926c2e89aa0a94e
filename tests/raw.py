"""An HTTP client for tests that hides nothing: bytes go out as given, an answer comes back byte for byte."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

SECONDS = 5.0
"""How long a read may take before the test fails with TimeoutError."""


@dataclass(frozen=True)
class Reply:
    """One answer: `headers` with lower-case names, `raw` all of it as it came."""

    line: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    raw: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def codes(self) -> list[str]:
        """The spec's error codes in the body."""
        return [each["code"] for each in self.json["errors"]]

    @property
    def keeps(self) -> bool:
        """Whether the server says that the connection may carry another request."""
        return self.line.startswith("HTTP/1.1") and self.headers.get("connection", "").lower() != "close"


def request(
    method: str,
    target: str,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: bytes | Iterable[bytes] | None = None,
    *,
    host: str = "registry.example",
) -> bytes:
    """A request's bytes: a `bytes` body with its length, an iterable of them in chunks, None without either."""
    fields = [("Host", host), *(headers.items() if isinstance(headers, Mapping) else headers)]
    if isinstance(body, bytes):
        fields.append(("Content-Length", str(len(body))))
    elif body is not None:
        fields.append(("Transfer-Encoding", "chunked"))
        body = chunked(body)
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body or b"")


def chunked(pieces: Iterable[bytes], trailer: bytes = b"") -> bytes:
    """The pieces as chunks, with the end of the body."""
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailer + b"\r\n"


class Raw:
    """One connection. `sent` and `received` count the bytes that crossed it."""

    def __init__(self, host: str, port: int, *, timeout: float = SECONDS) -> None:
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0
        self.received = 0
        self._ahead = b""

    def __enter__(self) -> Raw:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def send(self, data: bytes, *, piece: int | None = None) -> None:
        """Send `data`, in pieces of `piece` bytes if given, each a packet of its own."""
        step = piece or max(1, len(data))
        for at in range(0, len(data), step):
            self.socket.sendall(data[at : at + step])
        self.sent += len(data)

    def finish(self) -> None:
        """Say that no more will be sent; answers can still be read. Raises ConnectionError behind a reset."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise ConnectionError(*error.args) from error

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes | Iterable[bytes] | None = None,
    ) -> Reply:
        """Send a request (see `request`) and read its answer."""
        self.send(request(method, target, headers, body))
        return self.read(method)

    def read(self, method: str = "GET") -> Reply:
        """The next answer, `100 Continue` too; without a length, the body ends with the connection.

        Raises EOFError where the connection ends before the answer does.
        """
        while (end := self._ahead.find(b"\r\n\r\n")) < 0:
            self._more()
        head, self._ahead = self._ahead[: end + 4], self._ahead[end + 4 :]
        line, *lines = head[:-4].decode("latin-1").split("\r\n")
        pairs = [each.partition(": ")[::2] for each in lines]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), f"a header twice in {lines}"
        status = int(line.split(" ")[1])
        body = self._body(method, status, headers)
        return Reply(line, status, headers, body, head + body)

    def _body(self, method: str, status: int, headers: Mapping[str, str]) -> bytes:
        if method == "HEAD" or status in (204, 304) or status < 200:
            return b""
        if "content-length" not in headers:
            return self.rest()
        size = int(headers["content-length"])
        while len(self._ahead) < size:
            self._more()
        body, self._ahead = self._ahead[:size], self._ahead[size:]
        return body

    def rest(self) -> bytes:
        """All that comes until the server closes the connection. Raises ConnectionResetError where it resets it."""
        try:
            while True:
                self._more()
        except EOFError:
            data, self._ahead = self._ahead, b""
            return data

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError(f"the connection ended; before that came {self._ahead!r}")
        self.received += len(data)
        self._ahead += data


class Listener:
    """A listening socket around another, whose `accept` and `shutdown` can be made to fail, and connections wrapped."""

    def __init__(
        self,
        inner: socket.socket,
        *,
        failures: int = 0,
        deaf: bool = False,
        wrap: Callable[[socket.socket], socket.socket] | None = None,
    ) -> None:
        self._inner = inner
        self.failures = failures
        self._deaf = deaf
        self._wrap = wrap

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection; OSError while there are `failures` left."""
        if self.failures:
            self.failures -= 1
            raise OSError("out of descriptors")
        connection, address = self._inner.accept()
        return (self._wrap(connection) if self._wrap else connection), address

    def shutdown(self, how: int) -> None:
        """As sockets have it; where `deaf`, OSError, as for a listening socket outside Linux."""
        if self._deaf:
            raise OSError("not connected")
        self._inner.shutdown(how)

    def close(self) -> None:
        """Stop listening."""
        self._inner.close()


class Watch:
    """What a server does with its connections: `Listener(…, wrap=watch)` lets `watch` see it."""

    def __init__(self) -> None:
        self.sends: list[int] = []
        """The size of each `send`."""
        self.accepted = threading.Event()
        self.closed = threading.Event()

    def __call__(self, connection: socket.socket) -> socket.socket:
        """The connection, watched."""
        watched = _Watched(connection.family, connection.type, connection.proto, connection.detach())
        watched.watch = self
        self.accepted.set()
        return watched


class _Watched(socket.socket):
    watch: Watch

    def send(self, data: Any, flags: int = 0) -> int:
        self.watch.sends.append(len(data))
        return super().send(data, flags)

    def close(self) -> None:
        super().close()
        self.watch.closed.set()
