"""Archives that real programs wrote are loaded, and what `save` wrote is read by them: the same files on both sides."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tinyreg import Registry
from tinyreg.layer import Symlink

from . import payload, trees
from .clients import Client
from .commands import content
from .test_seeded import FILES, LAYERS, OF_DOCKER
from .trees import Tree

COPY = ("copy", "--src-tls-verify=false")


@pytest.fixture
def app(served: Registry) -> str:
    """`team/app:1.0`, with whiteouts in it."""
    served.push_image("team/app:1.0", layers=LAYERS, config={"Env": ["A=1"]})
    return served.ref("team/app:1.0")


class Maker(NamedTuple):
    """The commands of a client that write the image `ref` to `out`, and how it is called there."""

    client: str
    commands: Callable[[str, Path], tuple[tuple[str | Path, ...], ...]]
    loaded: str = "team/app:1.0"


def _podman(kind: str) -> Maker:
    return Maker(
        "podman", lambda ref, out: (("pull", "--tls-verify=false", ref), ("save", "--format", kind, "-o", out, ref))
    )


def _skopeo(kind: str, name: str, loaded: str) -> Maker:
    return Maker("skopeo", lambda ref, out: ((*COPY, f"docker://{ref}", f"{kind}:{out}:{name}"),), loaded)


MAKERS = {
    "docker save": Maker("docker", lambda ref, out: (("pull", ref), ("save", "-o", out, ref))),
    "podman save docker-archive": _podman("docker-archive"),
    "podman save oci-archive": _podman("oci-archive"),
    "skopeo docker-archive": _skopeo("docker-archive", "team/app:1.0", "team/app:1.0"),
    "skopeo oci-archive": _skopeo("oci-archive", "1.0", "made:1.0"),
    "crane pull": Maker("crane", lambda ref, out: (("pull", ref, out),)),
    "crane pull legacy": Maker("crane", lambda ref, out: (("pull", "--format", "legacy", ref, out),)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_an_archive_that_a_program_wrote_is_loaded(
    served: Registry, app: str, request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    client, commands, loaded = MAKERS[name]
    for command in commands(app, tmp_path / "made.tar"):
        request.getfixturevalue(client)(*command)
    other = Registry()
    assert other.load(tmp_path / "made.tar") == [loaded]
    repository, _, tag = loaded.rpartition(":")
    assert other.repository(repository).files(tag) == served.repository("team/app").files("1.0") == FILES


def test_what_was_loaded_is_pulled_by_those_who_never_saw_it(
    served: Registry, app: str, docker: Client, podman: Client, tmp_path: Path
) -> None:
    docker("pull", app)
    docker("save", "-o", tmp_path / "made.tar", app)
    with Registry() as other:
        other.load(tmp_path / "made.tar")
        podman("pull", "--tls-verify=false", other.ref("team/app:1.0"))
        assert podman_files(podman, other.ref("team/app:1.0")) == FILES
    assert other.errors == []


def podman_files(podman: Client, ref: str) -> dict[str, bytes | Symlink]:
    return trees.of_tar(podman("export", podman.text("create", "--pull", "never", ref, "/none")))


def docker_files(docker: Client, ref: str) -> Tree:
    container = docker.text("create", "--pull", "never", ref, "/none")
    return trees.without(trees.of_tar(docker("export", container)), OF_DOCKER)


@pytest.fixture(params=["saved", "saved.tar"])
def saved(served: Registry, app: str, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What `save` wrote: a folder, or an archive."""
    path: Path = tmp_path / request.param
    served.save(path, "team/app:1.0")
    return path


def transport(saved: Path) -> str:
    return f"oci-archive:{saved}:1.0" if saved.suffix else f"oci:{saved}:1.0"


def test_skopeo_reads_what_was_saved(served: Registry, skopeo: Client, saved: Path, tmp_path: Path) -> None:
    assert skopeo("inspect", "--raw", transport(saved)) == served.repository("team/app").manifest("1.0").data
    skopeo("copy", transport(saved), f"oci:{tmp_path}/out:1.0")
    assert payload.read_layout(tmp_path / "out") == content(served)


def test_umoci_unpacks_what_was_saved(umoci: Client, served: Registry, app: str, tmp_path: Path) -> None:
    served.save(tmp_path / "saved", "team/app:1.0")
    umoci("unpack", "--image", f"{tmp_path}/saved:1.0", tmp_path / "bundle")
    assert trees.of_folder(tmp_path / "bundle/rootfs") == FILES


def test_podman_has_the_files_of_what_was_saved(podman: Client, served: Registry, app: str, tmp_path: Path) -> None:
    served.save(tmp_path / "saved.tar", "team/app:1.0")
    podman("load", "--input", tmp_path / "saved.tar")
    assert podman_files(podman, "localhost/team/app:1.0") == FILES


def test_containerd_has_every_byte_of_what_was_saved(ctr: Client, served: Registry, app: str, tmp_path: Path) -> None:
    served.save(tmp_path / "saved.tar", "team/app:1.0")
    ctr("images", "import", "--no-unpack", tmp_path / "saved.tar")
    assert ctr.lines("images", "ls", "--quiet") == ["team/app:1.0"]
    assert {digest: ctr("content", "get", digest) for digest in content(served)} == content(served)


def test_crane_pushes_a_saved_folder_and_finds_nothing_wrong(
    served: Registry, crane: Client, app: str, tmp_path: Path
) -> None:
    served.save(tmp_path / "saved", "team/app:1.0")
    crane("push", tmp_path / "saved", served.ref("pushed:1"))
    assert content(served, "pushed", "1") == content(served)
    assert crane.text("validate", "--remote", served.ref("pushed:1")) == f"PASS: {served.ref('pushed:1')}"


def test_docker_loads_what_was_saved(docker: Client, served: Registry, app: str, tmp_path: Path) -> None:
    served.save(tmp_path / "saved.tar", "team/app:1.0")
    docker("load", "--input", tmp_path / "saved.tar")
    assert docker_files(docker, "team/app:1.0") == FILES


def test_crane_pushes_a_saved_archive_and_finds_nothing_wrong(
    served: Registry, crane: Client, app: str, tmp_path: Path
) -> None:
    served.save(tmp_path / "saved.tar", "team/app:1.0")
    assert crane.text("validate", "--tarball", tmp_path / "saved.tar") == f"PASS: {tmp_path}/saved.tar"
    crane("push", tmp_path / "saved.tar", served.ref("pushed:1"))
    assert served.repository("pushed").files("1") == served.repository("team/app").files("1.0")


def test_docker_loads_what_was_saved_once_skopeo_wrote_it_in_dockers_form(
    docker: Client, skopeo: Client, saved: Path, tmp_path: Path
) -> None:
    skopeo("copy", transport(saved), f"docker-archive:{tmp_path}/docker.tar:team/app:1.0")
    docker("load", "--input", tmp_path / "docker.tar")
    assert docker_files(docker, "team/app:1.0") == FILES


def test_crane_finds_nothing_wrong_with_it_in_dockers_form(
    crane: Client, skopeo: Client, saved: Path, tmp_path: Path
) -> None:
    skopeo("copy", transport(saved), f"docker-archive:{tmp_path}/docker.tar:team/app:1.0")
    assert crane.text("validate", "--tarball", tmp_path / "docker.tar") == f"PASS: {tmp_path}/docker.tar"
