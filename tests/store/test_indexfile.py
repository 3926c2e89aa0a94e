from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tinyreg.manifest import OCI_INDEX
from tinyreg.reference import Tag
from tinyreg.store import indexfile
from tinyreg.store.directory import DirectoryStore
from tinyreg.store.indexfile import SLACK, IndexFile, Signature, Whole, signature

from . import APP, V1, V2, image

TOP = {"schemaVersion": 2, "mediaType": OCI_INDEX}


def replace(path: str, data: bytes) -> Signature:
    Path(f"{path}.new").write_bytes(data)
    os.replace(f"{path}.new", path)
    return signature(os.stat(path))


def entry(key: str, note: str = "") -> dict[str, Any]:
    return {"mediaType": "a/b", "key": key, "note": note}


def line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Model:
    """An IndexFile, and what should be in it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "index.json"
        self.file = IndexFile(str(self.path), replace, lambda entry: str(entry["key"]))
        self.entries: dict[str, dict[str, Any]] = {}
        self.file.rewrite(*self.whole())

    def whole(self) -> Whole:
        return TOP, [(key, line(value)) for key, value in self.entries.items()]

    def change(self, **notes: str | None) -> None:
        for key, note in notes.items():
            before = self.entries.pop(key, None)
            if note is not None:
                self.entries[key] = entry(key, note)
            if before == self.entries.get(key) and before is not None:
                self.entries = {**self.entries, key: before}
        lines = {key: None if note is None else line(entry(key, note)) for key, note in notes.items()}
        self.file.lock()
        try:
            self.file.change(lines, self.whole)
        finally:
            self.file.unlock()

    def read(self) -> dict[str, Any]:
        """What any other program finds, by key."""
        found = json.loads(self.path.read_bytes())
        assert {key: found[key] for key in TOP} == TOP
        keys = [each["key"] for each in found["manifests"]]
        assert len(set(keys)) == len(keys)
        return {each["key"]: each for each in found["manifests"]}


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model(tmp_path)


@pytest.mark.parametrize("seed", range(20))
def test_after_each_change_every_program_reads_just_what_there_is(model: Model, seed: int) -> None:
    rng = random.Random(seed)
    inodes, signatures = set(), set()
    for number in range(200):
        keys = rng.sample("abcdefg", rng.randint(1, 3))
        before = model.file.signature()
        model.change(**{key: rng.choice([None, "x", "y" * rng.randint(0, 200), "same"]) for key in keys})
        assert model.read() == model.entries
        signatures.add(model.file.signature())
        assert model.file.signature() != before
        inodes.add(model.path.stat().st_ino)
        if number % 20 == 0:  # somebody else goes on from what lies there
            again = IndexFile(str(model.path), replace, lambda entry: str(entry["key"]))
            assert {each["key"]: each for each in again.read()[1]} == model.entries
            model.file = again
    assert model.path.stat().st_size < 2 * len(line(TOP)) + SLACK + 7 * 400 * 2


def test_what_is_added_is_written_behind_what_is_there_and_no_more(model: Model) -> None:
    model.change(**{f"k{number}": "x" for number in range(50)})
    inode, before = model.path.stat().st_ino, model.path.read_bytes()
    model.change(new="x")
    assert model.path.stat().st_ino == inode
    assert model.path.read_bytes() == before[:-2] + b"," + line(entry("new", "x")) + b"]}"


def test_what_moves_leaves_blanks_until_more_than_half_is_blank(model: Model) -> None:
    model.change(**{f"k{number}": "x" * 100 for number in range(50)})
    inode = model.path.stat().st_ino
    model.change(k0="y")
    assert b"[      " in model.path.read_bytes()
    assert model.path.stat().st_ino == inode
    model.change(**{f"k{number}": None for number in range(50)})
    assert model.read() == {}
    assert model.path.read_bytes() == line({**TOP, "manifests": []})


def written_by_others() -> Iterator[tuple[str, str]]:
    yield "indented", json.dumps({**TOP, "manifests": [entry("a"), entry("b")]}, indent=2)
    yield "the entries not last", json.dumps({"manifests": [entry("a"), entry("b")], **TOP}, separators=(",", ":"))
    yield "not ASCII", json.dumps({**TOP, "manifests": [entry("a", "ä"), entry("b")]}, ensure_ascii=False)
    yield "twice the same", json.dumps({**TOP, "manifests": [entry("b"), entry("a"), entry("b")]})
    yield "compact", json.dumps({**TOP, "manifests": [entry("a"), entry("b")]}, separators=(",", ":")) + "\n"


@pytest.mark.parametrize(
    "text", [text for _, text in written_by_others()], ids=[name for name, _ in written_by_others()]
)
def test_what_another_program_wrote_is_read_and_then_changed(model: Model, text: str) -> None:
    model.path.write_text(text, encoding="utf-8")
    top, entries, found = model.file.read()
    assert top == TOP
    assert found == model.file.signature()
    model.entries = {each["key"]: each for each in entries}
    assert set(model.entries) == {"a", "b"}
    model.change(c="new", a=None)
    assert model.read() == model.entries
    assert set(model.entries) == {"b", "c"}


class Killed(BaseException):
    """The process is no more."""


def torn(at: int) -> Any:
    """A `write_at` of a process that dies when it has written so many bytes in all."""
    left, write_at = at, indexfile.write_at

    def write(file: int, offset: int, data: bytes) -> None:
        nonlocal left
        write_at(file, offset, data[: max(0, left)])
        left -= len(data)
        if left < 0:  # its last attempt to undo fails, too: it is dead
            raise Killed

    return write


def test_a_process_killed_at_any_byte_leaves_what_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, other = image("old"), image("new"), image("other")
    for at in range(0, 1200, 7):
        folder = tmp_path / str(at)
        store = DirectoryStore(folder)
        store.put_manifest(APP, old, [V1])
        store.put_manifest(APP, other, [Tag("stays")])
        with monkeypatch.context() as patch:
            patch.setattr(indexfile, "write_at", torn(at))
            try:
                store.put_manifest(APP, new, [V1, V2])
                store.delete_tag(APP, V2)
                done = True
            except Killed:
                done = False
        again = DirectoryStore(folder)
        assert again.resolve(APP, Tag("stays")) == other.digest
        assert again.manifest(APP, old.digest).data == old.data
        assert again.resolve(APP, V1) in ({new.digest} if done else {old.digest, new.digest})
        again.put_manifest(APP, image("after"), [V2])
        found = json.loads((folder / "team/app/index.json").read_bytes())
        assert DirectoryStore(folder).resolve(APP, V2) == image("after").digest
        assert len(found["manifests"]) <= 5
    assert done


def test_two_processes_lose_none_of_each_others_changes(tmp_path: Path) -> None:
    stores = [DirectoryStore(tmp_path), DirectoryStore(tmp_path)]

    def push(number: int) -> None:
        for turn in range(40):
            stores[number].put_manifest(APP, image(f"{number}/{turn}"), [Tag(f"n{number}t{turn}"), Tag("both")])
            if turn % 4 == 3:
                stores[number].delete_tag(APP, Tag(f"n{number}t{turn - 1}"))

    threads = [Thread(target=push, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = {f"n{number}t{turn}" for number in range(2) for turn in range(40) if turn % 4 != 2} | {"both"}
    assert all(set(each.tags(APP)) == expected for each in (*stores, DirectoryStore(tmp_path)))


def test_a_file_that_was_cut_off_elsewhere_is_no_index(model: Model) -> None:
    model.path.write_bytes(b'{"schemaVersion":2,"mani')
    with pytest.raises(ValueError, match=r"delimiter|Unterminated"):
        model.file.read()
