"""Mutated HTTP against `wire` alone, in pieces of every size: what is understood must not depend on the pieces.

There is no network: a socket that is none gives the bytes, and takes the answers. Every stream of requests is given
whole, byte by byte and in random pieces; the handler must see the same requests, and the answers be the same, each
of them proper HTTP. Only Disconnected may come out.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from typing import Any, cast

from tinyreg import wire
from tinyreg.wire import Connection, Disconnected, Request, Response

from .messages import message, mutated, pieces
from .run import Run

SECONDS = 5.0
"""The longest a stream may take."""
_HEAD = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) [ -~]+\r\n((?:[!-9;-~]+: [\t -~]*\r\n)*)\r\n")
_DATE = re.compile(rb"Date: [^\r]*")


class Fake:
    """As much of a socket as a Connection uses."""

    def __init__(self, data: Iterator[bytes]) -> None:
        self._data = data
        self._ahead = b""
        self.sent = bytearray()

    def recv(self, size: int) -> bytes:
        """What comes next, nothing at the end."""
        data = self._ahead or next(self._data, b"")
        self._ahead = data[size:]
        return data[:size]

    def recv_into(self, view: memoryview) -> int:
        """As `recv`."""
        data = self.recv(len(view))
        view[: len(data)] = data
        return len(data)

    def send(self, data: bytes | memoryview) -> int:
        """Takes all."""
        self.sent += data
        return len(data)

    def setsockopt(self, *_: object) -> None:
        """Options are the system's."""

    settimeout = shutdown = setsockopt


class Server:
    """As much of a server as a Connection uses, with a handler that reads bodies or leaves them."""

    timeout_seconds = 60.0
    stopping = False

    def __init__(self, seed: str) -> None:
        self.connections: dict[Any, Any] = {}
        self.seen: list[tuple[str, str, str, bytes]] = []
        self._random = random.Random(seed)

    def handler(self, request: Request) -> Response:
        """Read the body or leave it; say what there was."""
        body = b"".join(map(bytes, request.body)) if self._random.random() < 0.7 else b""
        self.seen.append((request.method, request.target, repr(request.headers), body))
        return Response(200, body=body[:100])


def feed(seed: str, data: Iterator[bytes]) -> tuple[list[Any], list[int]]:
    """What the handler saw, and the statuses of the answers, for one way to cut a stream.

    Of several things that are wrong with a head, the pieces decide which one is found first: a refusal is a refusal.
    """
    server, sock = Server(seed), Fake(data)
    began = time.monotonic()
    try:
        Connection(cast(Any, sock), ("127.0.0.1", 1), cast(Any, server))
        seen: list[Any] = list(server.seen)
    except Disconnected:
        seen = [*server.seen, "disconnected"]
    assert time.monotonic() - began < SECONDS, "too slow"
    return seen, answers(bytes(sock.sent), [each[0] for each in server.seen])


def alike(found: tuple[list[Any], list[int]]) -> tuple[list[Any], list[int]]:
    """What must not depend on the pieces."""
    return found[0], [min(status, 400) for status in found[1]]


def answers(data: bytes, methods: list[str]) -> list[int]:
    """The statuses of what was sent, which must be proper HTTP to its last byte."""
    statuses, asked = [], iter(methods)
    while data:
        match = _HEAD.match(data)
        assert match, data[:200]
        status = int(match[1])
        statuses.append(status)
        data = data[match.end() :]
        assert status < 500 or status in (501, 505), status
        if status == 100:
            continue
        length = re.search(rb"(?i)content-length: ([0-9]+)\r\n", match[2])
        assert length, match[0]
        if next(asked, "") != "HEAD":
            assert len(data) >= int(length[1]), "the body is cut"
            data = data[int(length[1]) :]
    return statuses


def case(random: random.Random, run: Run) -> None:
    """One stream, cut in three ways."""
    count = random.choice([1, 1, 2, 3])
    data = b"".join(mutated(random, message(random)) for _ in range(count))
    seed = str(random.random())
    with run.guarded("wire", lambda: repr(data[:3000])):
        whole = feed(seed, iter([data]))
        for size in (None, 1 if len(data) < 1500 else 997):
            assert alike(feed(seed, pieces(random, data, size))) == alike(whole), "the pieces make a difference"
    for status in whole[1]:
        run.answers[str(status)] += 1
    run.done += count


def main(run: Run) -> None:
    """Case after case."""
    assert wire.PATIENCE >= SECONDS
    for each in run.cases():
        case(each, run)
