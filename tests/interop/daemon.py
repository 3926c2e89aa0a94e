"""A server process that a test starts, waits for and ends by its own id. Knows nothing of what it serves."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .clients import Sandbox

START = 30.0  # seconds; a quiet machine needs half of one
STOP = 15.0


@contextmanager
def daemon(
    sandbox: Sandbox, command: Sequence[str], ready: Callable[[], bool], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The program, running from when `ready` says so to the end of the block; what it says goes to `log`."""
    with (
        log.open("wb") as said,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=sandbox.env,
            cwd=sandbox.folder,
            start_new_session=True,
        ) as process,
    ):
        try:
            wait(process, ready, log)
            yield process
        finally:
            stop(process)


def wait(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    """Return once it is ready. Raises AssertionError, with the log, where it ends first or takes too long."""
    deadline = time.monotonic() + START
    while not ready():
        alive = process.poll() is None and time.monotonic() < deadline
        assert alive, f"{process.args!r} does not start:\n{log.read_text(errors='replace')[-4_000:]}"
        time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it, politely at first; then it and all it started in its session."""
    process.terminate()
    try:
        process.wait(STOP)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
