"""What is in a layer: files to tar archives, always the same, and back to files; nothing of images."""

from __future__ import annotations

import gzip
import importlib
import io
import posixpath
import struct
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_STORED = 0xFFFF
LIMIT = 1024**3
"""Bytes that the layers of one image may have together, decompressed; a few kilobytes can be made to expand to any."""
WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"


@dataclass(frozen=True)
class File:
    """A file in a layer, with more to say than its bytes."""

    data: bytes = b""
    mode: int = 0o644


@dataclass(frozen=True)
class Symlink:
    """A symbolic link in a layer."""

    target: str


Entry = bytes | File | Symlink
Files = Mapping[str, Entry]
"""What a layer holds: a path, such as `etc/motd`, to its bytes, a File or a Symlink; `var/` is a folder."""


def pack(files: Files) -> bytes:
    """`files` as a tar archive: the same bytes on every machine, Python and day, and in every order of `files`.

    Raises ValueError for a path that is absolute or leads out of the layer.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, entry in sorted(files.items()):
            if path.startswith("/") or ".." in path.split("/") or not path.strip("./"):
                raise ValueError(f"{path!r} is no path in a layer: write it from the root on, as in 'etc/motd'")
            info, data = _info(path, entry)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _info(path: str, entry: Entry) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(path.rstrip("/"))  # mtime, owner and group are zero and nameless
    if isinstance(entry, Symlink):
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.target, 0o777
        return info, b""
    file = entry if isinstance(entry, File) else File(entry)
    if path.endswith("/"):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        return info, b""
    info.size, info.mode = len(file.data), file.mode
    return info, file.data


def compress(data: bytes) -> bytes:
    """`data` as a gzip stream of stored blocks.

    Nothing gets smaller: how well `zlib` packs differs from machine to machine, and the digest with it.
    """
    view = memoryview(data)
    pieces: list[bytes | memoryview] = [b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"]
    for at in range(0, max(1, len(view)), _STORED):
        block = view[at : at + _STORED]
        last = at + _STORED >= len(view)
        pieces += [struct.pack("<BHH", last, len(block), len(block) ^ _STORED), block]
    pieces.append(struct.pack("<II", zlib.crc32(view), len(view) & 0xFFFFFFFF))
    return b"".join(pieces)


def decompress(data: bytes, limit: int = LIMIT) -> bytes:
    """A layer as its tar archive, whatever it is compressed with.

    Raises ValueError where it is damaged, has more than `limit` bytes, or is compressed with zstd and this Python
    can't (before 3.14).
    """
    file = io.BytesIO(data)
    try:
        if data.startswith(GZIP_MAGIC):
            return _read(gzip.GzipFile(fileobj=file), limit)
        if data.startswith(ZSTD_MAGIC):
            return _zstd(file, limit)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"the layer is damaged: {error}") from error
    return _bounded(data, limit)


def _zstd(file: BinaryIO, limit: int) -> bytes:
    try:
        module = importlib.import_module("compression.zstd")
    except ImportError:
        raise ValueError("the layer is compressed with zstd, which Python reads from 3.14 on") from None
    try:
        return _read(module.ZstdFile(file), limit)
    except module.ZstdError as error:
        raise ValueError(f"the layer is damaged: {error}") from error


def _read(file: BinaryIO | gzip.GzipFile, limit: int) -> bytes:
    with file:
        return _bounded(file.read(limit + 1), limit)


def _bounded(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise ValueError(f"the layers have more than {limit} bytes, decompressed: files(…, limit=) takes more")
    return data


def apply(layers: Iterable[bytes], limit: int = LIMIT) -> dict[str, bytes | Symlink]:
    """The files that `layers`, the lowest first, make together (image-spec, "Applying Changesets").

    Whiteouts are carried out, paths are relative to the root, folders are left out, hard links are files. Raises
    ValueError for a damaged layer, and where they have more than `limit` bytes, decompressed.
    """
    files: dict[str, bytes | Symlink] = {}
    for layer in layers:
        archive = decompress(layer, limit)
        limit -= len(archive)
        # A layer's whiteouts are about the layers below it only, wherever they stand in it.
        added, gone, emptied = _changes(archive, files)
        # A folder need not have an entry of its own to stand where a file was.
        gone_alone = {folder for path in added for folder in _parents(path)}
        files = {
            path: entry
            for path, entry in files.items()
            if path not in gone_alone
            and path not in gone
            and gone.isdisjoint(_parents(path))
            and emptied.isdisjoint(_parents(path))
        }
        files.update(added)
    return dict(sorted(files.items()))


def _changes(
    archive: bytes, below: Mapping[str, bytes | Symlink]
) -> tuple[dict[str, bytes | Symlink], set[str], set[str]]:
    """What a layer adds, the paths of which nothing stays, and the folders of which only the folder stays."""
    added: dict[str, bytes | Symlink] = {}
    gone: set[str] = set()
    emptied: set[str] = set()
    for path, entry in _unpack(archive):
        folder, name = posixpath.split(path)
        if name == OPAQUE:
            emptied.add(folder)
        elif name.startswith(WHITEOUT):
            gone.add(posixpath.join(folder, name[len(WHITEOUT) :]))
        elif entry is None:
            if path in below:  # a folder in place of a file
                gone.add(path)
        else:
            gone.add(path)
            added[path] = _linked(entry, added, below) if isinstance(entry, str) else entry
    return added, gone, emptied


def _linked(path: str, added: Mapping[str, bytes | Symlink], below: Mapping[str, bytes | Symlink]) -> bytes | Symlink:
    entry = added.get(path, below.get(path))
    if entry is None:
        raise ValueError(f"the layer has a hard link to {path}, which is not there")
    return entry


def _parents(path: str) -> Iterator[str]:
    """The folders that `path` is in, the root, which is "", included."""
    while path:
        path = posixpath.dirname(path)
        yield path


def _unpack(archive: bytes) -> Iterator[tuple[str, bytes | Symlink | str | None]]:
    """Each entry: a file's bytes, a link, the path a hard link means, or None for a folder."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            for member in tar:
                path = _clean(member.name)
                if member.size > len(archive):  # a sparse file's holes are nowhere, and have no end
                    raise ValueError(f"the layer's {path[:100]} has {member.size} bytes, more than the layer itself")
                if member.isreg():
                    file = tar.extractfile(member)
                    yield path, file.read() if file else b""
                elif member.issym():
                    yield path, Symlink(member.linkname)
                elif member.islnk():
                    yield path, _clean(member.linkname)
                elif member.isdir():
                    yield path, None
            if archive[tar.offset : tar.offset + tarfile.BLOCKSIZE].strip(b"\0"):
                raise ValueError(f"the layer is no tar archive: there is no header at byte {tar.offset}")
    except tarfile.TarError as error:
        raise ValueError(f"the layer is no tar archive: {error}") from error


def _clean(path: str) -> str:
    return posixpath.normpath("/" + path).lstrip("/")
