"""Rules on what may refer to what, over any store; where content is kept it does not know."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from ..errors import BlobUnknown, ManifestBlobUnknown, ManifestInvalid, ManifestUnknown, NameUnknown
from ..manifest import Manifest
from ..reference import Digest, Name, Tag
from . import Layer, Store

Rule = Callable[[Store, Name, Manifest], Iterator[Digest]]
"""The digests that a manifest refers to and that should have been pushed before it."""


class Checked(Layer):
    """A store that refuses a manifest for which one of `rules` finds content missing, or raises (SPEC E6)."""

    def __init__(self, inner: Store, rules: Sequence[Rule]) -> None:
        super().__init__(inner)
        self.rules = rules

    def put_manifest(
        self, name: Name, manifest: Manifest, tags: Sequence[Tag] = (), expected: Collection[Digest] | None = None
    ) -> None:
        """As the Store has it. Raises ManifestBlobUnknown."""
        missing = [digest for rule in self.rules for digest in rule(self.inner, name, manifest)]
        if missing:
            raise ManifestBlobUnknown(dict.fromkeys(missing))
        self.inner.put_manifest(name, manifest, tags, expected)


def missing_blobs(store: Store, name: Name, manifest: Manifest) -> Iterator[Digest]:
    """Configs and layers that are not there, but for those fetched from elsewhere."""
    if manifest.is_known:
        for blob in manifest.blobs:
            if blob.distributable and not _has(store.blob_size, name, blob.digest):
                yield blob.digest


def missing_children(store: Store, name: Name, manifest: Manifest) -> Iterator[Digest]:
    """Manifests of an index that are not there. A child may be a blob: nothing says that it is a manifest."""
    if manifest.is_known:
        for child in manifest.manifests:
            if not _has(store.manifest, name, child.digest) and not _has(store.blob_size, name, child.digest):
                yield child.digest


def known_type(store: Store, name: Name, manifest: Manifest) -> Iterator[Digest]:
    """Nothing is missing, but a type that is neither an image nor an index is refused. Raises ManifestInvalid."""
    if not manifest.is_known:
        raise ManifestInvalid(f"manifests of type {manifest.media_type} are not taken")
    return iter(())


RULES: tuple[Rule, ...] = (missing_blobs, missing_children)


def _has(get: Callable[[Name, Digest], object], name: Name, digest: Digest) -> bool:
    try:
        get(name, digest)
    except (BlobUnknown, ManifestUnknown, NameUnknown):
        return False
    return True
