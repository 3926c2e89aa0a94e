"""A layout's index.json, changed in place: what an entry of it says this does not know.

Adding an entry writes over the `]}` at the end, moving or dropping one writes blanks over it and over a comma beside
it, which JSON allows: the cost of a push is that of its own entries, however many others there are, and every other
program finds an image index there. When more than half of it is blank, or when it is not of this shape because
another program wrote it, it is replaced whole.

A process that is killed within a write may leave a part of an entry, of a change that nobody was told of. It is left
out when the file is read, and the next change removes it.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from ..content import BINARY, open_plain, read_descriptor, write_descriptor

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

Signature = tuple[int, int, int]
"""When a file was written, its bytes, which file it is: another one whenever index.json has changed."""
Entry = tuple[str, bytes]
"""What an entry is known by, and its JSON."""
Whole = tuple[Mapping[str, Any], Iterable[Entry]]
"""What the file says beside its entries, and the entries."""
Span = tuple[int, int, int]
"""Where the comma in front of an entry stands, or -1 for the first one; where the entry starts and stops."""

SLACK = 4096
"""Bytes that may be blank in any case."""

_OPENING = '"manifests":['
_NEXT = re.compile(r"\s*(,?)\s*(?=\{)")
_END = re.compile(r"\s*(?=\]\}\s*\Z)")
_BEGINNING = re.compile(r'(?:\A|,)\s*(?=\{"mediaType":")')
_decoder = json.JSONDecoder()


class IndexFile:
    """The file at `path`; `replace` lets it hold other bytes, at once and whole, and tells their signature.

    `key` says what an entry is known by, `sync` writes the file out to the disk where that is paid for.
    Whoever holds this does the locking between threads; between processes, `lock` does.
    """

    def __init__(
        self,
        path: str,
        replace: Callable[[str, bytes], Signature],
        key: Callable[[Any], str],
        sync: Callable[[int], None] | None = None,
    ) -> None:
        self.path = path
        self._sync = sync
        self._replace = replace
        self._key = key
        self._file: int | None = None
        """The descriptor, while it is locked."""
        self._spans: OrderedDict[str, Span] = OrderedDict()
        self._end = -1
        """Where the `]` behind the last entry stands; -1 where the next change is to replace the file."""
        self._live = 0

    def signature(self) -> Signature | None:
        """None where there is no file, or a symbolic link, which is not followed."""
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return None
        return signature(found) if stat.S_ISREG(found.st_mode) else None

    def forget(self) -> None:
        """Let the next change replace the file: there is more to say than its entries."""
        self._end = -1

    def lock(self) -> Signature:
        """Let no other process of ours change the file until `unlock`; on Windows one may. The file's signature.

        Raises OSError; FileNotFoundError also for a symbolic link, which is not followed.
        """
        while True:
            descriptor = open_plain(self.path, os.O_RDWR | BINARY)
            try:
                if fcntl is not None:
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                found, there = signature(os.fstat(descriptor)), self.signature()
                if there is None:
                    raise FileNotFoundError(errno.ENOENT, "not a regular file", self.path)
                if fcntl is None or found == there:
                    self._file = descriptor
                    return found
            finally:
                if self._file is None:  # failed, or it was replaced while we waited for it
                    os.close(descriptor)

    def unlock(self) -> None:
        """Let others change it again."""
        descriptor, self._file = self._file, None
        if descriptor is not None:
            os.close(descriptor)

    def read(self) -> tuple[dict[str, Any], list[Any], Signature]:
        """What it says beside its entries, and those. Raises OSError, ValueError for no JSON, and what `key` raises."""
        if self._file is not None:
            return self._read(self._file)
        descriptor = open_plain(self.path, os.O_RDONLY | BINARY)
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_SH)
            return self._read(descriptor)
        finally:
            os.close(descriptor)

    def change(self, entries: Mapping[str, bytes | None], whole: Callable[[], Whole]) -> Signature:
        """Let `entries` be what is known by their keys, None where nothing is, between `lock` and `unlock`.

        `whole` tells all there is, for when the file is to be replaced. Raises OSError, and the file is as it was
        (unless a disk has taken the new entries and then refuses blanks over the old).
        """
        if self._file is None or self._end < 0:
            return self.rewrite(*whole())
        changed = {key: data for key, data in entries.items() if not self._is(self._file, key, data)}
        old = [self._spans.pop(key) for key in changed if key in self._spans]
        fresh = [(key, data) for key, data in changed.items() if data is not None]
        self._append(self._file, fresh, first=not self._spans and not old)
        for span in old:
            self._blank(self._file, span)
        if self._sync is not None:
            self._sync(self._file)
        found = signature(os.fstat(self._file))
        if found[1] > 2 * self._live + SLACK:
            return self.rewrite(*whole())
        return found

    def rewrite(self, top: Mapping[str, Any], entries: Iterable[Entry]) -> Signature:
        """Replace the file by another one. Raises OSError, and the file is as it was."""
        known = list(entries)
        head = f"{json.dumps({**top, 'manifests': []}, separators=(',', ':'))[:-2]}".encode()
        self._end = -1
        found = self._replace(self.path, head + b",".join([data for _, data in known]) + b"]}")
        self._spans.clear()
        self._end = self._live = len(head)
        self._place(known, first=True)
        return found

    def _place(self, entries: Iterable[Entry], *, first: bool) -> bytes:
        """Take note of entries behind the last one; what stands there then."""
        data = bytearray()
        for key, entry in entries:
            comma = -1 if first else self._end + len(data)
            data += entry if first else b"," + entry
            stop = self._end + len(data)
            self._spans[key] = comma, stop - len(entry), stop
            first = False
        self._end += len(data)
        self._live += len(data)
        return bytes(data)

    def _read(self, file: int) -> tuple[dict[str, Any], list[Any], Signature]:
        found = signature(os.fstat(file))
        data = read_at(file, 0, found[1])
        self._end = -1
        try:
            top: dict[str, Any] = json.loads(data)
        except ValueError:
            return *_salvaged(data.decode(errors="replace")), found
        entries = top.pop("manifests")
        if data.isascii():
            self._know(data.decode(), [self._key(entry) for entry in entries])
        return top, entries, found

    def _know(self, text: str, keys: list[str]) -> None:
        """Take note of where the entries stand, if `text` is of our shape and has each but once."""
        spans, end = _spans(text)
        if end >= 0 and len(spans) == len(keys) == len(set(keys)):
            self._spans = OrderedDict(zip(keys, spans, strict=True))
            self._end, self._live = end, sum(stop - start + 1 for _, start, stop in spans)

    def _is(self, file: int, key: str, data: bytes | None) -> bool:
        """Whether `data` is what the file has under the key."""
        if data is None or key not in self._spans:
            return data is None and key not in self._spans
        _, start, stop = self._spans[key]
        return stop - start == len(data) and read_at(file, start, len(data)) == data

    def _append(self, file: int, entries: Iterable[Entry], *, first: bool) -> None:
        """Write over the end, even where nothing is added: the file grows with every change, so that none is missed."""
        size, at = os.fstat(file).st_size, self._end
        data = self._place(entries, first=first) + b"]}"
        try:
            write_at(file, at, data.ljust(size - at + 1))
        except BaseException:
            self._end = -1
            write_at(file, at, b"]}")
            os.ftruncate(file, at + 2)
            raise

    def _blank(self, file: int, span: Span) -> None:
        """Blank an entry with its comma; where it is the first one, with the comma of the next."""
        comma, start, stop = span
        if comma < 0 and self._spans:
            key, (until, after, end) = next(iter(self._spans.items()))
            self._spans[key] = -1, after, end
            write_at(file, start, b" " * (until + 1 - start))
        else:
            at = start if comma < 0 else comma
            write_at(file, at, b" " * (stop - at))
        self._live -= stop - start + 1


def signature(found: os.stat_result) -> Signature:
    """The signature of the file that `found` is about."""
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_at(file: int, at: int, size: int) -> bytes:
    """`size` bytes of an open file, from `at` on; fewer where it ends."""
    os.lseek(file, at, os.SEEK_SET)
    return read_descriptor(file, size)


def write_at(file: int, at: int, data: bytes) -> None:
    """Write `data` to an open file, from `at` on."""
    os.lseek(file, at, os.SEEK_SET)
    write_descriptor(file, data)


def _spans(text: str) -> tuple[list[Span], int]:
    """Where the entries stand, and the `]` behind them: -1 where they are not the last in a file of our shape."""
    spans: list[Span] = []
    head, opening, _ = text.partition(_OPENING)
    at = len(head) + len(opening)
    while (match := _NEXT.match(text, at)) and bool(match[1]) == bool(spans):
        at = _decoder.raw_decode(text, match.end())[1]
        spans.append((match.start(1) if match[1] else -1, match.end(), at))
    end = _END.match(text, at)
    return spans, end.end() if end else -1


def _salvaged(text: str) -> tuple[dict[str, Any], list[Any]]:
    """What `text`, which is no JSON, said before somebody was killed. Raises ValueError if it is not our shape."""
    head, opening, body = text.partition(_OPENING)
    top: dict[str, Any] = json.loads(f"{head}{opening}]}}")
    del top["manifests"]
    entries, at = [], 0
    for match in _BEGINNING.finditer(body):
        with suppress(ValueError):  # a part of one
            if match.end() >= at:
                entry, at = _decoder.raw_decode(body, match.end())
                entries.append(entry)
    return top, entries
