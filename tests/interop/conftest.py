"""The registries and the clients that the tests here ask for."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinyreg import Registry

from .clients import Client, Sandbox, find_python
from .engines import containerd_engine, docker_engine, short_folder


@pytest.fixture(params=["memory", "directory"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """A registry that runs, over each of the stores; that it never raised is part of every test."""
    with Registry(tmp_path / "store" if request.param == "directory" else None) as registry:
        yield registry
    assert registry.errors == []


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """A home for programs, this test's own."""
    folder = tmp_path / "sandbox"
    folder.mkdir()
    return Sandbox(folder)


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path, which some programs need."""
    with short_folder() as folder:
        yield folder


@pytest.fixture
def crane(sandbox: Sandbox) -> Client:
    return sandbox.client("crane")


@pytest.fixture
def curl(sandbox: Sandbox) -> Client:
    return sandbox.client("curl", "--silent", "--show-error")


@pytest.fixture
def oras(sandbox: Sandbox) -> Client:
    return sandbox.client("oras")


@pytest.fixture
def regctl(sandbox: Sandbox) -> Client:
    return sandbox.client("regctl")


@pytest.fixture
def skopeo(sandbox: Sandbox) -> Client:
    return sandbox.client("skopeo")


@pytest.fixture
def helm(sandbox: Sandbox) -> Client:
    return sandbox.client("helm")


@pytest.fixture
def oras_python(sandbox: Sandbox) -> Client:
    """oras for Python, which is no program: a small one of ours around it."""
    return Client(sandbox, (find_python("oras"), str(Path(__file__).with_name("oras_python.py"))))


@pytest.fixture
def dxf(sandbox: Sandbox) -> Client:
    return Client(sandbox, (find_python("dxf"), "-m", "dxf"))


@pytest.fixture
def umoci(sandbox: Sandbox) -> Client:
    return sandbox.client("umoci")


@pytest.fixture
def podman(sandbox: Sandbox, short: Path) -> Client:
    (short / "containers.conf").write_text(f'[network]\nnetwork_config_dir = "{short}/networks"\n')
    return sandbox.client(
        "podman",
        *("--root", short / "root", "--runroot", short / "run", "--tmpdir", short / "tmp"),
        *("--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"),
        CONTAINERS_CONF=str(short / "containers.conf"),
    )


@pytest.fixture
def buildah(sandbox: Sandbox, short: Path) -> Client:
    return sandbox.client("buildah", "--root", short / "root", "--runroot", short / "run", "--storage-driver", "vfs")


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    with docker_engine() as host:
        yield host


@pytest.fixture
def docker(sandbox: Sandbox, docker_host: str) -> Iterator[Client]:
    """The docker command and an engine of ours behind it, which has no image before the test and none after."""
    client = sandbox.client("docker", DOCKER_HOST=docker_host)
    yield client
    for what in ("container", "image"):
        if found := client.lines(what, "ls", "--all", "--quiet", "--no-trunc"):
            client.run(what, "rm", "--force", *dict.fromkeys(found))  # may stop at the parent of one to come
    client("image", "prune", "--all", "--force")
    assert client.lines("image", "ls", "--all", "--quiet") == []


@pytest.fixture(scope="session")
def containerd_socket() -> Iterator[Path]:
    with containerd_engine() as socket:
        yield socket


@pytest.fixture
def ctr(sandbox: Sandbox, containerd_socket: Path, request: pytest.FixtureRequest) -> Client:
    """containerd's own client, in a namespace of this test."""
    return ctr_in(sandbox, containerd_socket, f"test-{zlib.crc32(request.node.nodeid.encode()):08x}")


def ctr_in(sandbox: Sandbox, socket: Path, namespace: str) -> Client:
    return sandbox.client("ctr", "--address", socket, "--namespace", namespace)
