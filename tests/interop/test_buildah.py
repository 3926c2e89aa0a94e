"""buildah against tinyreg. buildah lists and deletes nothing in a registry: HTTP does it here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyreg import Registry

from . import payload
from .ask import ask, delete, manifest, unpack
from .clients import Client

FILES = {"etc/motd": b"hello\n", "opt/noise": payload.noise("buildah")}
PLAIN = "--tls-verify=false"


@pytest.fixture
def app(served: Registry, buildah: Client, tmp_path: Path) -> str:
    """`team/app:1.0`, built from scratch and pushed."""
    ref = served.ref("team/app:1.0")
    (tmp_path / "layer.tar").write_bytes(payload.tar(FILES))
    container = buildah.text("from", "scratch")
    buildah("add", container, tmp_path / "layer.tar", "/")
    buildah("commit", "--rm", "--timestamp", "0", container, ref)
    buildah("push", PLAIN, ref)
    return ref


def image_id(buildah: Client, ref: str) -> str:
    return f"sha256:{buildah.text('inspect', '--type', 'image', '--format', '{{.FromImageID}}', ref)}"


def forget(buildah: Client, *refs: str) -> None:
    """Remove the images here, so that the next pull has to fetch all of it."""
    buildah("rmi", *refs)
    assert buildah.json("images", "--all", "--json") in (None, [])


def test_a_pushed_image_is_the_built_one(served: Registry, buildah: Client, app: str) -> None:
    image = unpack(served, "team/app", "1.0")
    assert image.config == image_id(buildah, app)
    assert image.files == FILES


def test_a_pushed_image_is_pulled_back_the_same(buildah: Client, app: str) -> None:
    pushed = image_id(buildah, app)
    forget(buildah, app)
    buildah("pull", PLAIN, app)
    assert image_id(buildah, app) == pushed
    rootfs = Path(buildah.text("mount", buildah.text("from", "--pull=false", app)))
    assert {path: (rootfs / path).read_bytes() for path in FILES} == FILES


def test_a_build_on_a_pulled_base_is_pushed_with_both_layers(
    served: Registry, buildah: Client, app: str, tmp_path: Path
) -> None:
    forget(buildah, app)
    (tmp_path / "more").write_bytes(b"more\n")
    (tmp_path / "Containerfile").write_text(f"FROM {app}\nCOPY more /etc/more\n")
    buildah("build", PLAIN, "--layers", "--tag", served.ref("built:1"), tmp_path)
    buildah("push", PLAIN, served.ref("built:1"))
    assert unpack(served, "built", "1").files == {**FILES, "etc/more": b"more\n"}


def test_a_manifest_list_is_pushed_with_its_image(served: Registry, buildah: Client, app: str) -> None:
    multi = served.ref("team/app:multi")
    buildah("manifest", "create", "multi", app)
    buildah("manifest", "push", PLAIN, "--all", "--format", "oci", "multi", f"docker://{multi}")
    assert manifest(served, "team/app", "multi").headers["Content-Type"] == payload.OCI_INDEX
    assert served.repository("team/app").tags() == ["1.0", "multi"]


def test_a_pull_of_what_was_deleted_fails(served: Registry, buildah: Client, app: str) -> None:
    delete(served, "team/app", payload.digest(manifest(served, "team/app", "1.0").body))
    assert ask(served, "GET", "/v2/team/app/tags/list").body == b'{"name":"team/app","tags":[]}'
    forget(buildah, app)
    assert "manifest unknown" in buildah.refused("pull", PLAIN, app)
