"""Where bytes are: in memory, or a slice of an open file; not what they mean.

A `Content` has a length, is cut by `content[start:stop]` without being read, and becomes bytes by `bytes(content)`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from functools import partial
from io import FileIO
from threading import Lock
from typing import BinaryIO
from weakref import finalize

CHUNK = 256 * 1024
"""Bytes moved at once where bytes have to be moved."""
SMALL = 64 * 1024
"""Up to so many bytes, content is cheaper in memory than in a file that is kept open."""


class OpenFile:
    """A file that stays open for as long as somebody holds it, read at offsets by any number of threads at once."""

    __slots__ = ("__weakref__", "_file", "_lock")

    def __init__(self, file: BinaryIO | FileIO) -> None:
        self._file = file
        self._lock = Lock()
        # Not __del__: in a cycle of garbage the file would be finalized first, and warn that nobody closed it.
        finalize(self, file.close)

    def fileno(self) -> int:
        """The descriptor, as `socket.sendfile` asks for it."""
        return self._file.fileno()

    def read_at(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset` on; none at the end of the file."""
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), size, offset)
        with self._lock:  # Windows has no pread
            self._file.seek(offset)
            return self._file.read(size)


class FileSlice:
    """`size` bytes of an open file, from `start` on."""

    __slots__ = ("file", "size", "start")

    def __init__(self, file: OpenFile, start: int, size: int) -> None:
        self.file = file
        self.start = start
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> FileSlice:
        start, stop, _ = part.indices(self.size)
        return FileSlice(self.file, self.start + start, max(0, stop - start))

    def __bytes__(self) -> bytes:
        return b"".join(self.chunks())

    def chunks(self) -> Iterator[bytes]:
        """The bytes, at most CHUNK at once; fewer than `size` in sum where the file has shrunk since."""
        at, stop = self.start, self.start + self.size
        while at < stop:
            chunk = self.file.read_at(at, min(CHUNK, stop - at))
            if not chunk:
                return
            yield chunk
            at += len(chunk)


Content = bytes | memoryview | FileSlice


BINARY = getattr(os, "O_BINARY", 0)
"""What Windows has to be told when a descriptor is opened."""
_NOT_PLAIN = (errno.ELOOP, errno.EMLINK, errno.ENXIO)
# What lies in a folder need not be ours: a link may lead out of it, and opening a pipe may wait for ever (CWE-59).
_PLAIN = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def open_slice(path: str | os.PathLike[str]) -> FileSlice:
    """The file at `path`, whole. Raises OSError; FileNotFoundError for a symbolic link and for what is no file."""
    opened = OpenFile(open(path, "rb", buffering=0, opener=open_plain))  # noqa: SIM115
    return FileSlice(opened, 0, _plain(os.fstat(opened.fileno()), path).st_size)


def read_small(path: str) -> bytes | FileSlice:
    """The file at `path`, read if it is small and open if it is not. Raises what `open_slice` raises."""
    descriptor = open_plain(path, os.O_RDONLY | BINARY)
    try:
        size = _plain(os.fstat(descriptor), path).st_size
        if size <= SMALL:
            return read_descriptor(descriptor, size)
        opened = OpenFile(open(descriptor, "rb", buffering=0))  # noqa: SIM115
        descriptor = -1
        return FileSlice(opened, 0, size)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def file_size(path: str | os.PathLike[str]) -> int:
    """The bytes of the file at `path`. Raises what `open_slice` raises."""
    return _plain(os.lstat(path), path).st_size


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file at `path`, and no symbolic link to one."""
    try:
        file_size(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def open_plain(path: str, flags: int) -> int:
    """An opener for `open`, that follows no symbolic link and waits for no pipe. Raises FileNotFoundError for those."""
    if not hasattr(os, "O_NOFOLLOW") and os.path.islink(path):  # Windows
        raise FileNotFoundError(errno.ENOENT, "not a regular file", path)
    try:
        return os.open(path, flags | _PLAIN)
    except OSError as error:
        if error.errno in _NOT_PLAIN:
            raise FileNotFoundError(errno.ENOENT, "not a regular file", path) from error
        raise


def _plain(found: os.stat_result, path: str | os.PathLike[str]) -> os.stat_result:
    if not stat.S_ISREG(found.st_mode):
        raise FileNotFoundError(errno.ENOENT, "not a regular file", os.fspath(path))
    return found


def chunks(content: Content) -> Iterator[bytes | memoryview]:
    """`content` in pieces of at most CHUNK bytes, each read only when its turn comes."""
    if isinstance(content, FileSlice):
        yield from content.chunks()
    else:
        view = memoryview(content)
        for at in range(0, len(view), CHUNK):
            yield view[at : at + CHUNK]


def write_all(file: BinaryIO | FileIO, data: bytes | bytearray | memoryview) -> None:
    """Write `data` to an unbuffered file, which may take it in pieces."""
    _write(file.write, data)


def write_descriptor(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write `data` to an open file, which may take it in pieces. Raises OSError."""
    _write(partial(os.write, descriptor), data)


def _write(write: Callable[[memoryview], int], data: bytes | bytearray | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[write(view) :]


def read_descriptor(descriptor: int, size: int) -> bytes:
    """`size` bytes of an open file, from where it stands; fewer where it ends. Raises OSError."""
    data = os.read(descriptor, size)
    while len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return data
