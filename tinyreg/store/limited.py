"""A limit on the size of blobs, over any store; where content is kept it does not know."""

from __future__ import annotations

from ..errors import BlobTooLarge
from ..reference import Digest, Name
from . import Layer, Store, Upload

MAX_BLOB = 64 * 1024**3
"""Bytes a blob may have unless somebody says otherwise; the largest layers that hosted registries take have 52 GB."""


class Limited(Layer):
    """A store whose uploads take `max_blob` bytes at most; what is put, mounted or there already may have more."""

    def __init__(self, inner: Store, max_blob: int = MAX_BLOB) -> None:
        super().__init__(inner)
        self.max_blob = max_blob

    def upload(self, name: Name, algorithm: str = "sha256") -> Upload:
        return LimitedUpload(self.inner.upload(name, algorithm), self.max_blob)


class LimitedUpload:
    """An upload that ends where it would become too large."""

    def __init__(self, inner: Upload, limit: int) -> None:
        self.inner = inner
        self.limit = limit
        self.id = inner.id
        self.size = inner.size

    def write(self, data: bytes | memoryview) -> None:
        """As the Upload has it. Raises BlobTooLarge."""
        if self.size + len(data) > self.limit:
            raise BlobTooLarge(f"a blob may have {self.limit} bytes")
        self.inner.write(data)
        self.size = self.inner.size

    def commit(self, digest: Digest) -> None:
        self.inner.commit(digest)

    def cancel(self) -> None:
        self.inner.cancel()
