"""A store under a prefix of another one's repository names; it keeps nothing itself."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..content import Content
from ..manifest import Descriptor, Manifest
from ..reference import Digest, Name, Tag
from . import Layer, Store, Upload, page


class Prefixed(Layer):
    """The repositories of `inner` whose names begin with `prefix/`, under what follows it."""

    def __init__(self, inner: Store, prefix: str) -> None:
        super().__init__(inner)
        self.prefix = Name.parse(prefix)

    def _inside(self, name: Name) -> Name:
        return Name.parse(f"{self.prefix}/{name}")

    def repositories(self, after: str = "", limit: int | None = None) -> list[Name]:
        head = f"{self.prefix}/"
        names = [Name(name[len(head) :]) for name in self.inner.repositories() if name.startswith(head)]
        return page(names, after, limit)

    def blob_size(self, name: Name, digest: Digest) -> int:
        return self.inner.blob_size(self._inside(name), digest)

    def blob(self, name: Name, digest: Digest) -> Content:
        return self.inner.blob(self._inside(name), digest)

    def upload(self, name: Name, algorithm: str = "sha256") -> Upload:
        return self.inner.upload(self._inside(name), algorithm)

    def put_blob(self, name: Name, digest: Digest, content: Content) -> None:
        self.inner.put_blob(self._inside(name), digest, content)

    def mount(self, name: Name, digest: Digest, source: Name | None) -> None:
        self.inner.mount(self._inside(name), digest, source and self._inside(source))

    def delete_blob(self, name: Name, digest: Digest) -> None:
        self.inner.delete_blob(self._inside(name), digest)

    def manifest(self, name: Name, digest: Digest) -> Manifest:
        return self.inner.manifest(self._inside(name), digest)

    def put_manifest(
        self, name: Name, manifest: Manifest, tags: Sequence[Tag] = (), expected: Collection[Digest] | None = None
    ) -> None:
        self.inner.put_manifest(self._inside(name), manifest, tags, expected)

    def delete_manifest(self, name: Name, digest: Digest) -> None:
        self.inner.delete_manifest(self._inside(name), digest)

    def resolve(self, name: Name, tag: Tag) -> Digest:
        return self.inner.resolve(self._inside(name), tag)

    def tags(self, name: Name, after: str = "", limit: int | None = None) -> Sequence[Tag]:
        return self.inner.tags(self._inside(name), after, limit)

    def delete_tag(self, name: Name, tag: Tag) -> None:
        self.inner.delete_tag(self._inside(name), tag)

    def referrers(self, name: Name, digest: Digest) -> Sequence[Descriptor]:
        return self.inner.referrers(self._inside(name), digest)
