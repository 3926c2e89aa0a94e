"""The registries that this machine has, each in a process of its own; what is measured of them it does not know."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from .connection import Address, Connection, Refused
from .request import BASE, get

ROOT = Path(__file__).resolve().parents[2]
NULL, BARE = "null", "bare"

_LOOPBACK = "127.0.0.1"
_READY_TIMEOUT = 20.0
_STOP_TIMEOUT = 10.0
_POLL = 0.0005
_GO_BIN = "/opt/gobin"


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    address: Address
    pid: int | None = None
    ready: float | None = None
    """Seconds from the start of its process until it answered."""

    def peak(self) -> float | None:
        """The most memory it had so far, in MiB; None where its process can't be looked at."""
        with suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return None


@dataclass(frozen=True)
class Registry:
    """A registry to be measured: how to start it, or where it runs."""

    name: str
    command: Callable[[int, Path], Sequence[str]] | None = None
    """What starts it on a port of the loopback, with a folder of its own."""
    address: Address | None = None
    """Where it runs, if it is not ours to start."""

    @property
    def is_tinyreg(self) -> bool:
        """Whether it is ours."""
        return self.name in OURS

    @property
    def on_disk(self) -> bool:
        """Whether tinyreg keeps its content in a folder."""
        return OURS.get(self.name, False)

    @property
    def is_null(self) -> bool:
        """Whether it is a null server, which shows what the drivers, or a server in Python, could do."""
        return self.name in (NULL, BARE)

    @contextmanager
    def running(self) -> Iterator[Running]:
        """The registry, fresh and answering; its process and its folder go with the block. Raises Refused."""
        if self.address is not None:
            yield Running(self.address)
        elif self.command is not None:
            with tempfile.TemporaryDirectory(prefix="tinyreg-bench-", ignore_cleanup_errors=True) as folder:
                port = _free_port()
                command = self.command(port, Path(folder))
                with _process(command) as (process, began):
                    yield Running((_LOOPBACK, port), process.pid, _answers(process, (_LOOPBACK, port)) - began)


@contextmanager
def _process(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """The process, and when it began."""
    quiet = subprocess.DEVNULL
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        yield process, began
    finally:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(process: subprocess.Popen[bytes], address: Address) -> float:
    """When it answered for the first time."""
    ask = get(BASE)
    deadline = time.monotonic() + _READY_TIMEOUT
    while (now := time.monotonic()) < deadline and process.poll() is None:
        with suppress(OSError), Connection(address) as connection:
            ask(connection)
            return time.monotonic()
        time.sleep(_POLL)
    raise Refused("it ended" if now < deadline else f"no answer in {_READY_TIMEOUT:g} s")


def _free_port() -> int:
    with socket.create_server((_LOOPBACK, 0)) as listener:
        return int(listener.getsockname()[1])


def at(name: str, url: str) -> Registry:
    """A registry that runs already, at `http://HOST:PORT`. Raises ValueError for another URL, or a taken name."""
    if not name or name in {each.name for each in found()}:
        raise ValueError(f"{name!r} is no name for another registry")
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None or parts.path.strip("/"):
        raise ValueError(f"{url}: http://HOST:PORT is understood")
    return Registry(name, address=(parts.hostname, parts.port or 80))


def found() -> list[Registry]:
    """Ours, those of others that are installed, and the null server."""
    path = os.pathsep.join([_GO_BIN, os.environ.get("PATH", os.defpath)])
    others = [maker(program) for name, maker in _OTHERS if (program := shutil.which(name, path=path))]
    ours = [Registry(name, _tinyreg(on_disk)) for name, on_disk in OURS.items()]
    return [*ours, *others, Registry(NULL, _null()), Registry(BARE, _null("threads"))]


def _tinyreg(on_disk: bool) -> Callable[[int, Path], Sequence[str]]:
    def command(port: int, folder: Path) -> Sequence[str]:
        where = [str(folder)] if on_disk else []
        return [sys.executable, "-m", "tinyreg", *where, "--port", str(port), "--quiet"]

    return command


def _crane(program: str) -> Registry:
    return Registry("crane", lambda port, _: [program, "registry", "serve", "--address", f"{_LOOPBACK}:{port}"])


def _crane_on_disk(program: str) -> Registry:
    def command(port: int, folder: Path) -> Sequence[str]:
        return [program, "registry", "serve", "--address", f"{_LOOPBACK}:{port}", "--disk", str(folder)]

    return Registry("crane --disk", command)


def _docker(name: str, program: str) -> Registry:
    def command(port: int, folder: Path) -> Sequence[str]:
        config = folder / "config.yml"
        config.write_text(_DOCKER_CONFIG.format(folder=folder / "data", address=f"{_LOOPBACK}:{port}"))
        return [program, "serve", str(config)]

    return Registry(name, command)


def _null(*how: str) -> Callable[[int, Path], Sequence[str]]:
    return lambda port, _: [sys.executable, "-m", "tests.benchmarks.null", str(port), *how]


OURS = {"memory": False, "directory": True}
"""tinyreg over each of its stores; whether it is on disk."""
_OTHERS = (
    ("crane", _crane),
    ("crane", _crane_on_disk),
    ("docker-registry", partial(_docker, "docker-registry")),
    ("registry", partial(_docker, "distribution")),
)
"""A program, and what makes a registry of it; `registry` is what distribution's third version calls itself."""
_DOCKER_CONFIG = """\
version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: {folder}
  delete:
    enabled: true
http:
  addr: {address}
"""
