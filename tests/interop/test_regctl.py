"""regctl (regclient) against tinyreg."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyreg import Registry

from . import payload
from .ask import ask, assert_serves
from .clients import Client

IMAGE = payload.image({"etc/motd": b"hello\n"}, {"opt/noise": payload.noise("regctl")})
MULTI = payload.index(amd64=IMAGE, arm64=payload.image({"etc/motd": b"hello, arm\n"}, architecture="arm64"))
SBOM = b'{"spdxVersion": "SPDX-2.3"}'


@pytest.fixture
def regctl(regctl: Client, served: Registry) -> Client:
    """regctl, told that the registry speaks no TLS."""
    return regctl.sandbox.client("regctl", "--host", f"reg={served.host},tls=disabled")


@pytest.fixture
def app(served: Registry, regctl: Client, tmp_path: Path) -> str:
    """`team/app:1.0`, pushed from a layout."""
    ref = served.ref("team/app:1.0")
    regctl("image", "copy", f"ocidir://{payload.write_layout(tmp_path / 'in', {'1.0': IMAGE})}:1.0", ref)
    return ref


def test_a_pushed_image_is_pulled_back_byte_for_byte(
    served: Registry, regctl: Client, app: str, tmp_path: Path
) -> None:
    assert_serves(served, "team/app", "1.0", IMAGE)
    regctl("image", "copy", app, f"ocidir://{tmp_path}/out:1.0")
    assert payload.read_layout(tmp_path / "out") == IMAGE.files()


def test_an_index_is_pushed_and_pulled_with_all_its_images(served: Registry, regctl: Client, tmp_path: Path) -> None:
    layout = payload.write_layout(tmp_path / "in", {"multi": MULTI})
    ref = served.ref("team/app:multi")
    regctl("image", "copy", f"ocidir://{layout}:multi", ref)
    assert_serves(served, "team/app", "multi", MULTI)
    assert regctl.text("image", "digest", "--platform", "linux/arm64", ref) == MULTI.children[1].digest
    regctl("image", "copy", ref, f"ocidir://{tmp_path}/out:multi")
    assert payload.read_layout(tmp_path / "out") == MULTI.files()


def test_manifests_come_as_they_were_pushed(regctl: Client, app: str) -> None:
    assert regctl("manifest", "get", "--format", "raw-body", app) == IMAGE.manifest
    assert regctl.text("manifest", "head", app) == IMAGE.digest


def test_an_export_holds_the_image_and_an_import_pushes_it(
    served: Registry, regctl: Client, app: str, tmp_path: Path
) -> None:
    regctl("image", "export", app, tmp_path / "app.tar")
    exported = payload.untar((tmp_path / "app.tar").read_bytes())
    blobs = {name.replace("blobs/sha256/", "sha256:"): data for name, data in exported.items()}
    assert {name: blobs[name] for name in IMAGE.files()} == IMAGE.files()
    regctl("image", "import", served.ref("imported:1"), tmp_path / "app.tar")
    assert_serves(served, "imported", "1", IMAGE)


def test_tags_and_repositories_are_listed(served: Registry, regctl: Client, app: str) -> None:
    regctl("image", "copy", app, served.ref("team/app:latest"))
    regctl("image", "copy", app, served.ref("other:2"))
    assert regctl.lines("tag", "ls", served.ref("team/app")) == ["1.0", "latest"]
    assert regctl.lines("repo", "ls", served.host) == ["other", "team/app"]


def test_a_blob_is_put_got_and_deleted(served: Registry, regctl: Client) -> None:
    data = payload.noise("regctl's blob")
    digest = payload.digest(data)
    assert regctl("blob", "put", served.ref("team/app"), stdin=data).decode().strip() == digest
    assert regctl("blob", "get", served.ref("team/app"), digest) == data
    regctl("blob", "delete", served.ref("team/app"), digest)
    assert ask(served, "GET", f"/v2/team/app/blobs/{digest}").status == 404


def test_an_artifact_is_listed_as_a_referrer_of_its_subject_until_it_is_deleted(
    served: Registry, regctl: Client, app: str
) -> None:
    kind = ("--artifact-type", "application/spdx+json")
    regctl("artifact", "put", *kind, "--subject", app, "--file-media-type", "text/spdx+json", stdin=SBOM)
    regctl("artifact", "put", "--artifact-type", "text/x-other", "--subject", app, stdin=b"other")
    assert len(referrers(regctl, app)) == 2
    (sbom,) = referrers(regctl, app, "--filter-artifact-type", "application/spdx+json")
    assert regctl("artifact", "get", served.ref(f"team/app@{sbom}")) == SBOM
    assert served.repository("team/app").tags() == ["1.0"]  # no fallback tag: the registry serves referrers itself
    regctl("manifest", "delete", "--referrers", served.ref(f"team/app@{sbom}"))
    assert sbom not in referrers(regctl, app)


def test_a_copy_with_referrers_takes_them_along(served: Registry, regctl: Client, app: str) -> None:
    regctl("artifact", "put", "--artifact-type", "text/x-note", "--subject", app, stdin=b"note")
    regctl("image", "copy", "--referrers", app, served.ref("copies/app:1.0"))
    assert_serves(served, "copies/app", "1.0", IMAGE)
    assert referrers(regctl, served.ref("copies/app:1.0")) == referrers(regctl, app)


def test_deleting_a_tag_leaves_the_manifest(served: Registry, regctl: Client, app: str) -> None:
    regctl("image", "copy", app, served.ref("team/app:latest"))
    regctl("tag", "delete", app)
    assert regctl.lines("tag", "ls", served.ref("team/app")) == ["latest"]
    assert "not found" in regctl.refused("manifest", "head", app)
    assert_serves(served, "team/app", IMAGE.digest, IMAGE)


def test_deleting_a_manifest_takes_its_tags_with_it(served: Registry, regctl: Client, app: str) -> None:
    regctl("manifest", "delete", served.ref(f"team/app@{IMAGE.digest}"))
    assert regctl.lines("tag", "ls", served.ref("team/app")) == []
    assert "not found" in regctl.refused("image", "copy", app, "ocidir://gone:1.0")


def referrers(regctl: Client, ref: str, *flags: str) -> list[str]:
    """The digests of what refers to that image."""
    listed = regctl.json("artifact", "list", "--format", "{{json .}}", *flags, ref)
    return [entry["digest"] for entry in listed["descriptors"]]
