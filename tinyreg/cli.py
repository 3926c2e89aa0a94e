"""`python -m tinyreg`: serves what `options` ask for until a signal; what a registry does it does not know."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from .errors import RegistryError
from .options import keywords, parse
from .recorder import Exchange
from .registry import Registry, cannot_listen
from .server import StopTimeout


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; the exit status: 0, or 2 where it can't be done as asked."""
    options = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
    try:
        if options.ready_file:
            _forget(options.ready_file)  # what an earlier one left
        registry = Registry(**keywords(options))
        for path in options.load:
            _load(registry, path)
        if text := warning(registry, options.host):
            print(f"tinyreg: {text}", file=sys.stderr)
        if not options.quiet:
            registry.requests.listeners.append(log)
        _serve(registry, options.ready_file)
    except OSError as error:
        return _fail(explain(error, options))
    except (ValueError, RegistryError) as error:
        return _fail(str(error))
    except StopTimeout as error:  # it is over all the same
        print(f"tinyreg: {error}", file=sys.stderr)
    return 0


def _load(registry: Registry, path: str) -> None:
    try:
        registry.load(path)
    except (ValueError, RegistryError) as error:
        raise ValueError(f"--load {path}: {error}") from error


def _fail(message: str) -> int:
    """Say what went wrong, in one line; the exit status."""
    print(f"tinyreg: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _serve(registry: Registry, ready_file: str | None) -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with registry, seldom_collecting():
        if registry.ca_file:  # stdout has one line, for those who wait for it
            print(f"tinyreg CA file: {registry.ca_file}", file=sys.stderr, flush=True)
        if ready_file:
            _tell(ready_file, registry.url)
        print(f"tinyreg ready at {registry.url}", flush=True)
        try:
            while not stop.wait(_TICK):
                pass
        finally:
            if ready_file:
                _forget(ready_file)


def _tell(ready_file: str, url: str) -> None:
    """Let the file hold the URL: who waits for it finds all of it, or no file."""
    with open(f"{ready_file}.new", "w") as file:
        file.write(f"{url}\n")
    os.replace(f"{ready_file}.new", ready_file)


def _forget(ready_file: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(ready_file)


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Let the garbage collector look for cycles a hundred times less often than it does.

    Answering makes none, and each look goes through all that is stored and in the log: a sixth of a push's time.
    """
    before = gc.get_threshold()
    gc.set_threshold(70_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


# Windows runs signal handlers only between two waits; elsewhere a signal ends the wait itself.
_TICK = 0.2 if os.name == "nt" else 3600.0


def warning(registry: Registry, host: str) -> str | None:
    """What whoever starts it should know, in one line: CWE-306."""
    if registry.auth is not None or host in ("localhost", "::1") or host.startswith("127."):
        return None
    return f"anybody who can reach {host} may push, pull and delete: this is not loopback and nobody is asked who he is"


def log(exchange: Exchange) -> None:
    """One line a request, on stderr."""
    sys.stderr.write(f"{exchange}\n")  # in one go: `print` writes the line's end by itself, and others get in between
    sys.stderr.flush()


def explain(error: OSError, options: argparse.Namespace) -> str:
    """What went wrong and what to do, in one line."""
    if isinstance(error.__cause__, OSError):  # Registry says it in Python's words
        error = error.__cause__
    if error.filename is not None:
        return f"{error.filename}: {error.strerror or error}"
    return cannot_listen(error, options.host, options.port, "--")
