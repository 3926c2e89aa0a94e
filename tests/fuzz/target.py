"""A registry to be attacked, over any store, and what has to hold of it afterwards."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tinyreg import DirectoryStore, MemoryStore, Registry
from tinyreg.reference import Digest, Name
from tinyreg.store import Store
from tinyreg.store.prefixed import Prefixed
from tinyreg.store.pullthrough import PullThrough
from tinyreg.store.remote import RemoteStore

Make = Callable[[Path, ExitStack], Store]


def _remote(folder: Path, stack: ExitStack) -> Store:
    return RemoteStore(stack.enter_context(Registry()).url)


STORES: dict[str, Make] = {
    "memory": lambda folder, stack: MemoryStore(),
    "spill": lambda folder, stack: MemoryStore(spill=50),
    "directory": lambda folder, stack: DirectoryStore(folder / "store"),
    "remote": _remote,
    "prefixed": lambda folder, stack: Prefixed(MemoryStore(), "a/prefix"),
    "pullthrough": lambda folder, stack: PullThrough(MemoryStore(), MemoryStore()),
}


@contextmanager
def attacked(kind: str, **options: Any) -> Iterator[Registry]:
    """A started registry; behind the block no bug, thread, file or upload may be left, and the store be consistent."""
    threads, before = set(threading.enumerate()), descriptors()
    with tempfile.TemporaryDirectory(prefix="tinyreg-fuzz-") as folder, ExitStack() as stack:
        store = STORES[kind](Path(folder), stack)
        registry = stack.enter_context(Registry(store, **options))
        yield registry
        assert registry.errors == [], registry.errors
        problems = list(inconsistencies(store))
        assert problems == [], problems
        registry.stop()
        assert len(registry._sessions) == 0
        if kind == "directory":
            left = debris(Path(folder) / "store")
            assert left == [], left
            content = seen(store)
            assert seen(DirectoryStore(Path(folder) / "store")) == content, "another process would see other content"
        if kind != "remote":  # whose content is its own registry's
            store.clear()  # which lets go of spill files
    assert set(threading.enumerate()) <= threads, threading.enumerate()
    after = descriptors()
    assert len(after) <= len(before), set(after) - set(before)


def descriptors() -> list[str]:
    """What this process has open."""
    found = []
    for each in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []:
        try:
            found.append(os.readlink(f"/proc/self/fd/{each}"))
        except OSError:
            continue
    return found


def inconsistencies(store: Store) -> Iterator[str]:
    """What does not fit together: tags without manifests, manifests that are not what their digest says."""
    for name in store.repositories():
        for tag in store.tags(name):
            digest = store.resolve(name, tag)
            manifest = store.manifest(name, digest)
            if Digest.of(manifest.data, digest.algorithm) != digest:
                yield f"{name}:{tag} is not {digest}"


def debris(folder: Path) -> list[str]:
    """Files in a store's folder that are no layout's, and blobs that are not what their name says."""
    found = []
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        inside = path.relative_to(folder).parts
        if len(inside) > 3 and inside[-3] == "blobs":
            if Digest.of(path.read_bytes(), inside[-2]).encoded != path.name:
                found.append(f"not what its name says: {path}")
        elif inside[-1] not in ("index.json", "oci-layout"):
            found.append(f"left over: {path}")
    return found


def seen(store: Store) -> dict[Name, Any]:
    """Every repository's tags and what they name."""
    return {
        name: {tag: store.manifest(name, store.resolve(name, tag)).data for tag in store.tags(name)}
        for name in store.repositories()
    }
