"""oras against tinyreg."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyreg import Registry

from . import payload
from .ask import ask, assert_serves, blob, manifest
from .clients import Client

CONTENT = payload.noise("oras")
SBOM = b'{"spdxVersion": "SPDX-2.3"}'
CREATED = "org.opencontainers.image.created=2000-01-01T00:00:00Z"  # oras writes the time of day without it
PLAIN = "--plain-http"


@pytest.fixture
def app(served: Registry, oras: Client, tmp_path: Path) -> str:
    """`team/app:1.0`, an artifact of one file, `data.bin`."""
    (tmp_path / "data.bin").write_bytes(CONTENT)
    ref = served.ref("team/app:1.0")
    kind = ("--artifact-type", "application/x-test", "--annotation", CREATED)
    oras("push", PLAIN, *kind, ref, "data.bin:application/x-data", cwd=tmp_path)
    return ref


def attach(oras: Client, ref: str, folder: Path) -> None:
    """Attach `sbom.json` to the artifact."""
    (folder / "sbom.json").write_bytes(SBOM)
    kind = ("--artifact-type", "application/spdx+json", "--annotation", CREATED)
    oras("attach", PLAIN, *kind, ref, "sbom.json:text/spdx+json", cwd=folder)


def discover(oras: Client, ref: str) -> list[str]:
    """The digests of what refers to the artifact."""
    found = oras.json("discover", PLAIN, "--format", "json", ref)["referrers"]
    return [entry["digest"] for entry in found or []]


def test_a_pushed_file_is_pulled_back_byte_for_byte(served: Registry, oras: Client, app: str, tmp_path: Path) -> None:
    assert blob(served, "team/app", payload.digest(CONTENT)) == CONTENT
    oras("pull", PLAIN, "--output", tmp_path / "out", app)
    assert (tmp_path / "out/data.bin").read_bytes() == CONTENT


def test_the_manifest_comes_as_it_was_pushed(served: Registry, oras: Client, app: str) -> None:
    pushed = manifest(served, "team/app", "1.0").body
    assert oras("manifest", "fetch", PLAIN, app) == pushed
    assert oras.text("resolve", PLAIN, app) == payload.digest(pushed)


def test_an_image_copied_from_a_layout_and_back_keeps_every_byte(
    served: Registry, oras: Client, tmp_path: Path
) -> None:
    multi = payload.index(
        amd64=payload.image({"etc/motd": b"hello\n"}),
        arm64=payload.image({"etc/motd": b"hello, arm\n"}, architecture="arm64"),
    )
    layout, ref = payload.write_layout(tmp_path / "in", {"1.0": multi}), served.ref("team/image:1.0")
    oras("cp", "--from-oci-layout", "--to-plain-http", f"{layout}:1.0", ref)
    assert_serves(served, "team/image", "1.0", multi)
    oras("cp", "--from-plain-http", "--to-oci-layout", ref, f"{tmp_path}/out:1.0")
    assert payload.read_layout(tmp_path / "out") == multi.files()


def test_tags_and_repositories_are_listed(served: Registry, oras: Client, app: str) -> None:
    oras("tag", PLAIN, app, "latest", "2.0")
    oras("cp", "--from-plain-http", "--to-plain-http", app, served.ref("other:2"))
    assert oras.lines("repo", "tags", PLAIN, served.ref("team/app")) == ["1.0", "2.0", "latest"]
    assert oras.lines("repo", "ls", PLAIN, served.host) == ["other", "team/app"]


def test_what_is_attached_is_discovered_and_leaves_no_tag(
    served: Registry, oras: Client, app: str, tmp_path: Path
) -> None:
    assert discover(oras, app) == []
    attach(oras, app, tmp_path)
    (found,) = discover(oras, app)
    oras("pull", PLAIN, "--output", tmp_path / "out", served.ref(f"team/app@{found}"))
    assert (tmp_path / "out/sbom.json").read_bytes() == SBOM
    assert oras.lines("repo", "tags", PLAIN, served.ref("team/app")) == ["1.0"]


def test_a_recursive_copy_takes_what_is_attached_along(
    served: Registry, oras: Client, app: str, tmp_path: Path
) -> None:
    attach(oras, app, tmp_path)
    copy = served.ref("copies/app:1.0")
    said = oras("cp", "--recursive", "--from-plain-http", "--to-plain-http", app, copy)
    assert b"Mounted" in said
    assert oras("manifest", "fetch", PLAIN, copy) == oras("manifest", "fetch", PLAIN, app)
    assert discover(oras, copy) == discover(oras, app)
    assert blob(served, "copies/app", payload.digest(CONTENT)) == CONTENT


def test_a_blob_is_pushed_fetched_and_deleted(served: Registry, oras: Client, tmp_path: Path) -> None:
    data = payload.noise("oras's blob")
    (tmp_path / "blob").write_bytes(data)
    ref = served.ref(f"team/app@{payload.digest(data)}")
    oras("blob", "push", PLAIN, ref, tmp_path / "blob")
    assert oras("blob", "fetch", PLAIN, "--output", "-", ref) == data
    oras("blob", "delete", PLAIN, "--force", ref)
    assert ask(served, "GET", f"/v2/team/app/blobs/{payload.digest(data)}").status == 404
    assert "not found" in oras.refused("blob", "fetch", PLAIN, "--output", "-", ref)


def test_a_pushed_manifest_stands_under_all_its_tags(served: Registry, oras: Client, app: str, tmp_path: Path) -> None:
    pushed = oras("manifest", "fetch", PLAIN, app)
    (tmp_path / "manifest.json").write_bytes(pushed)
    oras("manifest", "push", PLAIN, served.ref("team/app:a,b"), tmp_path / "manifest.json")
    assert manifest(served, "team/app", "a").body == pushed
    assert manifest(served, "team/app", "b").body == pushed


def test_deleting_a_manifest_takes_its_tags_with_it(served: Registry, oras: Client, app: str) -> None:
    oras("tag", PLAIN, app, "latest")
    oras("manifest", "delete", PLAIN, "--force", app)
    assert oras.lines("repo", "tags", PLAIN, served.ref("team/app")) == []
    assert "not found" in oras.refused("pull", PLAIN, app)
