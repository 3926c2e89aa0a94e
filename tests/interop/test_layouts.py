"""The directory store is OCI image layouts: programs open them as they lie, and what programs made is served."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinyreg import Registry

from . import payload
from .ask import ask, assert_serves, delete
from .clients import Client

IMAGE = payload.image({"etc/motd": b"hello\n"}, {"opt/noise": payload.noise("layouts")})
NEXT = payload.image({"etc/motd": b"hello again\n"})
MULTI = payload.index(amd64=IMAGE, arm64=payload.image({"etc/motd": b"hello, arm\n"}, architecture="arm64"))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry over a directory, `store` in the test's own."""
    with Registry(tmp_path / "store") as registry:
        yield registry
    assert registry.errors == []


@pytest.fixture
def lying(registry: Registry, skopeo: Client, tmp_path: Path) -> Path:
    """The folder in which the registry, while it runs, keeps `team/app` with its tags 1.0, 2.0 and multi."""
    source = payload.write_layout(tmp_path / "in", {"1.0": IMAGE, "2.0": NEXT, "multi": MULTI})
    for tag in ("1.0", "2.0", "multi"):
        ref = f"docker://{registry.ref(f'team/app:{tag}')}"
        skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{source}:{tag}", ref)
    return tmp_path / "store/team/app"


def pushed_files() -> dict[str, bytes]:
    """All that was pushed, by digest."""
    return {**IMAGE.files(), **NEXT.files(), **MULTI.files()}


def test_the_folder_holds_what_was_pushed_and_nothing_besides(lying: Path) -> None:
    assert payload.read_layout(lying) == pushed_files()
    assert json.loads((lying / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_skopeo_inspects_an_image_as_it_lies(skopeo: Client, lying: Path) -> None:
    assert skopeo("inspect", "--raw", f"oci:{lying}:1.0") == IMAGE.manifest
    assert skopeo.json("inspect", f"oci:{lying}:2.0")["Digest"] == NEXT.digest


def test_skopeo_copies_out_of_the_folder_what_was_pushed(skopeo: Client, lying: Path, tmp_path: Path) -> None:
    skopeo("copy", "--all", f"oci:{lying}:multi", f"oci:{tmp_path}/out:multi")
    assert payload.read_layout(tmp_path / "out") == MULTI.files()


def test_umoci_lists_and_unpacks_as_it_lies(umoci: Client, lying: Path, tmp_path: Path) -> None:
    assert sorted(umoci.lines("ls", "--layout", lying)) == ["1.0", "2.0", "multi"]
    umoci("unpack", "--rootless", "--image", f"{lying}:2.0", tmp_path / "bundle")
    assert (tmp_path / "bundle/rootfs/etc/motd").read_bytes() == b"hello again\n"


def test_regctl_reads_the_folder(regctl: Client, lying: Path) -> None:
    assert regctl.lines("tag", "ls", f"ocidir://{lying}") == ["1.0", "2.0", "multi"]
    assert regctl("manifest", "get", "--format", "raw-body", f"ocidir://{lying}:multi") == MULTI.manifest
    for digest, data in IMAGE.blobs.items():
        assert regctl("blob", "get", f"ocidir://{lying}", digest) == data


def test_oras_reads_the_folder(oras: Client, lying: Path) -> None:
    assert oras.lines("repo", "tags", "--oci-layout", lying) == ["1.0", "2.0", "multi"]
    assert oras("manifest", "fetch", "--oci-layout", f"{lying}:1.0") == IMAGE.manifest


def test_crane_pushes_the_folder_to_another_registry(crane: Client, lying: Path) -> None:
    with Registry() as other:
        crane("push", "--index", lying, other.ref("team/app:all"))
        pushed = ask(other, "GET", "/v2/team/app/manifests/all").body
        assert pushed == (lying / "index.json").read_bytes()
        for image in (IMAGE, NEXT, MULTI):
            assert_serves(other, "team/app", image.digest, image)


def test_buildah_and_podman_pull_out_of_the_folder(buildah: Client, podman: Client, lying: Path) -> None:
    for client in (buildah, podman):
        pulled = client.lines("pull", f"oci:{lying}:2.0")[-1]
        assert f"sha256:{pulled}" == json.loads(NEXT.manifest)["config"]["digest"]


def test_what_is_deleted_is_gone_from_the_folder_too(
    registry: Registry, umoci: Client, skopeo: Client, lying: Path
) -> None:
    delete(registry, "team/app", "2.0")
    assert sorted(umoci.lines("ls", "--layout", lying)) == ["1.0", "multi"]
    delete(registry, "team/app", MULTI.digest)
    assert umoci.lines("ls", "--layout", lying) == ["1.0"]
    assert skopeo("inspect", "--raw", f"oci:{lying}:1.0") == IMAGE.manifest


def test_a_blob_mounted_in_another_repository_is_one_file(
    registry: Registry, crane: Client, skopeo: Client, lying: Path, tmp_path: Path
) -> None:
    crane("copy", registry.ref("team/app:1.0"), registry.ref("copies/app:1.0"))
    assert skopeo("inspect", "--raw", f"oci:{tmp_path}/store/copies/app:1.0") == IMAGE.manifest
    for digest in IMAGE.blobs:
        file = Path("blobs", digest.replace(":", "/"))
        assert os.path.samefile(lying / file, tmp_path / "store/copies/app" / file)


def test_a_layout_that_skopeo_made_is_served(skopeo: Client, tmp_path: Path) -> None:
    source = payload.write_layout(tmp_path / "in", {"1.0": IMAGE, "multi": MULTI})
    made = tmp_path / "store/team/app"
    made.mkdir(parents=True)
    for tag in ("1.0", "multi"):
        skopeo("copy", "--all", f"oci:{source}:{tag}", f"oci:{made}:{tag}")
    with Registry(tmp_path / "store") as registry:
        assert registry.repositories() == ["team/app"]
        assert registry.repository("team/app").tags() == ["1.0", "multi"]
        assert_serves(registry, "team/app", "1.0", IMAGE)
        assert_serves(registry, "team/app", "multi", MULTI)


def test_a_layout_that_umoci_made_is_served_and_pushed_to(umoci: Client, skopeo: Client, tmp_path: Path) -> None:
    made = tmp_path / "store/made"
    made.parent.mkdir()
    umoci("init", "--layout", made)
    umoci("new", "--image", f"{made}:0.1")
    with Registry(tmp_path / "store") as registry:
        raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{registry.ref('made:0.1')}")
        assert raw == skopeo("inspect", "--raw", f"oci:{made}:0.1")
        source = payload.write_layout(tmp_path / "in", {"1.0": IMAGE})
        ref = f"docker://{registry.ref('made:1.0')}"
        skopeo("copy", "--dest-tls-verify=false", f"oci:{source}:1.0", ref)
    assert sorted(umoci.lines("ls", "--layout", made)) == ["0.1", "1.0"]


def test_what_one_process_took_the_next_one_serves(lying: Path, registry: Registry, tmp_path: Path) -> None:
    registry.stop()
    with Registry(tmp_path / "store") as after:
        assert after.repository("team/app").tags() == ["1.0", "2.0", "multi"]
        assert_serves(after, "team/app", "1.0", IMAGE)
        assert_serves(after, "team/app", "multi", MULTI)


def test_half_a_push_is_never_in_the_folder(registry: Registry, lying: Path) -> None:
    location = ask(registry, "POST", "/v2/team/app/blobs/uploads/").headers["Location"]
    assert ask(registry, "PATCH", location, b"half of it").status == 202
    assert payload.read_layout(lying) == pushed_files()
