"""A client's connection on a raw socket: request bytes out, an answer's head in; it knows no registry."""

from __future__ import annotations

import socket
from types import TracebackType

Address = tuple[str, int]

TIMEOUT = 60.0
"""Seconds that a server may be silent."""
_BUFFER = 256 * 1024
_CHUNKED = b"\r\ntransfer-encoding: chunked\r\n"
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"


class Refused(Exception):
    """The server answered something that is not what the measurement is about."""


class Connection:
    """One keep-alive connection, to be used in a `with` block."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection(address, timeout=TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = memoryview(bytearray(_BUFFER))

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes | memoryview) -> None:
        """Part of a request."""
        self._socket.sendall(data)

    def ask(self, request: bytes, status: bytes = b"2", *, bodiless: bool = False) -> bytes:
        """Send the request, and read the answer as `answer` does."""
        self._socket.sendall(request)
        return self.answer(status, bodiless=bodiless)

    def answer(self, status: bytes = b"2", *, bodiless: bool = False) -> bytes:
        """An answer's head; its body is read away, unless it is `bodiless` (to HEAD).

        Raises Refused where its status does not begin with `status`, OSError where the server is gone.
        """
        data = self._receive()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._receive()
        if not data.startswith(status, len(b"HTTP/1.1 ")):
            raise Refused(data[:200].decode("latin-1"))
        head = data[: end + 2]
        # Not by a pattern that ignores case: that takes the longer the more a head says, which is no server's doing.
        lower = head.lower()
        if not bodiless and _CHUNKED in lower:
            while not data.endswith(_LAST_CHUNK):
                data = data[-len(_LAST_CHUNK) :] + self._receive()
        elif not bodiless:
            self._discard(_length(lower) - (len(data) - end - 4))
        return head

    def _receive(self) -> bytes:
        """What comes next; by way of a buffer, as `recv` would allocate one each time."""
        count = self._socket.recv_into(self._buffer)
        if not count:
            raise ConnectionError("the server closed the connection")
        return bytes(self._buffer[:count])

    def _discard(self, left: int) -> None:
        while left > 0:
            count = self._socket.recv_into(self._buffer, min(left, _BUFFER))
            if not count:
                raise ConnectionError("the body ended early")
            left -= count


def _length(head: bytes) -> int:
    """The body's bytes, by a head in lower case. An answer without a body may leave them out."""
    at = head.find(_LENGTH)
    if at < 0:
        if head.startswith((b"201", b"202", b"204"), len(b"HTTP/1.1 ")):
            return 0
        raise Refused(f"no Content-Length: {head[:200].decode('latin-1')}")
    return int(head[at + len(_LENGTH) : head.index(b"\r", at + 2)])
