"""Content that clients push: the same bytes on every run, with their digests known beforehand. Knows no client."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True)
class Image:
    """A manifest, and what it names: `blobs` by digest, and for an index the images in it."""

    manifest: bytes
    media_type: str
    blobs: Mapping[str, bytes]
    children: tuple[Image, ...] = ()

    @property
    def digest(self) -> str:
        return digest(self.manifest)

    def descriptor(self, **more: Any) -> dict[str, Any]:
        return described(self.manifest, self.media_type, **more)

    def files(self) -> dict[str, bytes]:
        """All that a layout keeps under blobs/, by digest."""
        below = {name: data for child in self.children for name, data in child.files().items()}
        return {**below, **self.blobs, self.digest: self.manifest}


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def noise(seed: str, size: int = 3 << 20) -> bytes:
    """Bytes that don't compress: enough of them (3 MiB) that no client sends them in one piece."""
    return random.Random(seed).randbytes(size)


def tar(files: Mapping[str, bytes]) -> bytes:
    """A layer, not compressed, with everything in it as old as the epoch."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def untar(data: bytes) -> dict[str, bytes]:
    """The regular files of a tar, compressed or not, without `./` and `/` before their names."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = [(member.name.lstrip("./"), archive.extractfile(member)) for member in archive if member.isfile()]
        return {name: content.read() for name, content in files if content is not None}


def image(*layers: Mapping[str, bytes], architecture: str = "amd64") -> Image:
    """An OCI image with one gzip layer for each of the mappings from path to content."""
    tars = [tar(files) for files in layers]
    blobs = [gzip.compress(layer, mtime=0) for layer in tars]
    config = as_json(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in tars]},
        }
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": described(config, OCI_CONFIG),
        "layers": [described(blob, OCI_LAYER) for blob in blobs],
    }
    return Image(as_json(manifest), OCI_MANIFEST, {digest(blob): blob for blob in (config, *blobs)})


def index(**images: Image) -> Image:
    """An OCI index of images by their architecture."""
    entries = [child.descriptor(platform={"architecture": name, "os": "linux"}) for name, child in images.items()]
    manifest = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return Image(as_json(manifest), OCI_INDEX, {}, tuple(images.values()))


def write_layout(folder: Path, tags: Mapping[str, Image]) -> Path:
    """An OCI image layout with these images under these tags, in `folder`, which it returns."""
    (folder / "blobs/sha256").mkdir(parents=True)
    for entry in tags.values():
        for name, data in entry.files().items():
            (folder / "blobs" / name.replace(":", "/")).write_bytes(data)
    roots = [entry.descriptor(annotations={REF_NAME: tag}) for tag, entry in tags.items()]
    (folder / "index.json").write_bytes(as_json({"schemaVersion": 2, "manifests": roots}))
    (folder / "oci-layout").write_bytes(as_json({"imageLayoutVersion": "1.0.0"}))
    return folder


def read_layout(folder: Path) -> dict[str, bytes]:
    """What a layout keeps under blobs/, by digest."""
    found = (folder / "blobs").glob("*/*")
    return {f"{path.parent.name}:{path.name}": path.read_bytes() for path in found}


def gunzip(data: bytes) -> bytes:
    """What a compressed layer holds; one that is not compressed, as it is."""
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def described(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


def as_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
