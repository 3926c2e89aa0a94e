"""Keeps the machine's cores from sleeping while something is measured; it measures nothing.

Where requests go one at a time, a core that sleeps between them, in a virtual machine above all, takes longer to wake
up than the request takes, or not, as the scheduler places processes: figures differ threefold from run to run. So an
idle-priority process spins on each core; whatever else wants the core has it at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_processes = multiprocessing.get_context("fork")
_SPINS = 1_000_000


@contextmanager
def awake() -> Iterator[None]:
    """Every core awake within the block. Does nothing where the system knows no idle priority."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "SCHED_IDLE") else []
    spinners = [_processes.Process(target=_spin, args=(core, os.getpid()), daemon=True) for core in cores]
    try:
        for spinner in spinners:
            spinner.start()
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.join()


def _spin(core: int, parent: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the command's own handler came along with the fork
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    while os.getppid() == parent:
        for _ in range(_SPINS):
            pass
