"""podman against tinyreg. podman deletes nothing in a registry: HTTP does it here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyreg import Registry

from . import payload
from .ask import ask, delete, manifest, unpack
from .clients import Client

FILES = {"etc/motd": b"hello\n", "opt/noise": payload.noise("podman")}
PLAIN = "--tls-verify=false"


@pytest.fixture
def app(served: Registry, podman: Client, tmp_path: Path) -> str:
    """`team/app:1.0`, imported from a tar and pushed."""
    ref = served.ref("team/app:1.0")
    (tmp_path / "layer.tar").write_bytes(payload.tar(FILES))
    podman("import", tmp_path / "layer.tar", ref)
    podman("push", PLAIN, ref)
    return ref


def image_id(podman: Client, ref: str) -> str:
    return f"sha256:{podman.text('image', 'inspect', '--format', '{{.Id}}', ref)}"


def forget(podman: Client, *refs: str) -> None:
    """Remove the images here, so that the next pull has to fetch all of it."""
    podman("rmi", *refs)
    assert podman.lines("images", "--all", "--quiet") == []


def test_a_pushed_image_is_the_imported_one(served: Registry, podman: Client, app: str) -> None:
    image = unpack(served, "team/app", "1.0")
    assert image.config == image_id(podman, app)
    assert image.files == FILES


def test_a_pushed_image_is_pulled_back_the_same(podman: Client, app: str, tmp_path: Path) -> None:
    pushed = image_id(podman, app)
    forget(podman, app)
    podman("pull", PLAIN, app)
    assert image_id(podman, app) == pushed
    container = podman.text("create", app, "/none")
    podman("export", "--output", tmp_path / "rootfs.tar", container)
    rootfs = payload.untar((tmp_path / "rootfs.tar").read_bytes())
    assert {path: rootfs[path] for path in FILES} == FILES


def test_an_image_is_pulled_by_its_digest(served: Registry, podman: Client, app: str) -> None:
    digest, pushed = payload.digest(manifest(served, "team/app", "1.0").body), image_id(podman, app)
    forget(podman, app)
    ref = served.ref(f"team/app@{digest}")
    podman("pull", PLAIN, ref)
    assert image_id(podman, ref) == pushed


def test_a_search_lists_the_tags(served: Registry, podman: Client, app: str) -> None:
    podman("tag", app, served.ref("team/app:latest"))
    podman("push", PLAIN, served.ref("team/app:latest"))
    table = podman.lines("search", PLAIN, "--list-tags", served.ref("team/app"))
    assert [line.split() for line in table[1:]] == [[served.ref("team/app"), tag] for tag in ("1.0", "latest")]


def test_the_docker_format_is_pushed_with_its_types(served: Registry, podman: Client, app: str) -> None:
    podman("push", PLAIN, "--format", "v2s2", app, served.ref("team/app:docker"))
    assert manifest(served, "team/app", "docker").headers["Content-Type"] == payload.DOCKER_MANIFEST
    assert unpack(served, "team/app", "docker").files == FILES


def test_a_manifest_list_is_pushed_with_all_its_images(
    served: Registry, podman: Client, app: str, tmp_path: Path
) -> None:
    multi, arm = served.ref("team/app:multi"), payload.image({"etc/motd": b"arm\n"}, architecture="arm64")
    layout = payload.write_layout(tmp_path / "arm", {"arm": arm})
    podman("manifest", "create", "multi")
    podman("manifest", "add", PLAIN, "multi", f"docker://{app}")
    podman("manifest", "add", PLAIN, "multi", f"oci:{layout}:arm")
    podman("manifest", "push", PLAIN, "--all", "--format", "oci", "multi", f"docker://{multi}")
    assert manifest(served, "team/app", "multi").headers["Content-Type"] == payload.OCI_INDEX
    assert unpack(served, "team/app", arm.digest).files == {"etc/motd": b"arm\n"}


def test_a_pull_of_what_was_deleted_fails(served: Registry, podman: Client, app: str) -> None:
    delete(served, "team/app", payload.digest(manifest(served, "team/app", "1.0").body))
    assert ask(served, "GET", "/v2/team/app/tags/list").body == b'{"name":"team/app","tags":[]}'
    forget(podman, app)
    assert "manifest unknown" in podman.refused("pull", PLAIN, app)
