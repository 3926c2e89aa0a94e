"""What is in a layer: files to tar archives and back."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
from itertools import permutations
from types import ModuleType
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreg import layer
from tinyreg.layer import File, Files, Symlink


def members(archive: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getmembers()


def tar(*entries: tuple[str, bytes | Symlink | None] | tuple[str, bytes | Symlink | None, str]) -> bytes:
    """An archive as others write it: (name, bytes), (name, None) for a folder, (name, b"", target) for a hard link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data, *hard in entries:
            info = tarfile.TarInfo(name)
            if hard:
                info.type, info.linkname = tarfile.LNKTYPE, hard[0]
            elif data is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(data, Symlink):
                info.type, info.linkname = tarfile.SYMTYPE, data.target
            else:
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data if isinstance(data, bytes) else b""))
    return buffer.getvalue()


# pack


def test_entries_have_no_time_and_no_owner() -> None:
    for info in members(layer.pack({"a": b"x", "b": Symlink("a"), "c/": b""})):
        assert (info.mtime, info.uid, info.gid, info.uname, info.gname) == (0, 0, 0, "", "")


def test_entries_are_sorted_whatever_the_order_of_the_files() -> None:
    files: list[tuple[str, layer.Entry]] = [("b", b"2"), ("a/x", File(b"1", 0o600)), ("a", Symlink("b"))]
    assert len({layer.pack(dict(each)) for each in permutations(files)}) == 1
    assert [info.name for info in members(layer.pack(dict(files)))] == ["a", "a/x", "b"]


@pytest.mark.parametrize(
    ("path", "entry", "kind", "mode"),
    [
        ("etc/motd", b"hello\n", tarfile.REGTYPE, 0o644),
        ("bin/sh", File(b"#!", mode=0o755), tarfile.REGTYPE, 0o755),
        ("lib", Symlink("usr/lib"), tarfile.SYMTYPE, 0o777),
        ("var/", b"", tarfile.DIRTYPE, 0o755),
    ],
)
def test_each_kind_of_entry_has_its_type_and_mode(path: str, entry: layer.Entry, kind: bytes, mode: int) -> None:
    (info,) = members(layer.pack({path: entry}))
    assert (info.name, info.type, info.mode) == (path.rstrip("/"), kind, mode)


@pytest.mark.parametrize(
    "path", ["/etc/motd", "../x", "a/../../x", "a/..", "", ".", "./", "/", "..", "a/../b"], ids=repr
)
def test_a_path_that_is_absolute_or_leads_out_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no path in a layer: write it from the root on, as in 'etc/motd'"):
        layer.pack({path: b""})


@pytest.mark.parametrize("path", ["a..b", "..a", ".wh.gone", "x" * 300, "d/" * 80 + "f", "grüße/äöü"], ids=ascii)
def test_a_path_that_only_looks_odd_comes_back_as_it_was(path: str) -> None:
    assert [info.name for info in members(layer.pack({path: b""}))] == [path]


def test_an_empty_layer_is_an_archive_without_entries() -> None:
    assert members(layer.pack({})) == []
    assert layer.apply([layer.pack({})]) == {}


# compress and decompress


@pytest.mark.parametrize("size", [0, 1, 65534, 65535, 65536, 131070, 131071, 200_000])
def test_what_is_compressed_is_valid_gzip_of_any_number_of_blocks(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    packed = layer.compress(data[:size])
    assert gzip.decompress(packed) == data[:size]
    assert layer.decompress(packed) == data[:size]


def test_a_gzip_header_has_no_time_and_no_name() -> None:
    assert layer.compress(b"x")[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def test_a_real_compressor_is_understood_and_plain_stays_plain() -> None:
    assert layer.decompress(gzip.compress(b"hello" * 1000)) == b"hello" * 1000
    assert layer.decompress(b"plain") == b"plain"


@pytest.mark.parametrize(
    "damaged",
    [
        layer.compress(b"x" * 100)[:-9],
        layer.compress(b"x" * 100)[:-4] + b"oops",
        layer.compress(b"x" * 100)[:5],
        b"\x1f\x8b\x07" + bytes(20),
        gzip.compress(b"x" * 100)[:10] + b"\xff" * 20,
        layer.compress(b"x") + b"trailing",
    ],
    ids=["cut", "length", "header", "method", "deflate", "trailing"],
)
def test_damaged_gzip_is_a_value_error(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="the layer is damaged: "):
        layer.apply([damaged])


ZSTD = layer.ZSTD_MAGIC + b"rest"


def test_zstd_without_the_module_says_which_python_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    with pytest.raises(ValueError, match=r"compressed with zstd, which Python reads from 3\.14 on"):
        layer.decompress(ZSTD)


def zstd(monkeypatch: pytest.MonkeyPatch) -> None:
    """A `compression.zstd` that knows one stream."""

    class ZstdError(Exception):
        pass

    def open_(file: BinaryIO) -> BinaryIO:
        if file.read() != ZSTD:
            raise ZstdError("Unable to decompress")
        return io.BytesIO(layer.pack({"a": b"zstd"}))

    module = ModuleType("compression.zstd")
    vars(module).update(ZstdError=ZstdError, ZstdFile=open_)
    monkeypatch.setitem(sys.modules, "compression", ModuleType("compression"))
    monkeypatch.setitem(sys.modules, "compression.zstd", module)


def test_zstd_is_read_where_the_interpreter_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    zstd(monkeypatch)
    assert layer.apply([ZSTD]) == {"a": b"zstd"}


def test_damaged_zstd_is_a_value_error(monkeypatch: pytest.MonkeyPatch) -> None:
    zstd(monkeypatch)
    with pytest.raises(ValueError, match="the layer is damaged: Unable to decompress"):
        layer.decompress(ZSTD + b"?")


# apply


@pytest.mark.parametrize(
    ("layers", "files"),
    [
        ([], {}),
        ([{"a": b"1"}, {"b": b"2"}], {"a": b"1", "b": b"2"}),
        ([{"a": b"1"}, {"a": b"2"}], {"a": b"2"}),
        ([{"b": b"", "a": b"", "a/x": b""}], {"a": b"", "a/x": b"", "b": b""}),
        ([{"d/": b"", "a": b"1"}], {"a": b"1"}),
        ([{"bin/sh": File(b"#!", 0o755)}], {"bin/sh": b"#!"}),
        ([{"l": Symlink("../out")}], {"l": Symlink("../out")}),
        ([{"l": Symlink("a")}, {"l": b"file"}], {"l": b"file"}),
        ([{"l": b"file"}, {"l": Symlink("a")}], {"l": Symlink("a")}),
        # whiteouts
        ([{"a": b"1", "b": b"2"}, {".wh.a": b""}], {"b": b"2"}),
        ([{"d/a": b"1", "d/e/b": b"2", "db": b"3"}, {".wh.d": b""}], {"db": b"3"}),
        ([{"d/a": b"1", "d/b": b"2"}, {"d/.wh.a": b""}], {"d/b": b"2"}),
        ([{"a": b"1"}, {".wh.b": b""}], {"a": b"1"}),
        ([{"a": b"1"}, {".wh.a": b"", "a": b"2"}], {"a": b"2"}),
        ([{"d/a": b"1"}, {".wh.d": b"", "d/b": b"2"}], {"d/b": b"2"}),
        ([{"a": b"1"}, {".wh.a": b""}, {"a": b"3"}], {"a": b"3"}),
        ([{".wh.a": b"", "a": b"1"}], {"a": b"1"}),
        # opaque folders
        ([{"d/a": b"1", "d/e/b": b"2", "x": b"3"}, {"d/.wh..wh..opq": b""}], {"x": b"3"}),
        ([{"d/a": b"1"}, {"d/.wh..wh..opq": b"", "d/b": b"2"}], {"d/b": b"2"}),
        ([{"d/.wh..wh..opq": b"", "d/a": b"1"}], {"d/a": b"1"}),
        ([{"a": b"1", "d/b": b"2"}, {".wh..wh..opq": b"", "c": b"3"}], {"c": b"3"}),
        ([{"d/a": b"1"}, {"d/.wh..wh..opq": b""}, {"d/a": b"3"}], {"d/a": b"3"}),
        # a file becomes a folder, a folder a file
        ([{"a": b"1"}, {"a/": b"", "a/b": b"2"}], {"a/b": b"2"}),
        ([{"a": b"1"}, {"a/b": b"2"}], {"a/b": b"2"}),
        ([{"a": Symlink("x"), "x/y": b""}, {"a/b/c": b"2"}], {"a/b/c": b"2", "x/y": b""}),
        ([{"a": b"1"}, {"a/": b""}], {}),
        ([{"a/b": b"1", "a/c": b"2"}, {"a/": b""}], {"a/b": b"1", "a/c": b"2"}),
        ([{"a/b": b"1", "a/c": b"2"}, {"a/c": b"3"}], {"a/b": b"1", "a/c": b"3"}),
        ([{"a/b": b"1"}, {"a": b"2"}], {"a": b"2"}),
        ([{"a/b": b"1"}, {"a": Symlink("x")}], {"a": Symlink("x")}),
        ([{"a": b"1"}, {"a/b": b"2"}, {"a": b"3"}], {"a": b"3"}),
    ],
)
def test_layers_make_these_files_together(layers: list[Files], files: dict[str, bytes | Symlink]) -> None:
    found = layer.apply([layer.pack(each) for each in layers])
    assert found == files
    assert list(found) == sorted(found)
    assert layer.apply(layer.compress(layer.pack(each)) for each in layers) == files


def test_whiteouts_act_on_lower_layers_wherever_they_stand_in_their_own() -> None:
    lower = tar(("d/a", b"1"), ("e", b"1"))
    upper = tar(("d/b", b"2"), ("e", b"2"), (".wh.e", b""), ("d/.wh..wh..opq", b""))
    assert layer.apply([lower, upper]) == {"d/b": b"2", "e": b"2"}


@pytest.mark.parametrize("prefix", ["./", "/", "././", "../"])
def test_paths_are_from_the_root_however_they_are_prefixed(prefix: str) -> None:
    lower = tar(("./", None), (f"{prefix}d/", None), (f"{prefix}d/a", b"1"), (f"{prefix}b", b"2"))
    upper = tar((f"{prefix}d/.wh.a", b""), (f"{prefix}h", b"", f"{prefix}b"))
    assert layer.apply([lower]) == {"d/a": b"1", "b": b"2"}
    assert layer.apply([lower, upper]) == {"b": b"2", "h": b"2"}


def test_a_hard_link_is_the_file_of_the_same_layer_or_else_of_a_lower_one() -> None:
    lower = tar(("a", b"low"), ("s", Symlink("a")))
    assert layer.apply([tar(("a", b"same"), ("h", b"", "a"))]) == {"a": b"same", "h": b"same"}
    assert layer.apply([lower, tar(("h", b"", "a"))])["h"] == b"low"
    assert layer.apply([lower, tar(("a", b"high"), ("h", b"", "a"))])["h"] == b"high"
    assert layer.apply([lower, tar(("h", b"", "s"))])["h"] == Symlink("a")
    assert layer.apply([lower, tar(("h", b"", "a"), (".wh.a", b""))])["h"] == b"low"


def test_a_hard_link_to_nothing_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="hard link to d/none, which is not there"):
        layer.apply([tar(("h", b"", "./d/none"))])


def test_what_is_no_file_link_or_folder_is_left_out() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (("pipe", tarfile.FIFOTYPE), ("null", tarfile.CHRTYPE), ("disk", tarfile.BLKTYPE)):
            info = tarfile.TarInfo(name)
            info.type = kind
            archive.addfile(info)
    assert layer.apply([buffer.getvalue(), tar(("a", b"1"))]) == {"a": b"1"}


TWO = layer.pack({"a": b"x" * 600, "b": b"y" * 600})


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"no tar at all",
        b"x" * 2000,
        TWO[:100],
        TWO[:800],
        TWO[:1536] + b"?" + TWO[1537:],
        TWO[:1700],
    ],
    ids=["empty", "text", "blocks", "first header cut", "first file cut", "second header", "second header cut"],
)
def test_a_damaged_archive_is_a_value_error_and_not_fewer_files(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="the layer is no tar archive"):
        layer.apply([damaged])


def test_an_archive_without_the_empty_blocks_at_its_end_is_whole() -> None:
    assert layer.apply([TWO[:3072]]) == {"a": b"x" * 600, "b": b"y" * 600}


@given(st.integers(0, 3071), st.integers(1, 255))
def test_damage_anywhere_in_an_archive_raises_nothing_but_a_value_error(at: int, change: int) -> None:
    damaged = bytearray(TWO)
    damaged[at] ^= change
    try:
        files = layer.apply([bytes(damaged)])
    except ValueError:
        return
    assert len(files) <= 2


names = st.text("abc", min_size=1, max_size=2)
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(paths, st.binary(max_size=20), max_size=6))
def test_one_layer_gives_back_what_went_in(files: dict[str, bytes]) -> None:
    assert layer.apply([layer.compress(layer.pack(files))]) == files


@given(st.lists(st.dictionaries(paths, st.binary(max_size=4), max_size=4), max_size=4))
def test_files_and_folders_of_different_layers_never_share_a_path(layers: list[dict[str, bytes]]) -> None:
    proper = [
        {path: data for path, data in each.items() if not any(other.startswith(path + "/") for other in each)}
        for each in layers
    ]
    found = layer.apply(map(layer.pack, proper))
    assert not [path for path in found for other in found if other.startswith(path + "/")]
