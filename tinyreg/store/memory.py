"""A store in dictionaries, whose large blobs spill to temporary files; it knows no HTTP and outlives no process."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from mmap import ACCESS_READ, mmap
from threading import Lock
from typing import BinaryIO, Protocol

from ..content import Content, write_all
from ..errors import BlobUnknown, BlobUploadUnknown, ManifestUnknown, NameUnknown
from ..manifest import Descriptor, Manifest
from ..reference import Digest, Name, Tag, hasher
from . import page, verify
from .index import Index

SPILL = 16 * 1024 * 1024
"""From this size on, in bytes, a blob is kept in a temporary file."""


class MemoryStore:
    """A store that lives and dies with the process.

    A blob of `spill` bytes or more is kept in an anonymous temporary file (in `tempfile.gettempdir()`), mapped into
    memory, which the operating system takes back when the last reference to the blob goes. Every other blob is one
    block of memory.
    """

    def __init__(self, *, spill: int = SPILL) -> None:
        self.spill = spill
        self._shelves: dict[Name, _Shelf] = {}
        self._uploads: set[MemoryUpload] = set()
        self._lock = Lock()

    def repositories(self, after: str = "", limit: int | None = None) -> list[Name]:
        with self._lock:
            names = sorted(self._shelves)
        return page(names, after, limit)

    def blob_size(self, name: Name, digest: Digest) -> int:
        return len(self.blob(name, digest))

    def blob(self, name: Name, digest: Digest) -> Content:
        shelf = self._shelves.get(name)
        content = None if shelf is None else shelf.blobs.get(digest)
        if content is None:
            raise BlobUnknown(f"blob {digest} is not known in {name}", detail={"digest": digest})
        return content

    def upload(self, name: Name, algorithm: str = "sha256") -> MemoryUpload:
        upload = MemoryUpload(self, name, algorithm)
        with self._lock:
            self._uploads.add(upload)
        return upload

    def mount(self, name: Name, digest: Digest, source: Name | None) -> None:
        with self._lock:
            shelves = list(self._shelves.values()) if source is None else [self._shelves.get(source)]
        for shelf in shelves:
            if shelf is not None and (content := shelf.blobs.get(digest)) is not None:
                self.put_blob(name, digest, content)
                return
        raise BlobUnknown(detail={"digest": digest})

    def put_blob(self, name: Name, digest: Digest, content: Content) -> None:
        """Keep `content` as the blob `digest`, checked by nobody; it is not copied."""
        self._shelf(name).blobs[digest] = content

    def delete_blob(self, name: Name, digest: Digest) -> None:
        self.blob(name, digest)
        self._shelves[name].blobs.pop(digest, None)

    def manifest(self, name: Name, digest: Digest) -> Manifest:
        shelf = self._known(name)
        manifest = shelf.manifests.get(digest)
        if manifest is None:
            raise ManifestUnknown(f"manifest {digest} is not known in {name}", detail={"digest": digest})
        return manifest

    def put_manifest(
        self, name: Name, manifest: Manifest, tags: Sequence[Tag] = (), expected: Collection[Digest] | None = None
    ) -> None:
        if name not in self._shelves:
            Index(name).expect(tags, expected)  # what is refused makes no repository known
        shelf = self._shelf(name)
        with shelf.lock:
            shelf.index.expect(tags, expected)
            shelf.manifests[manifest.digest] = manifest
            shelf.index.add(manifest, tags)

    def delete_manifest(self, name: Name, digest: Digest) -> None:
        shelf = self._known(name)
        with shelf.lock:
            shelf.index.remove(digest)
            del shelf.manifests[digest]

    def resolve(self, name: Name, tag: Tag) -> Digest:
        return self._known(name).index.resolve(tag)

    def tags(self, name: Name, after: str = "", limit: int | None = None) -> list[Tag]:
        shelf = self._known(name)
        with shelf.lock:
            return shelf.index.tags(after, limit)

    def delete_tag(self, name: Name, tag: Tag) -> None:
        shelf = self._known(name)
        with shelf.lock:
            shelf.index.untag(tag)

    def referrers(self, name: Name, digest: Digest) -> Sequence[Descriptor]:
        shelf = self._shelves.get(name)
        if shelf is None:
            return []
        with shelf.lock:
            return shelf.index.referrers(digest)

    def clear(self) -> None:
        self.close()
        with self._lock:
            self._shelves.clear()

    def close(self) -> None:
        with self._lock:
            uploads = list(self._uploads)
        for upload in uploads:
            upload.cancel()

    def forget(self, upload: MemoryUpload) -> None:
        """An upload is over."""
        with self._lock:
            self._uploads.discard(upload)

    def _known(self, name: Name) -> _Shelf:
        shelf = self._shelves.get(name)
        if shelf is None:
            raise NameUnknown(f"repository {name} is not known", detail={"name": name})
        return shelf

    def _shelf(self, name: Name) -> _Shelf:
        shelf = self._shelves.get(name)
        if shelf is None:
            with self._lock:
                shelf = self._shelves.setdefault(name, _Shelf(name))
        return shelf


class _Shelf:
    """What one repository keeps. Single look-ups need no lock; the index does."""

    def __init__(self, name: Name) -> None:
        self.lock = Lock()
        self.index = Index(name)
        self.blobs: dict[Digest, Content] = {}
        self.manifests: dict[Digest, Manifest] = {}


class Keeper(Protocol):
    """What a MemoryUpload ends up in."""

    spill: int

    def put_blob(self, name: Name, digest: Digest, content: Content) -> None:
        """Keep the blob, which is known to be what `digest` says."""

    def forget(self, upload: MemoryUpload) -> None:
        """An upload is over."""


class MemoryUpload:
    """An upload that grows in one block of memory, until it is large enough for a temporary file."""

    def __init__(self, store: Keeper, name: Name, algorithm: str) -> None:
        self.id = os.urandom(16).hex()
        self.size = 0
        self._store = store
        self._name = name
        self._hash = hasher(algorithm)
        self._memory = bytearray()
        self._file: BinaryIO | None = None
        self._over = False

    def write(self, data: bytes | memoryview) -> None:
        if self._over:
            raise BlobUploadUnknown()
        if self._file is None and self.size + len(data) >= self._store.spill:
            import tempfile  # seldom needed, and it brings much

            # Unbuffered: where the disk is full, that is known now, and not when the file is closed.
            self._file = tempfile.TemporaryFile(prefix="tinyreg-", buffering=0)  # noqa: SIM115
            write_all(self._file, self._memory)
            self._memory = bytearray()
        if self._file is None:
            self._memory += data
        else:
            write_all(self._file, data)
        self._hash.update(data)
        self.size += len(data)

    def commit(self, digest: Digest) -> None:
        try:
            content = self._content()
            if self._over:  # by a `reset` meanwhile: this need not be all of it
                raise BlobUploadUnknown()
            verify(digest, self._hash, content)
        finally:
            self.cancel()
        self._store.put_blob(self._name, digest, content)

    def cancel(self) -> None:
        self._over = True
        file, self._file, self._memory = self._file, None, bytearray()
        if file is not None:
            file.close()
        self._store.forget(self)

    def _content(self) -> Content:
        if self._file is None or not self.size:
            return memoryview(self._memory).toreadonly()
        # Nobody else has the file, so it cannot shrink under the mapping; sent from there it takes two thirds of
        # the time that `sendfile` takes on a loopback.
        return memoryview(mmap(self._file.fileno(), self.size, access=ACCESS_READ))
