from __future__ import annotations

from typing import Any

import pytest

from tinyreg.errors import ManifestBlobUnknown, ManifestInvalid
from tinyreg.manifest import OCI_CONFIG, Descriptor, Manifest
from tinyreg.store import Store
from tinyreg.store.checked import Checked, Rule, known_type, missing_blobs, missing_children
from tinyreg.store.memory import MemoryStore

from . import APP, DATA, DIGEST, MISSING, OTHER, V1, image, index, push

LAYER = "application/vnd.oci.image.layer.v1.tar"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"


def of(media_type: str = LAYER, digest: Any = MISSING, urls: tuple[str, ...] = ()) -> dict[str, Any]:
    return Descriptor(media_type, digest, 1, urls=urls).to_json()


def checked(*rules: Rule) -> Store:
    store = Checked(MemoryStore(), rules)
    push(store)
    return store


MISSES: dict[str, tuple[Rule, Manifest]] = {  # SPEC E6
    "a layer": (missing_blobs, image(layers=[of()])),
    "the same layer twice": (missing_blobs, image(layers=[of(), of()])),
    "one of two layers": (missing_blobs, image(layers=[of(digest=DIGEST), of()])),
    "the config": (missing_blobs, image(config=of(OCI_CONFIG))),
    "a child": (missing_children, index(manifests=[of(digest=MISSING)])),
}
HAS: dict[str, tuple[Rule, Manifest]] = {
    "its layers": (missing_blobs, image(layers=[of(digest=DIGEST)], config=of(OCI_CONFIG, DIGEST))),
    "no layers": (missing_blobs, image()),
    "a layer from elsewhere": (missing_blobs, image(layers=[of(FOREIGN)])),
    "a layer with urls": (missing_blobs, image(layers=[of(urls=("https://x",))])),
    "a subject to come": (missing_blobs, image(subject=Descriptor(LAYER, MISSING, 1))),
    "an index's subject to come": (missing_children, index(subject=of())),
    "a child that is a blob": (missing_children, index(manifests=[of(digest=DIGEST)])),
    "missing children, asked for blobs": (missing_blobs, index(manifests=[of()])),
    "missing layers, asked for children": (missing_children, image(layers=[of()])),
    "blobs of an unknown type": (missing_blobs, Manifest.parse(b'{"layers": [1]}', "application/x-mine")),
    "children of an unknown type": (missing_children, Manifest.parse(b'{"manifests": [1]}', "application/x-mine")),
}


@pytest.mark.parametrize(("rule", "manifest"), MISSES.values(), ids=MISSES)
def test_a_manifest_that_misses_something_is_refused_with_its_digest_and_not_kept(
    rule: Rule, manifest: Manifest
) -> None:
    store = checked(rule)
    with pytest.raises(ManifestBlobUnknown) as caught:
        store.put_manifest(APP, manifest, [V1])
    assert caught.value.digests == [MISSING]
    assert list(store.tags(APP)) == []


@pytest.mark.parametrize(("rule", "manifest"), MISSES.values(), ids=MISSES)
def test_the_same_manifest_is_taken_without_the_rule(rule: Rule, manifest: Manifest) -> None:
    store = checked()
    store.put_manifest(APP, manifest, [V1])
    assert store.resolve(APP, V1) == manifest.digest


@pytest.mark.parametrize(("rule", "manifest"), HAS.values(), ids=HAS)
def test_a_manifest_that_has_all_it_needs_is_taken(rule: Rule, manifest: Manifest) -> None:
    store = checked(rule)
    store.put_manifest(APP, manifest, [V1])
    assert store.resolve(APP, V1) == manifest.digest


def test_a_child_that_was_pushed_is_there() -> None:
    store = checked(missing_children)
    store.put_manifest(APP, image())
    store.put_manifest(APP, index(image()), [V1])
    assert store.resolve(APP, V1) == index(image()).digest


def test_a_blob_of_another_repository_is_missing_here() -> None:
    store = checked(missing_blobs)
    with pytest.raises(ManifestBlobUnknown):
        store.put_manifest(OTHER, image(layers=[of(digest=DIGEST)]), [V1])
    assert list(store.repositories()) == [APP]
    assert bytes(store.blob(APP, DIGEST)) == DATA


def test_every_rule_is_asked() -> None:
    store = checked(missing_children, missing_blobs)
    for manifest in (image(layers=[of()]), index(manifests=[of()])):
        with pytest.raises(ManifestBlobUnknown):
            store.put_manifest(APP, manifest)


def test_a_type_that_is_neither_image_nor_index_may_be_refused() -> None:  # E4
    store = checked(known_type)
    with pytest.raises(ManifestInvalid, match="application/x-mine"):
        store.put_manifest(APP, Manifest.parse(b"{}", "application/x-mine"), [V1])
    store.put_manifest(APP, image(), [V1])
    assert store.resolve(APP, V1) == image().digest
