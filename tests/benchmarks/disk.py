"""The ceiling of a directory store: only the file system's work of a push, by one Python process, without a registry.

    python -m tests.benchmarks.disk [FOLDER]

Each push makes, writes and renames a file for each blob and for the manifest, and adds a line to index.json: what no
store can leave out that shows nothing half-written. FOLDER is where the temporary folder is made.

The same file system answers differently from hour to hour: ext4 without a journal goes over all inodes that were
deleted in the last minute before it gives out a new one, which is what a benchmark run before this one has left.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence

from .content import BLOBS, Image, image

PUSHES = 1000


def main(arguments: Sequence[str]) -> None:
    """Measure, and print."""
    print(f"{rate(arguments[0] if arguments else None):,.0f} pushes/s")


def rate(where: str | None = None, pushes: int = PUSHES) -> float:
    """Pushes a second into a temporary folder in `where`."""
    images = [image(f"disk/{number}") for number in range(pushes)]
    with tempfile.TemporaryDirectory(prefix="tinyreg-disk-", dir=where) as folder:
        for name in ("uploads", "blobs"):
            os.mkdir(f"{folder}/{name}")
        began = time.perf_counter()
        for number, each in enumerate(images):
            _push(folder, number, each)
        return pushes / (time.perf_counter() - began)


def _push(folder: str, number: int, what: Image) -> None:
    for part, data in enumerate([*(blob.data for blob in what.blobs), what.manifest]):
        new = f"{folder}/uploads/{part}"
        _write(new, os.O_EXCL, data)
        os.rename(new, f"{folder}/blobs/{number * (BLOBS + 1) + part}")
    _write(f"{folder}/index.json", os.O_APPEND, what.manifest)


def _write(path: str, flag: int, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o666)
    os.write(descriptor, data)
    os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1:])
