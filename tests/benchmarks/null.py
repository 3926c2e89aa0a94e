"""A server that keeps nothing and answers canned bytes, in a process for each connection: the driver's ceiling.

With `threads` behind the port it serves each connection in a thread of one process: what is left of that under an
interpreter's lock, and so a ceiling for whatever is a server in Python with a thread a connection.

It is `python -m tests.benchmarks.null PORT [threads]`: a loop of one `recv` and one `send` (`sendfile` for what is
large) over blocking sockets that knows no more of HTTP than the end of a head and a body's length. It takes a head to
come in one piece, as the drivers here send it.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import tempfile
from threading import Thread
from typing import BinaryIO

from .content import MIB, image

_BUFFER = MIB
_LENGTH = re.compile(rb"Content-Length: ([0-9]+)")
_BLOB = re.compile(rb"GET /v2/bench/([0-9]+)/[^ ]*/blobs/")
_UPLOAD = b"Location: /v2/bench/0/null/blobs/uploads/1\r\nContent-Length: 0\r\n\r\n"
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_ACCEPTED = b"HTTP/1.1 202 Accepted\r\n" + _UPLOAD
_CREATED = b"HTTP/1.1 201 Created\r\n" + _UPLOAD


def _found(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


_BASE = _found(b"{}")
_MANIFEST = _found(image("null").manifest)


def main() -> None:
    """Serve on the port that is the first argument until a signal ends the process."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=128) as listener, _file() as file:
        while True:
            connection, _ = listener.accept()
            if sys.argv[2:] == ["threads"]:
                Thread(target=_serve, args=(connection, file), daemon=True).start()
                continue
            if os.fork() == 0:
                listener.close()
                _serve(connection, file)
                os._exit(0)
            connection.close()


def _file() -> BinaryIO:
    file = tempfile.TemporaryFile()  # noqa: SIM115
    file.write(bytes(_BUFFER))
    file.flush()
    return file


def _serve(connection: socket.socket, file: BinaryIO) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = memoryview(bytearray(_BUFFER))
    while count := connection.recv_into(buffer):
        end = bytes(buffer[: min(count, 4096)]).index(b"\r\n\r\n") + 4
        head = bytes(buffer[:end])
        _discard(connection, buffer, _body(head) - (count - end))
        if not head.startswith(b"GET"):
            connection.sendall(_written(head))
        elif blob := _BLOB.match(head):
            _send(connection, file, int(blob[1]))
        else:
            connection.sendall(_BASE if head.startswith(b"GET /v2/ ") else _MANIFEST)


def _written(head: bytes) -> bytes:
    if head.startswith(b"HEAD"):
        return _MISSING
    return _CREATED if head.startswith(b"PUT") else _ACCEPTED


def _body(head: bytes) -> int:
    match = _LENGTH.search(head)
    return int(match[1]) if match else 0


def _discard(connection: socket.socket, buffer: memoryview, left: int) -> None:
    while left > 0 and (count := connection.recv_into(buffer, min(left, _BUFFER))):
        left -= count


def _send(connection: socket.socket, file: BinaryIO, size: int) -> None:
    if size < _BUFFER:
        connection.sendall(_found(bytes(size)))
        return
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    while size > 0:
        size -= os.sendfile(connection.fileno(), file.fileno(), 0, min(_BUFFER, size))


if __name__ == "__main__":
    main()
