"""A local store that asks another one for what it misses, and keeps it; how either keeps it does not matter here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ..content import Content, chunks
from ..errors import BlobUnknown, ManifestUnknown, NameUnknown
from ..manifest import Descriptor, Manifest
from ..reference import Digest, Name, Tag
from . import Layer, Store, page

_Names = TypeVar("_Names", bound=str)


class PullThrough(Layer):
    """`local`, with `upstream` behind it. What was pushed or once pulled is never asked for upstream.

    Lists of tags, repositories and referrers are both stores' together. Raises what either of them raises.
    """

    def __init__(self, local: Store, upstream: Store) -> None:
        super().__init__(local)
        self.upstream = upstream

    def blob_size(self, name: Name, digest: Digest) -> int:
        try:
            return self.inner.blob_size(name, digest)
        except BlobUnknown:
            return self.upstream.blob_size(name, digest)

    def blob(self, name: Name, digest: Digest) -> Content:
        try:
            return self.inner.blob(name, digest)
        except BlobUnknown:
            content = self.upstream.blob(name, digest)
        upload = self.inner.upload(name, digest.algorithm)
        try:
            for chunk in chunks(content):
                upload.write(chunk)
            upload.commit(digest)
        finally:
            upload.cancel()
        return self.inner.blob(name, digest)

    def manifest(self, name: Name, digest: Digest) -> Manifest:
        try:
            return self.inner.manifest(name, digest)
        except (ManifestUnknown, NameUnknown):
            manifest = self.upstream.manifest(name, digest)
        self.inner.put_manifest(name, manifest)
        return manifest

    def resolve(self, name: Name, tag: Tag) -> Digest:
        try:
            return self.inner.resolve(name, tag)
        except (ManifestUnknown, NameUnknown):
            digest = self.upstream.resolve(name, tag)
        self.inner.put_manifest(name, self.manifest(name, digest), [tag])
        return digest

    def repositories(self, after: str = "", limit: int | None = None) -> Sequence[Name]:
        return _both(after, limit, self.inner.repositories, self.upstream.repositories)

    def tags(self, name: Name, after: str = "", limit: int | None = None) -> Sequence[Tag]:
        try:
            remote = self.upstream.tags(name, after, limit)
        except NameUnknown:
            return self.inner.tags(name, after, limit)
        try:
            local = self.inner.tags(name, after, limit)
        except NameUnknown:
            local = []
        return page(sorted({*local, *remote}), after, limit)

    def referrers(self, name: Name, digest: Digest) -> Sequence[Descriptor]:
        found = {each.digest: each for store in (self.upstream, self.inner) for each in store.referrers(name, digest)}
        return list(found.values())


def _both(after: str, limit: int | None, *lists: Callable[[str, int | None], Sequence[_Names]]) -> list[_Names]:
    """A page of several sorted lists together."""
    return page(sorted({item for each in lists for item in each(after, limit)}), after, limit)
