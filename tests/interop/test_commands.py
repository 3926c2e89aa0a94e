"""The four commands that stand in every registry's documentation, typed as they stand there."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tinyreg

from . import payload
from .clients import Client, Sandbox, find

FILES = {"etc/motd": b"hello\n", "opt/noise": payload.noise("mytomcat")}
COMMANDS = [
    "docker tag mytomcat 127.0.0.1:5000/mytomcat && docker push 127.0.0.1:5000/mytomcat && "
    "docker pull 127.0.0.1:5000/mytomcat",
    "curl http://127.0.0.1:5000/v2/_catalog",
    "curl http://127.0.0.1:5000/v2/mytomcat/tags/list",
]
CATALOG = b'{"repositories":["mytomcat"]}'
TAGS = b'{"name":"mytomcat","tags":["latest"]}'
DEFAULT_PORT = 5000


@contextmanager
def serving(sandbox: Sandbox, *arguments: str) -> Iterator[str]:
    """`python -m tinyreg` with these arguments, until SIGTERM at the end of the block; the URL it is ready at."""
    env = {**sandbox.env, "PYTHONPATH": str(Path(tinyreg.__file__).parents[1])}
    command = [sys.executable, "-m", "tinyreg", *arguments]
    with (
        (sandbox.folder / "tinyreg.log").open("wb+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env=env, cwd=sandbox.folder) as process,
    ):
        assert process.stdout is not None
        try:
            ready = process.stdout.readline().decode()
            assert ready.startswith("tinyreg ready at http://127.0.0.1:"), (ready, log.seek(0), log.read())
            yield ready.split()[-1]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
    assert process.returncode == 0


@contextmanager
def default_port() -> Iterator[None]:
    """The default port for this test alone, of all that run on this machine, whichever run and worker they are of.

    The lock is a name in Linux's abstract sockets: nobody has to remove it, whatever happens to us.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as lock:
        deadline = time.monotonic() + 60
        while True:
            try:
                lock.bind("\0tinyreg tests on the default port")
            except OSError:
                assert time.monotonic() < deadline, "another run of these tests keeps the default port"
                time.sleep(0.1)
            else:
                break
        yield


def type_in(docker: Client, host: str = "127.0.0.1:5000") -> list[bytes]:
    """Type each command into a shell, with this host where the default one stands; what each printed."""
    shell = Client(docker.sandbox, (find("sh"), "-c"), docker.env)
    return [shell(command.replace("127.0.0.1:5000", host)) for command in COMMANDS]


@pytest.fixture
def mytomcat(docker: Client) -> str:
    """The image of that name, in the engine here; its id."""
    find("curl")
    return docker("import", "-", "mytomcat", stdin=payload.tar(FILES)).decode().strip()


def test_the_documented_commands_do_verbatim_what_is_documented(docker: Client, mytomcat: str) -> None:
    with default_port(), serving(docker.sandbox) as url:
        assert url == f"http://127.0.0.1:{DEFAULT_PORT}"
        pushed, catalog, tags = type_in(docker)
    assert b"127.0.0.1:5000/mytomcat:latest" in pushed.splitlines()[-1]
    assert catalog.removesuffix(b"\n") == CATALOG
    assert tags.removesuffix(b"\n") == TAGS


@pytest.mark.parametrize("store", ["memory", "directory"])
def test_the_documented_commands_work_on_a_free_port_over_each_store(
    docker: Client, mytomcat: str, tmp_path: Path, store: str
) -> None:
    path = [str(tmp_path / "store")] if store == "directory" else []
    with serving(docker.sandbox, *path, "--port", "0") as url:
        host = url.removeprefix("http://")
        _, catalog, tags = type_in(docker, host)
        docker("rmi", "mytomcat", f"{host}/mytomcat")
        docker("pull", f"{host}/mytomcat")
    assert (catalog.removesuffix(b"\n"), tags.removesuffix(b"\n")) == (CATALOG, TAGS)
    assert docker.text("image", "inspect", "--format", "{{.Id}}", f"{host}/mytomcat") == mytomcat


def test_what_was_pushed_to_a_folder_is_there_after_a_restart(docker: Client, mytomcat: str, tmp_path: Path) -> None:
    with serving(docker.sandbox, str(tmp_path), "--port", "0") as url:
        host = url.removeprefix("http://")
        type_in(docker, host)
    docker("rmi", "mytomcat", f"{host}/mytomcat")
    with serving(docker.sandbox, str(tmp_path), "--port", host.partition(":")[2]):
        docker("pull", f"{host}/mytomcat")
    assert docker.text("image", "inspect", "--format", "{{.Id}}", f"{host}/mytomcat") == mytomcat
