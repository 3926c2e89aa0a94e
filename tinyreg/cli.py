"""`python -m tinyreg`: flags, environment, signals; what a registry does with them it does not know."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence

from . import __version__
from .recorder import Exchange
from .registry import Registry

PORT = 5000
"""The port container registries are found at."""
ENVIRONMENT = "TINYREG_"
"""`TINYREG_PORT=0` is `--port 0`; the flag wins."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; the exit status: 0, or 2 where it can't be done as asked."""
    options = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
    try:
        registry = Registry(options.path, host=options.host, port=options.port)
        if not options.quiet:
            registry.requests.listeners.append(log)
        _serve(registry, options.ready_file)
    except OSError as error:
        print(f"tinyreg: {explain(error, options)}", file=sys.stderr)
        return 2
    return 0


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> argparse.Namespace:
    """The options. Exits with status 2 and one line for a bad one."""
    parser = _Parser(prog="tinyreg", description="A container registry for tests.")
    parser.add_argument("path", nargs="?", help="keep content in this folder; in memory without it")
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", help=f"port to listen on ({PORT}); 0 takes a free one")
    parser.add_argument("--quiet", action="store_true", help="no line on stderr for each request")
    parser.add_argument("--ready-file", metavar="FILE", help="written with the URL once it listens")
    parser.add_argument("--version", action="version", version=f"tinyreg {__version__}")
    options = parser.parse_args(arguments)
    _fill(parser, options, environment)
    return options


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # it does not return, and says so below
        self.exit(2, f"tinyreg: {message} (see tinyreg --help)\n")


def _fill(parser: _Parser, options: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """Take from the environment what no flag said, and check it."""
    defaults = {"path": None, "host": "127.0.0.1", "port": str(PORT), "ready_file": None}
    for name, default in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, environment.get(ENVIRONMENT + name.upper(), default))
    options.quiet = options.quiet or environment.get(f"{ENVIRONMENT}QUIET", "") not in ("", "0")
    if not options.port.isdecimal() or int(options.port) > 65535:
        parser.error(f"--port {options.port}: a port is a number from 0 to 65535")
    options.port = int(options.port)


def _serve(registry: Registry, ready_file: str | None) -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with registry:
        if ready_file:
            with open(ready_file, "w") as file:
                file.write(f"{registry.url}\n")
        print(f"tinyreg ready at {registry.url}", flush=True)
        while not stop.wait(_TICK):
            pass


# Windows runs signal handlers only between two waits; elsewhere a signal ends the wait itself.
_TICK = 0.2 if os.name == "nt" else 3600.0


def log(exchange: Exchange) -> None:
    """One line a request, on stderr."""
    print(exchange, file=sys.stderr, flush=True)


def explain(error: OSError, options: argparse.Namespace) -> str:
    """What went wrong and what to do, in one line."""
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {reason}"
    return f"can't listen on {options.host} port {options.port}: {reason}; --port 0 takes a free one"
