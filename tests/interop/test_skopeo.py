"""skopeo (containers/image) against tinyreg."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinyreg import Registry

from . import payload
from .ask import assert_serves, manifest, unpack
from .clients import Client

FILES = {"etc/motd": b"hello\n", "opt/noise": payload.noise("skopeo")}
IMAGE = payload.image(FILES, {"etc/more": b"more\n"})
MULTI = payload.index(amd64=IMAGE, arm64=payload.image({"etc/motd": b"hello, arm\n"}, architecture="arm64"))
FROM, TO = "--src-tls-verify=false", "--dest-tls-verify=false"
PLAIN = "--tls-verify=false"


@pytest.fixture
def app(served: Registry, skopeo: Client, tmp_path: Path) -> str:
    """`team/app:1.0`, pushed from a layout; named as skopeo does, with its transport."""
    layout, ref = payload.write_layout(tmp_path / "in", {"1.0": IMAGE}), f"docker://{served.ref('team/app:1.0')}"
    skopeo("copy", TO, f"oci:{layout}:1.0", ref)
    return ref


def test_a_pushed_image_is_pulled_back_byte_for_byte(
    served: Registry, skopeo: Client, app: str, tmp_path: Path
) -> None:
    assert_serves(served, "team/app", "1.0", IMAGE)
    skopeo("copy", FROM, app, f"oci:{tmp_path}/out:1.0")
    assert payload.read_layout(tmp_path / "out") == IMAGE.files()


def test_an_index_is_pushed_and_pulled_with_all_its_images(served: Registry, skopeo: Client, tmp_path: Path) -> None:
    layout = payload.write_layout(tmp_path / "in", {"multi": MULTI})
    ref = f"docker://{served.ref('team/app:multi')}"
    skopeo("copy", "--all", TO, f"oci:{layout}:multi", ref)
    assert_serves(served, "team/app", "multi", MULTI)
    skopeo("copy", "--all", FROM, ref, f"oci:{tmp_path}/out:multi")
    assert payload.read_layout(tmp_path / "out") == MULTI.files()


def test_one_image_of_an_index_is_pulled_by_its_platform(served: Registry, skopeo: Client, tmp_path: Path) -> None:
    layout = payload.write_layout(tmp_path / "in", {"multi": MULTI})
    ref = f"docker://{served.ref('team/app:multi')}"
    skopeo("copy", "--all", TO, f"oci:{layout}:multi", ref)
    arm = skopeo.sandbox.client("skopeo", "--override-arch", "arm64")
    arm("copy", FROM, ref, f"dir:{tmp_path}/out")
    assert (tmp_path / "out/manifest.json").read_bytes() == MULTI.children[1].manifest


def test_an_image_is_pulled_by_its_digest(served: Registry, skopeo: Client, app: str, tmp_path: Path) -> None:
    skopeo("copy", FROM, f"docker://{served.ref(f'team/app@{IMAGE.digest}')}", f"oci:{tmp_path}/out:1.0")
    assert payload.read_layout(tmp_path / "out") == IMAGE.files()


def test_inspect_tells_digest_tags_and_layers(skopeo: Client, app: str) -> None:
    told = skopeo.json("inspect", PLAIN, app)
    assert told["Digest"] == IMAGE.digest
    assert told["RepoTags"] == ["1.0"]
    assert told["Layers"] == [layer["digest"] for layer in json.loads(IMAGE.manifest)["layers"]]
    assert skopeo("inspect", "--raw", PLAIN, app) == IMAGE.manifest


def test_list_tags_lists_what_was_pushed(served: Registry, skopeo: Client, app: str) -> None:
    skopeo("copy", FROM, TO, app, f"docker://{served.ref('team/app:latest')}")
    repository = f"docker://{served.ref('team/app')}"
    assert skopeo.json("list-tags", PLAIN, repository)["Tags"] == ["1.0", "latest"]


def test_a_copy_to_another_repository_is_the_same_image(served: Registry, skopeo: Client, app: str) -> None:
    skopeo("copy", FROM, TO, app, f"docker://{served.ref('copies/app:1.0')}")
    assert_serves(served, "copies/app", "1.0", IMAGE)


def test_an_image_made_a_docker_one_keeps_its_files(served: Registry, skopeo: Client, app: str) -> None:
    skopeo("copy", FROM, TO, "--format", "v2s2", app, f"docker://{served.ref('team/app:docker')}")
    assert manifest(served, "team/app", "docker").headers["Content-Type"] == payload.DOCKER_MANIFEST
    assert unpack(served, "team/app", "docker").files == unpack(served, "team/app", "1.0").files


def test_sync_pulls_and_pushes_all_tags_of_a_repository(
    served: Registry, skopeo: Client, app: str, tmp_path: Path
) -> None:
    skopeo("copy", FROM, TO, app, f"docker://{served.ref('team/app:latest')}")
    skopeo("sync", "--src", "docker", "--dest", "dir", FROM, served.ref("team/app"), tmp_path / "all")
    skopeo("sync", "--src", "dir", "--dest", "docker", TO, tmp_path / "all", served.ref("mirror"))
    assert served.repository("mirror/app").tags() == ["1.0", "latest"]
    assert_serves(served, "mirror/app", "latest", IMAGE)


def test_delete_takes_the_manifest_and_so_all_its_tags(
    served: Registry, skopeo: Client, app: str, tmp_path: Path
) -> None:
    skopeo("copy", FROM, TO, app, f"docker://{served.ref('team/app:latest')}")
    skopeo("delete", PLAIN, app)
    assert skopeo.json("list-tags", PLAIN, f"docker://{served.ref('team/app')}")["Tags"] == []
    assert "manifest unknown" in skopeo.refused("copy", FROM, app, f"dir:{tmp_path}/gone")
