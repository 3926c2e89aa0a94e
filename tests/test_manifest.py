from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreg.errors import DigestInvalid, ManifestInvalid
from tinyreg.manifest import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Manifest,
)
from tinyreg.reference import Digest

A, B, C = (Digest.of(text) for text in (b"a", b"b", b"c"))
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def descriptor(digest: str = A, media_type: str = LAYER, size: int = 1, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size, **more}


def image(**more: Any) -> dict[str, Any]:
    table = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(B, OCI_CONFIG), "layers": []}
    return {key: value for key, value in {**table, **more}.items() if value is not ...}


def index(**more: Any) -> dict[str, Any]:
    table = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    return {key: value for key, value in {**table, **more}.items() if value is not ...}


def parse(table: Any, media_type: str | None = None) -> Manifest:
    return Manifest.parse(json.dumps(table).encode(), media_type)


# Descriptors


def test_a_full_descriptor_s_fields_are_read() -> None:
    found = Descriptor.from_json(
        descriptor(
            artifactType="a/t",
            annotations={"k": "v"},
            platform={"os": "linux"},
            urls=["https://x"],
            data="e30=",
            extra=1,
        )
    )
    assert found == Descriptor(LAYER, A, 1, "a/t", {"k": "v"}, {"os": "linux"}, ("https://x",))


def test_a_descriptor_without_a_type_has_an_empty_one() -> None:
    assert Descriptor.from_json({"digest": A, "size": 0}) == Descriptor("", A, 0)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "sha256",
        {},
        descriptor(size=-1),
        descriptor(size=True),
        descriptor(size=1.0),  # type: ignore[arg-type]
        descriptor(size="1"),  # type: ignore[arg-type]
        descriptor(digest="sha256:short"),
        descriptor(digest=f"sha256:{'A' * 64}"),
        descriptor(digest=7),  # type: ignore[arg-type]
        descriptor(media_type=None),  # type: ignore[arg-type]
        descriptor(artifactType=1),
        descriptor(annotations=[]),
        descriptor(annotations={"a": 1}),
        descriptor(annotations={"a": None}),
        descriptor(platform="linux"),
        descriptor(urls="https://x"),
        descriptor(urls=[1]),
    ],
    ids=repr,
)
def test_a_malformed_descriptor_is_refused(value: Any) -> None:  # L4
    with pytest.raises(ManifestInvalid):
        Descriptor.from_json(value)


texts = st.text(max_size=5)
descriptors = st.builds(
    Descriptor,
    texts,
    st.sampled_from([A, B, C]),
    st.integers(0, 2**63),
    st.none() | st.text(min_size=1, max_size=5),
    st.dictionaries(texts, texts, max_size=2),
    st.none() | st.dictionaries(texts, texts, min_size=1, max_size=2),
    st.lists(texts, max_size=2).map(tuple),
)


@given(descriptors)
def test_a_descriptor_written_and_read_is_the_same(original: Descriptor) -> None:
    assert Descriptor.from_json(json.loads(json.dumps(original.to_json()))) == original


def test_a_descriptor_s_json_leaves_out_what_is_empty() -> None:
    assert Descriptor("m", A, 3).to_json() == {"mediaType": "m", "digest": A, "size": 3}


@pytest.mark.parametrize(
    ("media_type", "urls", "expected"),
    [
        (LAYER, (), True),
        (LAYER, ("https://x",), False),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", (), False),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", (), False),
    ],
    ids=["plain", "with urls", "oci", "docker"],
)
def test_what_is_fetched_from_elsewhere_need_not_be_pushed(
    media_type: str, urls: tuple[str, ...], expected: bool
) -> None:  # E6
    assert Descriptor(media_type, A, 1, urls=urls).distributable is expected


# What is refused (E3, E5, issue 3.5)

REFUSED: dict[str, tuple[bytes, str | None]] = {
    "no JSON": (b"not json", OCI_MANIFEST),
    "empty": (b"", OCI_MANIFEST),
    "cut off": (json.dumps(image()).encode()[:-1], OCI_MANIFEST),
    "no UTF-8": (b'{"schemaVersion": 2, "a": "\xff"}', OCI_MANIFEST),
    "a list": (b"[]", OCI_MANIFEST),
    "null": (b"null", OCI_MANIFEST),
    "true": (b"true", OCI_MANIFEST),
    "a number": (b"2", OCI_MANIFEST),
    "not a number": (b'{"schemaVersion": 2, "a": NaN}', OCI_MANIFEST),
    "infinity": (b'{"schemaVersion": 2, "a": -Infinity}', OCI_MANIFEST),
    "a number without end": (b'{"schemaVersion": ' + b"9" * 9999 + b"}", OCI_MANIFEST),
    "nested without end": (b'{"a":' * 100_000, OCI_MANIFEST),
    "no type at all": (json.dumps(image(mediaType=...)).encode(), None),
    "types that contradict": (json.dumps(image()).encode(), OCI_INDEX),
    "oci and docker": (json.dumps(image()).encode(), DOCKER_MANIFEST),
    "a type that is no string": (json.dumps(image(mediaType=1)).encode(), OCI_MANIFEST),
    "no schema version": (json.dumps(image(schemaVersion=...)).encode(), OCI_MANIFEST),
    "schema version 1": (json.dumps(image(schemaVersion=1)).encode(), OCI_MANIFEST),
    "schema version as text": (json.dumps(image(schemaVersion="2")).encode(), OCI_MANIFEST),
    "an image with manifests": (json.dumps(image(manifests=[])).encode(), OCI_MANIFEST),
    "an image with fsLayers": (json.dumps(image(fsLayers=[])).encode(), OCI_MANIFEST),
    "an index with layers": (json.dumps(index(layers=[])).encode(), OCI_INDEX),
    "an index with a config": (json.dumps(index(config=descriptor())).encode(), OCI_INDEX),
    "schema 1": (b'{"schemaVersion": 1}', "application/vnd.docker.distribution.manifest.v1+json"),
    "signed schema 1": (b'{"schemaVersion": 1}', "application/vnd.docker.distribution.manifest.v1+prettyjws"),
    "a bad config": (json.dumps(image(config=[])).encode(), OCI_MANIFEST),
    "a bad layer": (json.dumps(image(layers=[{}])).encode(), OCI_MANIFEST),
    "layers that are no list": (json.dumps(image(layers={})).encode(), OCI_MANIFEST),
    "a bad child": (json.dumps(index(manifests=[1])).encode(), OCI_INDEX),
    "a bad subject": (json.dumps(image(subject={"digest": "x"})).encode(), OCI_MANIFEST),
    "a bad artifactType": (json.dumps(image(artifactType=1)).encode(), OCI_MANIFEST),
    "a bad annotation": (json.dumps(image(annotations={"a": 1})).encode(), OCI_MANIFEST),
}


@pytest.mark.parametrize(("data", "media_type"), REFUSED.values(), ids=REFUSED)
def test_a_malformed_manifest_is_refused(data: bytes, media_type: str | None) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        Manifest.parse(data, media_type)
    assert len(caught.value.message) < 500


def test_a_manifest_that_is_not_what_its_digest_names_is_refused() -> None:  # E2
    with pytest.raises(DigestInvalid):
        Manifest.parse(json.dumps(image()).encode(), OCI_MANIFEST, A)


# What is taken (E4)

TAKEN: dict[str, Any] = {
    "an image": image(),
    "no layers at all": image(layers=...),
    "no config": image(config=...),
    "null for what is optional": image(config=None, layers=None, subject=None, annotations=None, artifactType=None),
    "an unknown config type": image(config=descriptor(B, "application/x-mine")),
    "unknown fields": image(extra={"a": [1]}),
    "data in a descriptor": image(layers=[descriptor(data="e30=")]),
    "an empty index": index(),
    "an index in an index": index(manifests=[descriptor(A, OCI_INDEX)]),
    "a docker image": image(mediaType=DOCKER_MANIFEST, config=descriptor(B, DOCKER_CONFIG)),
    "a docker list": index(mediaType=DOCKER_LIST),
    "something else": {"mediaType": "application/x-mine", "layers": "of paint", "manifests": 7},
}


@pytest.mark.parametrize("table", TAKEN.values(), ids=TAKEN)
@pytest.mark.parametrize("stated", [True, False], ids=["with Content-Type", "by its mediaType"])
def test_a_well_formed_manifest_is_kept_byte_by_byte_under_its_digest(table: Any, stated: bool) -> None:
    data = json.dumps(table, indent=3).encode() + b"\n"
    manifest = Manifest.parse(data, table["mediaType"] if stated else None)
    assert manifest.data == data
    assert manifest.size == len(data)
    assert manifest.digest == Digest.of(data)
    assert manifest.media_type == table["mediaType"]


def test_a_manifest_pushed_under_sha512_keeps_that_digest() -> None:  # A7
    data = json.dumps(image()).encode()
    digest = Digest.of(data, "sha512")
    assert Manifest.parse(data, OCI_MANIFEST, digest).digest == digest


def test_the_content_type_says_what_a_manifest_without_a_type_is() -> None:
    assert parse(image(mediaType=...), OCI_MANIFEST).media_type == OCI_MANIFEST
    assert parse(index(mediaType=...), DOCKER_LIST).is_index


# What it says


def test_an_image_s_fields_are_read() -> None:
    manifest = parse(
        image(
            layers=[descriptor(A), descriptor(C, size=2)], subject=descriptor(C, OCI_MANIFEST), annotations={"k": "v"}
        )
    )
    assert manifest.config == Descriptor(OCI_CONFIG, B, 1)
    assert manifest.layers == (Descriptor(LAYER, A, 1), Descriptor(LAYER, C, 2))
    assert manifest.subject == Descriptor(OCI_MANIFEST, C, 1)
    assert manifest.annotations == {"k": "v"}
    assert manifest.manifests == ()
    assert [blob.digest for blob in manifest.blobs] == [B, A, C]
    assert (manifest.is_known, manifest.is_index) == (True, False)
    assert manifest.descriptor == Descriptor(OCI_MANIFEST, manifest.digest, manifest.size)


def test_an_index_s_fields_are_read() -> None:
    manifest = parse(index(manifests=[descriptor(A, OCI_MANIFEST, platform={"os": "linux"})]))
    assert manifest.manifests == (Descriptor(OCI_MANIFEST, A, 1, platform={"os": "linux"}),)
    assert list(manifest.blobs) == []
    assert (manifest.config, manifest.layers, manifest.subject, manifest.annotations) == (None, (), None, {})
    assert (manifest.is_known, manifest.is_index) == (True, True)


def test_of_an_unknown_type_only_the_json_is_read() -> None:
    manifest = parse({"mediaType": "application/x-mine", "a": 1})
    assert manifest.json == {"mediaType": "application/x-mine", "a": 1}
    assert (manifest.is_known, manifest.is_index) == (False, False)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (image(), OCI_CONFIG),
        (image(artifactType="application/x-sbom"), "application/x-sbom"),
        (image(artifactType="application/x-sbom", config=descriptor(B, OCI_EMPTY)), "application/x-sbom"),
        (image(artifactType=""), OCI_CONFIG),
        (image(config=...), None),
        (index(), None),
        (index(artifactType="application/x-set"), "application/x-set"),
        (index(artifactType=""), None),
    ],
    ids=[
        *("config's", "its own", "its own over an empty config", "empty: config's", "neither"),
        *("index: none", "index: its own", "index: empty"),
    ],
)
def test_the_artifact_type_is_the_manifest_s_else_its_config_s(table: Any, expected: str | None) -> None:  # G3
    assert parse(table).artifact_type == expected


def test_a_referrers_list_shows_type_artifact_type_and_annotations() -> None:  # G3
    manifest = parse(image(artifactType="a/t", annotations={"k": "v"}, subject=descriptor()))
    assert manifest.as_referrer == Descriptor(OCI_MANIFEST, manifest.digest, manifest.size, "a/t", {"k": "v"})


def test_a_manifest_that_lies_is_made_unread_and_raises_when_asked() -> None:
    manifest = Manifest(b"not json", A, OCI_MANIFEST)
    assert manifest.data == b"not json"
    with pytest.raises(ManifestInvalid):
        _ = manifest.json


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | texts,
        lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
        max_leaves=5,
    )
)
def test_whatever_stands_in_a_field_is_read_or_refused(value: Any) -> None:
    for key in ("config", "layers", "subject", "annotations", "artifactType", "mediaType", "schemaVersion"):
        try:
            manifest = parse(image(**{key: value}), OCI_MANIFEST)
        except ManifestInvalid:
            continue
        assert manifest.json == image(**{key: value})
