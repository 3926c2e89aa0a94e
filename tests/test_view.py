"""A repository as a test looks at it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyreg import Registry
from tinyreg.errors import BlobUnknown, DigestInvalid, ManifestUnknown, NameUnknown, TagInvalid
from tinyreg.layer import Files, Symlink
from tinyreg.layout import Loaded
from tinyreg.manifest import OCI_INDEX, OCI_MANIFEST
from tinyreg.reference import Digest
from tinyreg.view import View

LIE = "sha256:" + "0" * 64
OTHER = "sha512:" + "1" * 128


@pytest.fixture(params=["memory", "directory"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Registry:
    """A registry that does not listen; looking into it needs no HTTP."""
    return Registry(tmp_path if request.param == "directory" else None)


@pytest.fixture
def team(filled: Registry) -> View:
    return filled.repository("team/app")


def test_a_manifest_is_had_by_tag_and_by_digest(filled: Registry, team: View) -> None:
    image = filled.push_image("team/app:1.0", annotations={"a": "b"})
    for reference in ("1.0", image.digest):
        manifest = team.manifest(reference)
        assert (manifest.digest, manifest.size, manifest.annotations) == (image.digest, image.size, {"a": "b"})
    assert team.tags() == ["1.0"]
    with pytest.raises(ManifestUnknown):
        team.manifest("2.0")


def test_a_blob_is_had_as_bytes(filled: Registry, team: View) -> None:
    filled.push_image("team/app:1.0")
    config = team.manifest("1.0").config
    assert config is not None
    data = team.blob(config.digest)
    assert type(data) is bytes
    assert Digest.of(data) == config.digest
    with pytest.raises(BlobUnknown):
        team.blob(LIE)


def test_an_empty_repository_may_be_looked_into(team: View) -> None:
    assert team.referrers(LIE) == []
    with pytest.raises(NameUnknown):
        team.tags()
    with pytest.raises(NameUnknown):
        team.files("1.0")


def test_what_is_no_reference_or_digest_is_refused(team: View) -> None:
    with pytest.raises(TagInvalid):
        team.manifest("a/b")
    for ask in (team.manifest, team.blob, team.referrers):
        with pytest.raises(DigestInvalid):
            ask("sha256:short")


def test_files_are_the_layers_applied_with_whiteouts(filled: Registry, team: View) -> None:
    layers: list[Files] = [
        {"etc/motd": b"1", "etc/old": b""},
        {"etc/.wh.old": b"", "l": Symlink("etc")},
        {"etc/motd": b"2"},
    ]
    filled.push_image("team/app:1.0", layers)
    filled.push_image("team/app:plain", layers, compression="none")
    for tag in ("1.0", "plain"):
        assert team.files(tag) == {"etc/motd": b"2", "l": Symlink("etc")}


def test_files_of_an_index_are_those_of_the_platform_asked_for(filled: Registry, team: View) -> None:
    platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
    images = [filled.push_image("team/app", [{"p": each.encode()}], platform=each) for each in platforms]
    filled.push_index("team/app:multi", images)
    filled.push_index("team/app:list", images, docker=True)
    for tag in ("multi", "list"):
        assert team.files(tag) == {"p": b"linux/amd64"}
        for platform in platforms:
            assert team.files(tag, platform) == {"p": platform.encode()}


def test_an_index_without_the_platform_says_which_it_has(filled: Registry, team: View) -> None:
    arm = filled.push_image("team/app", platform="linux/arm/v7")
    sbom = filled.push_artifact("team/app", "application/x", {})
    filled.push_index("team/app:arm", [arm, sbom])
    filled.push_index("team/app:none", [sbom])
    with pytest.raises(LookupError, match=r"^the index has no image for linux/amd64: it has linux/arm/v7$"):
        team.files("arm")
    with pytest.raises(LookupError, match=r"for linux/arm: it has none$"):
        team.files("none", "linux/arm")


def test_files_of_a_layer_that_is_none_is_a_value_error(filled: Registry, team: View) -> None:
    filled.push_image("team/app:1.0", [b"\x1f\x8b no gzip"], compression="none")
    with pytest.raises(ValueError, match="damaged"):
        team.files("1.0")


def test_referrers_are_those_of_one_type_when_it_is_given(filled: Registry, team: View) -> None:
    image = filled.push_image("team/app:1.0")
    sbom = filled.push_artifact("team/app", "application/spdx+json", {"s": b"{}"}, subject=image)
    note = filled.push_artifact("team/app", "text/plain", {"n": b""}, subject=image)
    assert [each.digest for each in team.referrers(image.digest)] == [sbom.digest, note.digest]
    assert [each.digest for each in team.referrers(image.digest, "text/plain")] == [note.digest]


# put_raw


def test_a_raw_manifest_under_a_tag_is_kept_unread(team: View) -> None:
    digest = team.put_raw("bad", b"not json", media_type=OCI_MANIFEST)
    assert digest == Digest.of(b"not json")
    manifest = team.manifest("bad")
    assert (manifest.data, manifest.media_type, manifest.digest) == (b"not json", OCI_MANIFEST, digest)


def test_a_raw_manifest_may_be_said_to_have_another_digest(team: View) -> None:
    assert team.put_raw("bad", b"{}", media_type=OCI_MANIFEST, digest=LIE) == LIE
    assert team.manifest("bad").digest == LIE
    assert team.manifest(LIE).data == b"{}"


def test_a_raw_manifest_under_a_digest_has_that_one_and_no_tag(team: View) -> None:
    assert team.put_raw(LIE, b"x", media_type="text/plain", digest=OTHER) == LIE
    assert (team.manifest(LIE).data, team.tags()) == (b"x", [])


@pytest.mark.parametrize("digest", [LIE, OTHER])
def test_a_raw_blob_is_kept_under_any_digest(team: View, digest: str) -> None:
    assert team.put_raw(digest, b"not what it says") == digest
    assert team.blob(digest) == b"not what it says"


def test_a_raw_blob_takes_the_place_of_the_true_one(filled: Registry, team: View) -> None:
    filled.push_image("team/app:1.0")
    layer = team.manifest("1.0").layers[0]
    team.put_raw(layer.digest, b"swapped")
    assert team.blob(layer.digest) == b"swapped"


def test_a_raw_blob_under_a_tag_is_refused(team: View) -> None:
    with pytest.raises(ValueError, match="a blob has no tag: give 'bad' a media_type, or put the blob under its"):
        team.put_raw("bad", b"x")
    with pytest.raises(NameUnknown):
        team.tags()


@pytest.mark.parametrize(("reference", "digest"), [("a/b", None), ("sha256:x", None), ("tag", "md5:x")])
def test_raw_content_needs_a_proper_reference_all_the_same(team: View, reference: str, digest: str | None) -> None:
    with pytest.raises((TagInvalid, DigestInvalid)):
        team.put_raw(reference, b"x", media_type="text/plain", digest=digest)


# collect


def test_all_that_a_manifest_refers_to_is_collected_once_and_what_is_not_here_left_out(
    filled: Registry, team: View
) -> None:
    image = filled.push_image("team/app")
    index = filled.push_index("team/app:multi", [image, image])
    index_data = team.manifest("multi").data.replace(b'"manifests":[', b'"manifests":[' + _child(LIE) + b",")
    team.put_raw("sparse", index_data, media_type=OCI_INDEX)
    layers = team.manifest(image.digest).layers
    filled.store.delete_blob(team.name, layers[0].digest)
    found = Loaded()
    for tag in ("multi", "sparse", "multi"):
        team.collect(team.manifest(tag), found)
    config = team.manifest(image.digest).config
    assert config is not None
    assert found.blobs.keys() == {config.digest}
    assert found.manifests.keys() == {image.digest, index.digest, Digest.of(index_data)}


def _child(digest: str) -> bytes:
    return f'{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":1}}'.encode()
