"""What the command line and the environment ask for, as values; a registry is made of them, and served, by `cli`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import __version__

if TYPE_CHECKING:
    from .auth import Authorizer

PORT = 5000
"""The port container registries are found at."""
ENVIRONMENT = "TINYREG_"
"""`TINYREG_PORT=0` is `--port 0`, `TINYREG_TOKEN=1` is `--token`; the flag wins."""

# Flag, placeholder, help. Without a placeholder it is a switch; with `…` it may be given again and again.
FLAGS = (
    ("--host", "HOST", "address to listen on (127.0.0.1)"),
    ("--port", "PORT", f"port to listen on ({PORT}); 0 takes a free one"),
    ("--auth", "USER:PASSWORD…", "somebody who may push and pull; again for more"),
    ("--htpasswd", "FILE", "those who may, from a file"),
    ("--token", None, "logins by a token service, at /token"),
    ("--anonymous", "ACTIONS", "what those without a name may do: pull, or pull,push"),
    ("--read-only", None, "nobody pushes or deletes"),
    ("--tls", None, "https, by a CA of this run, whose file is told on stderr"),
    ("--cert", "FILE", "https, by this certificate, in PEM"),
    ("--key", "FILE", "its key"),
    ("--load", "PATH…", "an OCI layout or a `docker save` archive to begin with; again for more"),
    ("--upstream", "URL", "the registry to ask for what is missing here"),
    ("--ready-file", "FILE", "written with the URL once it listens"),
    ("--quiet", None, "no line on stderr for each request"),
)


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> argparse.Namespace:
    """The options. Exits with status 2 and one line for a bad one."""
    parser = _Parser(
        prog="tinyreg",
        description="A container registry for tests.",
        epilog="Each flag has an environment variable: TINYREG_PORT for --port; what may be given again, one a line.",
        allow_abbrev=False,
    )
    parser.add_argument("path", nargs="?", help="keep content in this folder, or at this URL; in memory without it")
    for flag, metavar, text in FLAGS:
        if metavar is None:
            parser.add_argument(flag, action="store_true", default=None, help=text)
        else:
            action = "append" if metavar.endswith("…") else "store"
            parser.add_argument(flag, action=action, metavar=metavar.rstrip("…"), help=text)
    parser.add_argument("--version", action="version", version=f"tinyreg {__version__}")
    options = parser.parse_args(arguments)
    _fill(options, environment)
    if wrong := _wrong(options):
        parser.error(wrong)
    options.port = int(options.port)
    return options


def keywords(options: argparse.Namespace) -> dict[str, Any]:
    """What Registry is to be called with. Raises OSError, ValueError for an htpasswd file that can't be used."""
    return {
        "store": options.path,
        "host": options.host,
        "port": options.port,
        "auth": _auth(options),
        "tls": (options.cert, options.key) if options.cert else options.tls,
        "upstream": options.upstream,
    }


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # it does not return, and says so below
        self.exit(2, f"tinyreg: {message} (see tinyreg --help)\n")


def _fill(options: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """Take from the environment what no flag said, and then the defaults."""
    for flag, metavar in (("path", "PATH"), *((flag, metavar) for flag, metavar, _ in FLAGS)):
        name = flag.lstrip("-").replace("-", "_")
        said = environment.get(ENVIRONMENT + name.upper(), "")
        if metavar is None:
            value: Any = said not in ("", "0")
        else:
            value = said.splitlines() if metavar.endswith("…") else said or None
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.host = options.host or "127.0.0.1"
    options.port = options.port or str(PORT)


def _wrong(options: argparse.Namespace) -> str | None:
    """What is wrong with the options, and what to do; it quotes no password."""
    users = options.auth or options.htpasswd
    upstream = options.upstream or "http://"
    checks = (
        (
            not options.port.isdecimal() or int(options.port) > 65535,
            f"--port {options.port}: a port is a number from 0 to 65535",
        ),
        (not all(":" in each[1:] for each in options.auth), "--auth: write USER:PASSWORD"),
        (options.auth and options.htpasswd, "--auth and --htpasswd: give one of them"),
        (options.token and not users, "--token: say who has one, by --auth USER:PASSWORD or --htpasswd FILE"),
        (
            options.anonymous and not users,
            "--anonymous: say who has a name, by --auth USER:PASSWORD or --htpasswd FILE",
        ),
        (options.cert and not options.key, "--cert: give its key too, by --key FILE"),
        (options.key and not options.cert, "--key: give its certificate too, by --cert FILE"),
        ("://" not in upstream, f"--upstream {upstream}: write http(s)://host[:port]"),
    )
    return next((text for bad, text in checks if bad), None)


def _auth(options: argparse.Namespace) -> Authorizer | None:
    users = dict(each.split(":", 1) for each in options.auth) or options.htpasswd
    if not users and not options.read_only:
        return None
    from .auth import Basic, ReadOnly, Token  # seldom asked for, and it brings OpenSSL

    auth: Authorizer | None = None
    if users:
        kind = Token if options.token else Basic
        auth = kind(users, anonymous=options.anonymous or "")
    return ReadOnly(auth) if options.read_only else auth
