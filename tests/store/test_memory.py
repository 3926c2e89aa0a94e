from __future__ import annotations

import gc
import weakref
from mmap import mmap
from pathlib import Path

import pytest

from tinyreg.content import Content
from tinyreg.errors import DigestInvalid
from tinyreg.reference import Digest
from tinyreg.store.memory import SPILL, MemoryStore

from . import APP, DATA, DIGEST, OTHER, push


@pytest.fixture
def spilling() -> MemoryStore:
    return MemoryStore(spill=len(DATA))


def file_of(content: Content) -> mmap:
    assert isinstance(content, memoryview)
    assert content.readonly
    assert isinstance(content.obj, mmap)
    return content.obj


def test_a_blob_below_the_limit_is_one_block_of_memory(spilling: MemoryStore) -> None:
    content = spilling.blob(APP, push(spilling, data=DATA[:-1]))
    assert isinstance(content, memoryview)
    assert (bytes(content), content.contiguous, content.readonly) == (DATA[:-1], True, True)


@pytest.mark.parametrize("extra", [b"", b"x", b"x" * 100_000], ids=["at the limit", "above", "far above"])
def test_a_blob_from_the_limit_on_is_a_temporary_file(spilling: MemoryStore, extra: bytes) -> None:
    content = spilling.blob(APP, push(spilling, data=DATA + extra))
    assert file_of(content).size() == len(DATA + extra)
    assert bytes(content) == DATA + extra


def test_nothing_at_all_can_be_a_temporary_file_too() -> None:
    store = MemoryStore(spill=0)
    upload = store.upload(APP)
    upload.write(b"")
    upload.commit(Digest.of(b""))
    assert bytes(store.blob(APP, Digest.of(b""))) == b""


def test_by_default_16_mib_spill() -> None:
    assert MemoryStore().spill == SPILL == 16 * 1024 * 1024


def test_an_upload_that_grows_over_the_limit_is_held_once(spilling: MemoryStore) -> None:
    upload = spilling.upload(APP)
    upload.write(DATA[:-1])
    assert bytes(upload._memory) == DATA[:-1]
    upload.write(DATA[-1:])
    upload.write(b"more")
    assert upload._memory == b""
    upload.commit(Digest.of(DATA + b"more"))
    assert bytes(spilling.blob(APP, Digest.of(DATA + b"more"))) == DATA + b"more"


def test_a_spilled_blob_s_file_is_closed_when_its_last_reader_is_gone(spilling: MemoryStore) -> None:
    content = spilling.blob(APP, push(spilling))
    file = weakref.ref(file_of(content))
    spilling.delete_blob(APP, DIGEST)
    assert bytes(content) == DATA
    assert file() is not None
    del content
    assert file() is None


def test_a_spilled_blob_in_a_cycle_of_garbage_is_closed_without_a_warning() -> None:
    store = MemoryStore(spill=1)
    content = store.blob(APP, push(store))
    file = weakref.ref(file_of(content))
    store.itself = store  # type: ignore[attr-defined]
    del store, content
    gc.collect()
    assert file() is None


@pytest.mark.parametrize("how", ["cancel", "mismatch", "close", "clear"])
def test_a_spilled_upload_that_ends_early_closes_its_file(spilling: MemoryStore, how: str) -> None:
    upload = spilling.upload(APP)
    upload.write(DATA)
    assert upload._file is not None
    file = upload._file
    if how == "mismatch":
        with pytest.raises(DigestInvalid):
            upload.commit(Digest.of(b"else"))
        del upload
    else:
        {"cancel": upload.cancel, "close": spilling.close, "clear": spilling.clear}[how]()
    gc.collect()
    assert file.closed


def test_a_temporary_file_has_no_name(spilling: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    push(spilling)
    assert list(tmp_path.iterdir()) == []


def test_a_mount_shares_the_bytes(spilling: MemoryStore) -> None:
    for data in (DATA, b"small"):
        digest = push(spilling, OTHER, data)
        spilling.mount(APP, digest, OTHER)
        assert spilling.blob(APP, digest) is spilling.blob(OTHER, digest)


def test_what_is_put_unchecked_is_kept_as_told() -> None:
    store = MemoryStore()
    store.put_blob(APP, DIGEST, b"a lie")
    assert store.blob(APP, DIGEST) == b"a lie"
    assert store.repositories() == [APP]
