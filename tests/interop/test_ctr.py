"""containerd, by its `ctr`, against tinyreg. It lists and deletes nothing in a registry: HTTP does it here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyreg import Registry

from . import payload
from .ask import ask, assert_serves, delete
from .clients import Client, Sandbox
from .conftest import ctr_in

IMAGE = payload.image({"etc/motd": b"hello\n"}, {"opt/noise": payload.noise("ctr")})
MULTI = payload.index(amd64=IMAGE, arm64=payload.image({"etc/motd": b"hello, arm\n"}, architecture="arm64"))
PULL = ("images", "pull", "--plain-http", "--snapshotter", "native")
PUSH = ("images", "push", "--plain-http")


@pytest.fixture
def other(sandbox: Sandbox, containerd_socket: Path, ctr: Client) -> Client:
    """The same containerd in a namespace that has nothing yet, so that a pull has to fetch everything."""
    return ctr_in(sandbox, containerd_socket, f"{ctr.command[-1]}-other")


@pytest.fixture
def app(served: Registry, ctr: Client, tmp_path: Path) -> str:
    """`team/app:1.0`, imported from a layout and pushed."""
    return pushed(served, ctr, tmp_path, IMAGE)


def pushed(served: Registry, ctr: Client, folder: Path, image: payload.Image) -> str:
    """Push the image as `team/app:1.0`, from an import; returns the reference."""
    layout = payload.write_layout(folder / "in", {"1.0": image})
    files = {str(path.relative_to(layout)): path.read_bytes() for path in layout.rglob("*") if path.is_file()}
    (folder / "in.tar").write_bytes(payload.tar(files))
    base = served.ref("team/app")
    ctr("images", "import", "--all-platforms", "--no-unpack", "--base-name", base, folder / "in.tar")
    ctr(*PUSH, f"{base}:1.0")
    return f"{base}:1.0"


def content(ctr: Client) -> dict[str, bytes]:
    """All the content of the namespace, by digest."""
    return {digest: ctr("content", "get", digest) for digest in ctr.lines("content", "ls", "--quiet")}


def test_a_pushed_image_is_served_byte_for_byte(served: Registry, app: str) -> None:
    assert_serves(served, "team/app", "1.0", IMAGE)


def test_a_pushed_image_is_pulled_back_byte_for_byte(other: Client, app: str) -> None:
    assert content(other) == {}
    other(*PULL, app)
    assert content(other) == IMAGE.files()


def test_an_image_is_pulled_by_its_digest(served: Registry, other: Client, app: str) -> None:
    other(*PULL, served.ref(f"team/app@{IMAGE.digest}"))
    assert content(other) == IMAGE.files()


def test_content_is_fetched_without_being_unpacked(other: Client, app: str) -> None:
    other("content", "fetch", "--plain-http", app)
    assert content(other) == IMAGE.files()


def test_one_object_is_fetched_by_its_digest(served: Registry, ctr: Client, app: str) -> None:
    # containerd asks for each as a manifest first, and as a blob after the 404
    for digest, data in IMAGE.files().items():
        ref = served.ref(f"team/app@{digest}")
        assert ctr("content", "fetch-object", "--plain-http", ref, digest) == data


def test_an_index_is_pushed_and_pulled_with_all_its_images(
    served: Registry, ctr: Client, other: Client, tmp_path: Path
) -> None:
    ref = pushed(served, ctr, tmp_path, MULTI)
    assert_serves(served, "team/app", "1.0", MULTI)
    other(*PULL, "--all-platforms", ref)
    assert content(other) == MULTI.files()


def test_a_second_tag_and_another_repository_are_pushed(served: Registry, ctr: Client, app: str) -> None:
    for name in ("team/app:latest", "copies/app:1.0"):
        ctr("images", "tag", app, served.ref(name))
        ctr(*PUSH, served.ref(name))
    assert served.repository("team/app").tags() == ["1.0", "latest"]
    assert served.repositories() == ["copies/app", "team/app"]
    assert_serves(served, "copies/app", "1.0", IMAGE)


def test_a_pull_of_what_was_deleted_fails(served: Registry, other: Client, app: str) -> None:
    delete(served, "team/app", IMAGE.digest)
    assert ask(served, "GET", "/v2/team/app/tags/list").body == b'{"name":"team/app","tags":[]}'
    assert "not found" in other.refused(*PULL, app)
    assert content(other) == {}
