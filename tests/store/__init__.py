"""What the tests of the stores share: content to keep, and the few steps that each of them takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from tinyreg.errors import BlobUnknown
from tinyreg.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest
from tinyreg.reference import Digest, Name, Tag
from tinyreg.store import Store

APP, OTHER = Name.parse("team/app"), Name.parse("other")
V1, V2, V3 = (Tag.parse(text) for text in ("v1", "v2", "v3"))
DATA = b"a layer, or what is taken for one"
DIGEST = Digest.of(DATA)
MISSING = Digest.of(b"never pushed")


def image(note: str = "", subject: Descriptor | None = None, **more: Any) -> Manifest:
    """An image without layers; another one for each `note`."""
    table: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "annotations": {"note": note}, **more}
    if subject:
        table["subject"] = subject.to_json()
    return Manifest.parse(json.dumps(table).encode())


def index(*children: Manifest, **more: Any) -> Manifest:
    listed = [child.descriptor.to_json() for child in children]
    table = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed, **more}
    return Manifest.parse(json.dumps(table).encode())


def push(store: Store, name: Name = APP, data: bytes = DATA, algorithm: str = "sha256") -> Digest:
    """Push `data` as a blob in two pieces."""
    digest = Digest.of(data, algorithm)
    upload = store.upload(name, algorithm)
    upload.write(data[:5])
    upload.write(data[5:])
    upload.commit(digest)
    return digest


def has_blob(store: Store, name: Name, digest: Digest) -> bool:
    try:
        store.blob(name, digest)
    except BlobUnknown:
        return False
    return True


def files(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by its path in it."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@contextmanager
def running(*threads: Thread) -> Iterator[None]:
    """The threads run in the block, and are over behind it."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
