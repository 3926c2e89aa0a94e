"""The Store and Upload protocols: what keeps content must do, and the errors it may raise; nothing of HTTP.

Every method is safe to call from any thread. None of them waits for another request.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from ..content import Content, chunks
from ..errors import DigestInvalid
from ..manifest import Descriptor, Manifest
from ..reference import Digest, Name, Tag, hasher

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = ["Layer", "Store", "Upload", "page", "verify"]


class Upload(Protocol):
    """A blob on its way in. One thread at a time uses it; nothing of it is visible before `commit`."""

    id: str
    size: int
    """Bytes written so far."""

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`; the caller may use the memory again afterwards. Raises BlobUploadUnknown when it is over."""

    def commit(self, digest: Digest) -> None:
        """Make what was written the blob `digest`, at once and whole; the upload is over.

        Raises DigestInvalid where the bytes are not what `digest` names; the upload is over then, too. Raises
        BlobUploadUnknown where it was cancelled.
        """

    def cancel(self) -> None:
        """Forget what was written; the upload is over. May be called again, and from another thread than `write`."""


class Store(Protocol):
    """Where repositories keep blobs, manifests and tags.

    A repository is known from the first blob or manifest stored in it, and stays known when they are deleted.
    """

    def repositories(self, after: str = "", limit: int | None = None) -> Sequence[Name]:
        """The known repositories behind `after` in ASCII order, at most `limit`."""

    def blob_size(self, name: Name, digest: Digest) -> int:
        """The blob's bytes. Raises BlobUnknown."""

    def blob(self, name: Name, digest: Digest) -> Content:
        """The blob. Raises BlobUnknown."""

    def upload(self, name: Name, algorithm: str = "sha256") -> Upload:
        """A new upload, hashed with `algorithm` as it comes; the digest at `commit` may be of another one."""

    def put_blob(self, name: Name, digest: Digest, content: Content) -> None:
        """Keep `content` as the blob `digest`, checked by nobody."""

    def mount(self, name: Name, digest: Digest, source: Name | None) -> None:
        """Make the blob of `source`, or of any repository where it is None, one of `name`'s. Raises BlobUnknown."""

    def delete_blob(self, name: Name, digest: Digest) -> None:
        """Forget the blob in this repository. Raises BlobUnknown."""

    def manifest(self, name: Name, digest: Digest) -> Manifest:
        """The manifest. Raises ManifestUnknown, NameUnknown."""

    def put_manifest(
        self, name: Name, manifest: Manifest, tags: Sequence[Tag] = (), expected: Collection[Digest] | None = None
    ) -> None:
        """Keep the manifest and let `tags` name it, all at once.

        Raises PreconditionFailed where `expected` is given and a tag names none of it yet.
        """

    def delete_manifest(self, name: Name, digest: Digest) -> None:
        """Forget the manifest and every tag that names it, all at once. Raises ManifestUnknown, NameUnknown."""

    def resolve(self, name: Name, tag: Tag) -> Digest:
        """What `tag` names. Raises ManifestUnknown, NameUnknown."""

    def tags(self, name: Name, after: str = "", limit: int | None = None) -> Sequence[Tag]:
        """The tags behind `after` in ASCII order, at most `limit`. Raises NameUnknown."""

    def delete_tag(self, name: Name, tag: Tag) -> None:
        """Forget the tag; the manifest stays. Raises ManifestUnknown, NameUnknown."""

    def referrers(self, name: Name, digest: Digest) -> Sequence[Descriptor]:
        """The manifests whose subject is `digest`, oldest first; none for an unknown repository."""

    def clear(self) -> None:
        """Forget everything, open uploads too."""

    def close(self) -> None:
        """Forget open uploads and let go of what the process holds; the store may be used again."""


_Text = TypeVar("_Text", bound=str)


def page(items: list[_Text], after: str, limit: int | None) -> list[_Text]:
    """At most `limit` of the sorted `items`, from the first greater than `after` on; `after` need not be one."""
    start = bisect_right(items, after) if after else 0
    return items[start:] if limit is None else items[start : start + limit]


def verify(digest: Digest, state: _Hash, content: Content) -> None:
    """Raise DigestInvalid unless `content`, already hashed into `state`, is what `digest` names.

    It is read again only where `digest` is of another algorithm: the spec lets a client name it at the end (SPEC A6).
    """
    if digest.algorithm != state.name:
        state = hasher(digest.algorithm)
        for chunk in chunks(content):
            state.update(chunk)
    found = Digest.finish(state)
    if found != digest:
        raise DigestInvalid(f"the content is {found}, not {digest}", detail={"digest": digest})


class Layer:
    """A store over another one: the same in all that a subclass does not say. This is how the Store seam composes."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    def repositories(self, after: str = "", limit: int | None = None) -> Sequence[Name]:
        return self.inner.repositories(after, limit)

    def blob_size(self, name: Name, digest: Digest) -> int:
        return self.inner.blob_size(name, digest)

    def blob(self, name: Name, digest: Digest) -> Content:
        return self.inner.blob(name, digest)

    def upload(self, name: Name, algorithm: str = "sha256") -> Upload:
        return self.inner.upload(name, algorithm)

    def put_blob(self, name: Name, digest: Digest, content: Content) -> None:
        self.inner.put_blob(name, digest, content)

    def mount(self, name: Name, digest: Digest, source: Name | None) -> None:
        self.inner.mount(name, digest, source)

    def delete_blob(self, name: Name, digest: Digest) -> None:
        self.inner.delete_blob(name, digest)

    def manifest(self, name: Name, digest: Digest) -> Manifest:
        return self.inner.manifest(name, digest)

    def put_manifest(
        self, name: Name, manifest: Manifest, tags: Sequence[Tag] = (), expected: Collection[Digest] | None = None
    ) -> None:
        self.inner.put_manifest(name, manifest, tags, expected)

    def delete_manifest(self, name: Name, digest: Digest) -> None:
        self.inner.delete_manifest(name, digest)

    def resolve(self, name: Name, tag: Tag) -> Digest:
        return self.inner.resolve(name, tag)

    def tags(self, name: Name, after: str = "", limit: int | None = None) -> Sequence[Tag]:
        return self.inner.tags(name, after, limit)

    def delete_tag(self, name: Name, tag: Tag) -> None:
        self.inner.delete_tag(name, tag)

    def referrers(self, name: Name, digest: Digest) -> Sequence[Descriptor]:
        return self.inner.referrers(name, digest)

    def clear(self) -> None:
        self.inner.clear()

    def close(self) -> None:
        self.inner.close()
