"""A moment of each mode of `python -m tests.fuzz`, what they found before, and that they find something at all."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tinyreg import DirectoryStore, MemoryStore, wire
from tinyreg.content import Content
from tinyreg.reference import Digest, Name
from tinyreg.repository import Repository

from .fuzz import flood, kill, model
from .fuzz import wire as wire_mode
from .fuzz.run import Broken, Run
from .fuzz.target import STORES, debris

needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="needs fork and /proc")
SHORT = {"wire": 300, "grammar": 400, "concurrent": 300}


def main(mode: str) -> Callable[[Run], None]:
    found: Callable[[Run], None] = importlib.import_module(f"tests.fuzz.{mode}").main
    return found


@pytest.mark.parametrize("mode", SHORT)
def test_a_moment_of_fuzzing_finds_nothing(mode: str) -> None:
    run = Run(seed=7, requests=SHORT[mode])
    main(mode)(run)
    assert run.done >= SHORT[mode]
    assert len(run.answers) > 3


@pytest.mark.parametrize("kind", STORES)
def test_every_store_does_what_the_model_says(kind: str) -> None:
    model.examine(kind, Run(), 7, examples=3, steps=30)


@needs_fork
def test_what_was_acknowledged_survives_kills() -> None:
    run = Run(seed=7, requests=6)
    main("kill")(run)
    assert run.answers["killed"] == 6
    assert run.answers["acknowledged"] > 20


@needs_fork
def test_a_small_flood_is_served() -> None:
    run = Run()
    flood.flood(run, clients=20, connections=50, sluggish=10)
    assert run.answers["200"] > 100
    assert "peak memory of all, MiB" in run.figures


# What they found, by the seed that did (`--seed S --first N`)

FOUND = [("wire", 1, 2715), ("wire", 1, 33677), ("grammar", 1, 0), ("concurrent", 1, 3)]


@pytest.mark.parametrize(("mode", "seed", "case"), FOUND)
def test_what_was_found_once_is_not_there_any_more(mode: str, seed: int, case: int) -> None:
    main(mode)(Run(seed=seed, first=case, requests=1))


# That a mistake would be found


def test_the_same_seed_makes_the_same_requests() -> None:
    one, other, third = (Run(seed=seed, requests=500) for seed in (1, 1, 2))
    for run in (one, other, third):
        wire_mode.main(run)
    assert one.answers == other.answers != third.answers
    assert [each.random() for each in cases(one)] == [each.random() for each in cases(other)]


def cases(run: Run) -> Iterator[random.Random]:
    run.done = 0
    for each in run.cases():
        run.done += 100
        yield each


def test_wire_finds_framing_that_depends_on_the_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    into = wire.Stream.into

    def careless(self: wire.Stream, view: memoryview) -> int:
        count = into(self, view)
        if count == 1:
            view[0] ^= 1
        return count

    monkeypatch.setattr(wire.Stream, "into", careless)
    with pytest.raises(Broken, match=r"fuzz wire --seed 7 --first \d+ --requests 1(?s:.)*the pieces make a difference"):
        main("wire")(Run(seed=7, requests=5000))


def test_grammar_finds_an_exception_in_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Repository, "tags", lambda *_: 1 / 0)
    with pytest.raises(Broken, match="ZeroDivisionError"):
        main("grammar")(Run(seed=7, requests=5000))


def test_model_finds_a_delete_that_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryStore, "delete_blob", MemoryStore.blob)
    with pytest.raises(AssertionError):
        model.examine("memory", Run(), 7, shorten=False)


def test_concurrent_finds_a_push_that_is_lost_at_times(monkeypatch: pytest.MonkeyPatch) -> None:
    put, number = MemoryStore.put_blob, iter(range(10**9))

    def lose(self: MemoryStore, name: Name, digest: Digest, content: Content) -> None:
        if next(number) % 50 < 49:
            put(self, name, digest, content)

    monkeypatch.setattr(MemoryStore, "put_blob", lose)
    monkeypatch.setattr("tests.fuzz.concurrent.STORES", {"memory": STORES["memory"]})
    with pytest.raises(Broken, match="AssertionError"):
        main("concurrent")(Run(seed=7, requests=5000))


def test_kill_finds_what_was_acknowledged_and_is_gone_and_what_is_half_there(tmp_path: Path) -> None:
    store, name, digest = DirectoryStore(tmp_path), Name("w0/app"), Digest.of(b"here")
    store.put_blob(name, digest, b"here")
    held = kill.Model(blobs={(name, digest): b"here"})
    assert kill.verify(tmp_path, [held]) == 1
    with pytest.raises(AssertionError, match="not b'gone'"):
        kill.verify(tmp_path, [kill.Model(blobs={(name, Digest.of(b"gone")): b"gone"})])
    with pytest.raises(AssertionError, match="not None"):
        kill.verify(tmp_path, [kill.Model(blobs={(name, digest): None})])
    file = tmp_path / "w0" / "app" / "blobs" / "sha256" / digest.encoded
    file.write_bytes(b"he")
    assert debris(tmp_path) == [f"not what its name says: {file}"]
