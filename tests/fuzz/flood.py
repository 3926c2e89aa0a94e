"""Too much at once: 500 clients that push and pull, 10,000 connections, slow clients; and what it costs the server.

The server is a process of its own, whose memory the system measures. Each client has a connection of its own; slow
ones dribble a head, a body or a chunk, never finish, or never read, and must keep none of the others waiting.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

from tests.raw import Raw, request
from tinyreg.reference import Digest

from .kill import serve
from .run import Run

CLIENTS = 500
CONNECTIONS = 10_000
SLOW = 100
ROUNDS = 4
BODY = 200_000
"""Bytes of the blob that each client pushes and pulls, in each round."""


@contextmanager
def server() -> Iterator[tuple[int, int]]:
    """The process and port of a server on a folder."""
    with tempfile.TemporaryDirectory(prefix="tinyreg-flood-") as folder:
        process, port = serve(Path(folder))
        try:
            yield process, port
        finally:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def memory(process: int, field: str) -> int:
    """MiB of a process: VmHWM is the most it has had, VmRSS what it has."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) // 1024
    raise LookupError(field)


def exchange(port: int, number: int, count: Callable[[int, float], None]) -> None:
    """Push a blob in chunks and pull it, over one connection."""
    with Raw("127.0.0.1", port, timeout=120) as raw:
        for turn in range(ROUNDS):
            body = random.Random(f"{number}/{turn}").randbytes(BODY)
            name = f"flood/{number % 50}"
            began = time.monotonic()
            session = raw.ask("POST", f"/v2/{name}/blobs/uploads/", {}, b"")
            assert session.status == 202, session
            count(session.status, time.monotonic() - began)
            for method, target, data, right in (
                ("PATCH", session.headers["location"], body, 202),
                ("PUT", f"{session.headers['location']}?digest={Digest.of(body)}", b"", 201),
                ("GET", f"/v2/{name}/blobs/{Digest.of(body)}", None, 200),
            ):
                began = time.monotonic()
                reply = raw.ask(method, target, {}, data)
                assert reply.status == right, reply
                assert method != "GET" or reply.body == body
                count(reply.status, time.monotonic() - began)


def at_once(port: int, clients: int, run: Run) -> list[float]:
    """So many clients at the same moment; the seconds each of their requests took."""
    barrier, lock = threading.Barrier(clients), threading.Lock()
    errors: list[BaseException] = []
    times: list[float] = []

    def count(status: int, seconds: float) -> None:
        with lock:
            run.count(status)
            times.append(seconds)

    def work(number: int) -> None:
        try:
            barrier.wait(60)
            exchange(port, number, count)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if errors:
        raise errors[0]
    return times


def one_by_one(port: int, connections: int, run: Run) -> None:
    """So many connections, one after the other, each with a request."""
    for _ in range(connections):
        with Raw("127.0.0.1", port, timeout=20) as raw:
            run.count(raw.ask("GET", "/v2/", {"Connection": "close"}).status)


LARGE = bytes(20_000_000)
HALF = [
    b"GET /v2/ HT",
    b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc",
    b"POST /v2/a/blobs/uploads/?digest=%s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\nabc"
    % Digest.of(b"x").encode(),
    b"",
    request("GET", f"/v2/large/blobs/{Digest.of(LARGE)}"),
]
"""A head without end, bodies without end, nothing at all, and answers that are never read."""


@contextmanager
def slow(port: int, count: int) -> Iterator[None]:
    """So many clients in the middle of something for as long as the block takes."""
    clients = []
    for number in range(count):
        client = socket.create_connection(("127.0.0.1", port))
        client.setblocking(False)
        clients.append(client)
        try:
            client.send(HALF[number % len(HALF)])
        except OSError:  # as much as fits
            continue
    try:
        yield
    finally:
        for client in clients:
            client.close()


def flood(run: Run, clients: int, connections: int, sluggish: int) -> None:
    """All of it, against one server."""
    with server() as (process, port), run.guarded("flood"):
        run.figures["memory before, MiB"] = str(memory(process, "VmRSS"))
        began = time.monotonic()
        times = at_once(port, clients, run)
        run.figures[f"{clients} clients at once"] = _figures(times, time.monotonic() - began)
        run.figures["peak memory, MiB"] = str(memory(process, "VmHWM"))
        began = time.monotonic()
        one_by_one(port, connections, run)
        seconds = time.monotonic() - began
        run.figures[f"{connections} connections in turn"] = f"{seconds:.1f} s, {connections / seconds:.0f} a second"
        with Raw("127.0.0.1", port) as raw:
            pushed = raw.ask("POST", f"/v2/large/blobs/uploads/?digest={Digest.of(LARGE)}", {}, LARGE)
            assert pushed.status == 201, pushed
        before = memory(process, "VmRSS")
        with slow(port, sluggish):
            began = time.monotonic()
            times = at_once(port, 10, run)
            run.figures[f"10 clients beside {sluggish} slow ones"] = _figures(times, time.monotonic() - began)
            run.figures["memory with the slow ones, MiB"] = f"{memory(process, 'VmRSS')} (before {before})"
        assert max(times) < 20, "slow clients keep others waiting"
        run.figures["peak memory of all, MiB"] = str(memory(process, "VmHWM"))


def _figures(times: list[float], seconds: float) -> str:
    cut = quantiles(times, n=100)
    return f"{len(times)} requests in {seconds:.1f} s, median {cut[49] * 1000:.1f} ms, 99 % {cut[98] * 1000:.0f} ms"


def main(run: Run) -> None:
    """The whole flood, once; `--requests N` makes it as many clients, and twenty times as many connections."""
    clients = min(run.requests or CLIENTS, CLIENTS)
    flood(run, clients, clients * CONNECTIONS // CLIENTS, clients * SLOW // CLIENTS)
