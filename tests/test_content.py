from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreg import content
from tinyreg.content import CHUNK, SMALL, Content, FileSlice, OpenFile, chunks, open_slice, read_small

DATA = bytes(range(256)) * 4


@pytest.fixture(params=["pread", "seek, as on Windows"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "pread":
        monkeypatch.delattr(os, "pread", raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(DATA)
    return path


def closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


@pytest.mark.usefixtures("reading")
def test_a_file_reads_back_whole(path: Path) -> None:
    content = open_slice(path)
    assert len(content) == len(DATA)
    assert bytes(content) == DATA
    assert bytes(content) == DATA  # a second time, too


def test_a_missing_file_raises_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_slice(tmp_path / "missing")


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize(
    ("offset", "size", "expected"),
    [(0, 3, DATA[:3]), (5, 3, DATA[5:8]), (len(DATA) - 1, 9, DATA[-1:]), (len(DATA), 9, b""), (99999, 9, b"")],
    ids=["start", "middle", "over the end", "at the end", "behind the end"],
)
def test_reading_at_an_offset_gives_what_stands_there(path: Path, offset: int, size: int, expected: bytes) -> None:
    assert open_slice(path).file.read_at(offset, size) == expected


@pytest.mark.usefixtures("reading")
def test_threads_read_one_file_without_disturbing_each_other(path: Path) -> None:
    content, wrong, start = open_slice(path), [], threading.Barrier(4)

    def read(first: int) -> None:
        start.wait()
        for _ in range(200):
            if bytes(content[first : first + 100]) != DATA[first : first + 100]:
                wrong.append(first)

    threads = [threading.Thread(target=read, args=(first,)) for first in (0, 77, 300, 800)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_descriptor_is_the_open_file_s(path: Path) -> None:
    content = open_slice(path)
    assert os.fstat(content.file.fileno()).st_ino == path.stat().st_ino


def test_a_file_is_closed_when_the_last_slice_is_gone(path: Path) -> None:
    content = open_slice(path)
    descriptor = content.file.fileno()
    part = content[2:4]
    del content
    assert not closed(descriptor)
    assert bytes(part) == DATA[2:4]
    del part
    assert closed(descriptor)


def test_a_removed_file_is_read_to_its_end(path: Path) -> None:
    content = open_slice(path)
    path.unlink()
    assert bytes(content) == DATA


def test_a_file_that_shrank_gives_what_is_left(path: Path) -> None:
    content = open_slice(path)
    os.truncate(path, 10)
    assert bytes(content) == DATA[:10]
    assert len(content) == len(DATA)


def test_a_large_file_comes_in_chunks(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * (2 * CHUNK + 1))
    assert [len(chunk) for chunk in open_slice(path).chunks()] == [CHUNK, CHUNK, 1]


def from_file(path: Path, data: bytes) -> Content:
    path.write_bytes(data)
    return open_slice(path)


KINDS: dict[str, Callable[[Path, bytes], Content]] = {
    "bytes": lambda path, data: data,
    "memoryview": lambda path, data: memoryview(data),
    "file": from_file,
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1])
def test_chunks_of_any_content_join_to_it(tmp_path: Path, make: Callable[[Path, bytes], Content], size: int) -> None:
    data = (DATA * (size // len(DATA) + 1))[:size]
    pieces = [bytes(piece) for piece in chunks(make(tmp_path / "f", data))]
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= CHUNK for piece in pieces)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> FileSlice:
    return FileSlice(OpenFile(temporary(tmp_path_factory)), 0, len(DATA))


def temporary(factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    path = factory.mktemp("content") / "whole"
    path.write_bytes(DATA)
    return path.open("rb", buffering=0)


bound = st.none() | st.integers(-len(DATA) - 5, len(DATA) + 5)


@given(bound, bound, bound, bound)
def test_slicing_a_slice_is_slicing_bytes(
    whole: FileSlice, first: int | None, last: int | None, inner_first: int | None, inner_last: int | None
) -> None:
    outer, expected = whole[first:last], DATA[first:last]
    inner, expected_inner = outer[inner_first:inner_last], expected[inner_first:inner_last]
    assert (len(outer), bytes(outer)) == (len(expected), expected)
    assert (len(inner), bytes(inner)) == (len(expected_inner), expected_inner)


# Small files


@pytest.mark.parametrize("size", [0, 1, SMALL, SMALL + 1])
def test_a_small_file_is_read_and_a_larger_one_opened(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(bytes(size))
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    found = read_small(str(tmp_path / "file"))
    assert isinstance(found, bytes if size <= SMALL else FileSlice)
    assert bytes(found) == bytes(size)
    del found
    assert before == (set(os.listdir("/proc/self/fd")) if before else set())


def test_a_descriptor_that_takes_and_gives_bytes_in_pieces_gets_and_gives_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = os.read, os.write
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(3, size)))
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT | content.BINARY)
    try:
        content.write_descriptor(descriptor, DATA)
        os.lseek(descriptor, 0, os.SEEK_SET)
        assert content.read_descriptor(descriptor, len(DATA) + 1) == DATA  # which ends before
    finally:
        os.close(descriptor)


# What is no plain file


@pytest.fixture(params=["O_NOFOLLOW", "without it, as on Windows"])
def follows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "O_NOFOLLOW":
        monkeypatch.delattr(os, "O_NOFOLLOW", raising=False)
        monkeypatch.setattr(content, "_PLAIN", 0)


@pytest.mark.usefixtures("follows")
def test_a_symbolic_link_and_a_folder_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"plain")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert bytes(open_slice(tmp_path / "file")) == b"plain"
    assert (content.file_size(tmp_path / "file"), content.is_file(tmp_path / "file")) == (5, True)
    assert read_small(str(tmp_path / "file")) == b"plain"
    for other in ("link", "missing"):
        with pytest.raises(FileNotFoundError):
            open_slice(tmp_path / other)
        with pytest.raises(FileNotFoundError):
            read_small(str(tmp_path / other))
    for other in ("link", "missing", "file/below", "."):
        assert not content.is_file(tmp_path / other)
    with pytest.raises(FileNotFoundError, match="not a regular file"):
        content.file_size(tmp_path)
