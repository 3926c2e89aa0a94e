"""Programs that tests run: found, given a home of the test's own, timed out. Knows no program and no registry."""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest

TIMEOUT = 60.0
SHOWN = 6_000  # characters of each stream that a failure shows: the end of it, where programs say why
NOTHING_TRUSTED_NOTHING_REFUSED = '{"default": [{"type": "insecureAcceptAnything"}]}'

# Some programs, when root runs them, write where no flag moves them: skopeo to /var/lib/containers/cache,
# podman and dockerd to /run. So they get these folders from the sandbox, in a mount namespace that ends with them.
PLACES = ("/run", "/var/lib")
PRIVATE = """
for at in $1; do mkdir -p "$0/$at"; mount --bind "$0/$at" "$at"; done
shift
exec "$@"
"""


def find(program: str) -> str:
    """The path of `program`; without it the test is skipped, or fails under TINYREG_INTEROP=require."""
    found = shutil.which(program, path=search_path())
    return found or missing(f"{program} is not on PATH: .ci/install-clients installs it")


def find_python(*modules: str) -> str:
    """The Python that `.ci/install-clients` gave these modules; without it, or one of them, as `find` says."""
    python = str(tools() / "python/bin/python")
    command = [python, "-c", f"import {','.join(modules)}"]
    if not os.path.exists(python) or subprocess.run(command, capture_output=True, check=False).returncode:
        missing(f"{python} has no {' and '.join(modules)}: .ci/install-clients installs them")
    return python


def search_path() -> str:
    """PATH, and behind it where `.ci/install-clients` puts programs, and where daemons are."""
    return f"{os.environ.get('PATH', os.defpath)}:{tools() / 'bin'}:/usr/local/sbin:/usr/sbin:/sbin"


def tools() -> Path:
    """Where `.ci/install-clients` puts what apt does not have."""
    return Path(os.environ.get("TINYREG_TOOLS", "/opt/tinyreg-tools"))


def missing(reason: str) -> NoReturn:
    """Skip this test, visibly; fail it where CI requires all clients."""
    if os.environ.get("TINYREG_INTEROP") == "require":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@dataclass(frozen=True)
class Done:
    """A program that has ended: what it was, what it said. `str` of it is a report for an assertion."""

    command: Sequence[str]
    status: int | None  # None: it was ended because its time was over
    stdout: bytes
    stderr: bytes

    def __str__(self) -> str:
        how = "did not end in time" if self.status is None else f"ended with status {self.status}"
        streams = (("stdout", self.stdout), ("stderr", self.stderr))
        said = "\n".join(f"--- {name}\n{data.decode(errors='replace')[-SHOWN:]}" for name, data in streams)
        return f"{shlex.join(self.command)}\n{how}\n{said}"


class Sandbox:
    """A home for programs within `folder`: their settings, credentials, caches and temporary files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = environment(folder)
        for name in ("home/.config/containers", "docker", "run", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "run").chmod(0o700)  # as XDG wants its runtime folder
        (folder / "home/.config/containers/policy.json").write_text(NOTHING_TRUSTED_NOTHING_REFUSED)
        (folder / "docker/config.json").write_text("{}")
        (folder / "auth.json").write_text("{}")

    def client(self, program: str, *flags: str | Path, **env: str) -> Client:
        """`program`, which every time gets these flags and this environment besides the sandbox's own."""
        return Client(self, (find(program), *map(str, flags)), env)

    def isolated(self, command: Sequence[str], places: Sequence[str] = PLACES) -> list[str]:
        """The command with these folders of the system its own, where it would be allowed to write there."""
        if os.geteuid() != 0 or not can_unshare():
            return list(command)
        private = str(self.folder / "private")
        return [*UNSHARE, "sh", "-ec", PRIVATE, private, " ".join(places), *command]

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = TIMEOUT,
    ) -> Done:
        """Run it to its end, or to the end of its time: `timeout` seconds. It starts in the sandbox's folder."""
        with subprocess.Popen(
            self.isolated(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self.env, **(env or {})},
            cwd=cwd or self.folder,
            start_new_session=True,  # so that what it started can be ended with it
        ) as process:
            try:
                stdout, stderr = process.communicate(stdin, timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                stdout, stderr = process.communicate()
                return Done(command, None, stdout, stderr)
        return Done(command, process.returncode, stdout, stderr)


@dataclass(frozen=True)
class Client:
    """A program with the flags that every call of it has. Calling it runs it: `crane("ls", "host/app")`."""

    sandbox: Sandbox
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)

    def run(self, *args: str | Path, stdin: bytes = b"", cwd: Path | None = None, timeout: float = TIMEOUT) -> Done:
        """Run it and tell how it went, well or not."""
        command = [*self.command, *map(str, args)]
        return self.sandbox.run(command, stdin=stdin, env=self.env, cwd=cwd, timeout=timeout)

    def __call__(
        self, *args: str | Path, stdin: bytes = b"", cwd: Path | None = None, timeout: float = TIMEOUT
    ) -> bytes:
        """Its stdout. A call that fails, fails the test, with all it said."""
        done = self.run(*args, stdin=stdin, cwd=cwd, timeout=timeout)
        assert done.status == 0, str(done)
        return done.stdout

    def text(self, *args: str | Path) -> str:
        """Its stdout as text, without the white space around it."""
        return self(*args).decode().strip()

    def lines(self, *args: str | Path) -> list[str]:
        """The lines of its stdout."""
        return self.text(*args).splitlines()

    def json(self, *args: str | Path) -> Any:
        """Its stdout, which is JSON."""
        return json.loads(self(*args))

    def refused(self, *args: str | Path, timeout: float = TIMEOUT) -> str:
        """All it said, when it failed as it should; that it did not, or did not end, fails the test."""
        done = self.run(*args, timeout=timeout)
        assert done.status, str(done)
        return (done.stdout + done.stderr).decode(errors="replace")


UNSHARE = ("unshare", "--mount", "--propagation", "private", "--")


@functools.cache
def can_unshare() -> bool:
    """Whether this machine lets us have a mount namespace of our own."""
    mount = [*UNSHARE, "mount", "--bind", "/run", "/run"]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


def environment(folder: Path) -> dict[str, str]:
    """The variables a program gets: where programs are, and every place that it may write to within `folder`."""
    home = folder / "home"
    return {
        "PATH": search_path(),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": str(home),
        "TMPDIR": str(folder / "tmp"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "DOCKER_CONFIG": str(folder / "docker"),
        "REGISTRY_AUTH_FILE": str(folder / "auth.json"),
        "REGCTL_CONFIG": str(home / "regctl.json"),
    }
