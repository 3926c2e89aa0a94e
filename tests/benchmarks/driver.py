"""What drives a server: operations on connections, each in a process of its own; it knows no row."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable
from multiprocessing.process import BaseProcess
from queue import Empty
from threading import BrokenBarrierError
from typing import TYPE_CHECKING

from .connection import TIMEOUT, Address, Connection, Refused
from .request import Operation

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

Job = Callable[[int], Iterable[Operation]]
"""The operations of the connection of that number, in order; all that can be prepared is done when it returns."""
Outcome = tuple[int, float, float] | str

# By fork, so that prepared bytes need not be sent anywhere; this process has no threads.
_processes = multiprocessing.get_context("fork")


def rate(address: Address, job: Job, connections: int, seconds: float) -> float:
    """Operations a second over so many connections, until the job or the time is over. Raises Refused."""
    outcomes: Queue[Outcome] = _processes.Queue()
    barrier = _processes.Barrier(connections)
    workers: list[BaseProcess] = [
        _processes.Process(target=_work, args=(address, job, number, seconds, barrier, outcomes), daemon=True)
        for number in range(connections)
    ]
    try:
        for worker in workers:
            worker.start()
        return _sum(_collect(outcomes, seconds) for _ in workers)
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _work(address: Address, job: Job, number: int, seconds: float, barrier: Barrier, outcomes: Queue[Outcome]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the command's own handler came along with the fork
    try:
        operations = job(number)
        with Connection(address) as connection:
            barrier.wait(TIMEOUT)
            outcomes.put(_perform(connection, operations, seconds))
    except (OSError, Refused, BrokenBarrierError) as error:
        outcomes.put(repr(error))
        barrier.abort()


def _perform(connection: Connection, operations: Iterable[Operation], seconds: float) -> Outcome:
    count = 0
    began = now = time.monotonic()
    for operation in operations:
        operation(connection)
        count += 1
        now = time.monotonic()
        if now - began >= seconds:
            break
    return count, began, now


def _collect(outcomes: Queue[Outcome], seconds: float) -> tuple[int, float, float]:
    try:
        outcome = outcomes.get(timeout=seconds + TIMEOUT)
    except Empty:
        raise Refused("a driver's process did not report") from None
    if isinstance(outcome, str):
        raise Refused(outcome)
    return outcome


def _sum(outcomes: Iterable[tuple[int, float, float]]) -> float:
    counts, begins, ends = zip(*outcomes, strict=True)
    return float(sum(counts) / (max(ends) - min(begins)))
