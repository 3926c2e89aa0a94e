"""What is pushed: small images and one large blob, with digests computed before anybody looks at a clock."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import cache
from hashlib import sha256

MIB = 1024 * 1024
BLOB = 10 * 1024
"""Bytes of each of an image's blobs."""
BLOBS = 4
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"

_PIECE = 16 * MIB
_SEED = 20260831


@dataclass(frozen=True)
class Blob:
    """Bytes and their digest."""

    data: bytes
    digest: str

    @classmethod
    def of(cls, data: bytes) -> Blob:
        """The blob that these bytes are."""
        return cls(data, f"sha256:{sha256(data).hexdigest()}")


@dataclass(frozen=True)
class Image:
    """A manifest, and the config and layers it names."""

    blobs: tuple[Blob, ...]
    manifest: bytes


@dataclass(frozen=True)
class Large:
    """A blob of `size` bytes: the same piece again and again, so that it need not be held in memory."""

    size: int
    digest: str
    shift: int = 0
    """Bytes that the piece is turned by."""

    @property
    def pieces(self) -> list[memoryview]:
        """Its bytes."""
        filler = _filler()
        view = memoryview(filler[self.shift :] + filler[: self.shift] if self.shift else filler)
        return [view[: min(_PIECE, self.size - at)] for at in range(0, self.size, _PIECE)]


@cache
def _filler() -> bytes:
    return random.Random(_SEED).randbytes(_PIECE)


@cache
def large(size: int) -> Large:
    """The large blob of `size` bytes."""
    hasher = sha256()
    for piece in Large(size, "").pieces:
        hasher.update(piece)
    return Large(size, f"sha256:{hasher.hexdigest()}")


def small(number: int, size: int) -> Large:
    """A blob of `size` bytes, at most 16 MiB, another one for each `number`."""
    return Large(size, f"sha256:{sha256(Large(size, '', number).pieces[0]).hexdigest()}", number)


def image(label: str) -> Image:
    """A small image, none of whose blobs is in an image of another label."""
    config, *layers = [_blob(f"{label}/{number}") for number in range(BLOBS)]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [_descriptor(layer, "application/vnd.oci.image.layer.v1.tar") for layer in layers],
    }
    return Image((config, *layers), json.dumps(manifest, separators=(",", ":")).encode())


def _blob(label: str) -> Blob:
    line = f"{label}\n".encode()
    return Blob.of(line + _filler()[len(line) : BLOB])


def _descriptor(blob: Blob, media_type: str) -> dict[str, str | int]:
    return {"mediaType": media_type, "digest": blob.digest, "size": len(blob.data)}
