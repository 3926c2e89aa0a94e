"""What is measured: each row's figures, their units, and how they come about."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from math import ceil

import tinyreg

from . import content, driver, request
from .connection import Connection
from .content import MIB
from .registry import Registry, Running
from .request import Operation

CONNECTIONS = (1, 8)
TAGS = 10
"""Images that are pushed to one repository before the next one's turn."""

PAGE = 100
TAGGED = (10, 5_000, 100_000)
"""Tags in the repositories whose pages are asked for."""
PUSHED = (10, 1_000, 10_000)
"""Tags in the repositories that are pushed into."""
COMPARED = 5_000
"""The most tags that others are given."""
SEEDED = 1_000
"""Images of a small layer that a test puts into its registry, without a client."""
PULLS = 4
"""The large blob, so many times at once."""

KEPT = 256
"""MiB pushed in blobs that a store in memory keeps there."""

_GETS = 10_000_000
_PUSHES = 4_000  # more a second than any registry takes
_LONGEST = 60.0  # seconds; for what is a single operation


@dataclass(frozen=True)
class Scale:
    """How long and how much."""

    seconds: float
    starts: int
    processes: int
    blob: int
    peak: int
    """The blob whose push is watched for memory; it and `blob` in MiB."""
    share: int
    """What the numbers of tags are divided by."""

    def tags(self, count: int) -> int:
        """So many tags at this scale."""
        return max(10, count // self.share)


FULL = Scale(seconds=0.5, starts=300, processes=3, blob=512, peak=1024, share=1)
QUICK = Scale(seconds=0.2, starts=50, processes=2, blob=64, peak=128, share=10)


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    key: str
    title: str
    unit: str
    less_is_better: bool = False


@dataclass(frozen=True)
class Row:
    """Figures that are measured together; those that don't apply to a registry are left out of what comes back."""

    name: str
    figures: tuple[Figure, ...]
    measure: Callable[[Registry], Mapping[str, float]]
    once: bool = False
    """Whether repeating it shows nothing new."""


def rows(scale: Scale) -> list[Row]:
    """All of them."""
    blob, peak = f"{scale.blob} MiB blob", f"{scale.peak} MiB blob"
    return [
        Row("start", (Figure("start", "Registry(): start, answer, stop", "ms", True),), partial(_start, scale)),
        Row(
            "seed",
            (Figure("seed", f"{scale.tags(SEEDED):,} small images put in", "ms", True),),
            partial(_seed, scale),
        ),
        Row(
            "ready",
            (
                Figure("ready", "process until it answers", "ms", True),
                Figure("pass", "the same for `python -c pass`", "ms", True),
            ),
            partial(_ready, scale),
        ),
        Row("base", _by_connections("GET /v2/", "/s"), partial(_base, scale)),
        Row("manifest", _by_connections("GET a manifest", "/s"), partial(_manifest, scale)),
        Row("push", _by_connections("push an image", "/s"), partial(_push, scale)),
        Row("pull", _by_connections("pull an image", "/s"), partial(_pull, scale)),
        Row(
            "blob",
            (
                Figure("push", f"push a {blob}", "MiB/s"),
                Figure("pull", f"pull a {blob}", "MiB/s"),
                Figure("pulls", f"pull it, {PULLS} at once", "MiB/s"),
            ),
            partial(_blob, scale),
        ),
        Row("tags", _by_tags(f"page of {PAGE}", scale, TAGGED), partial(_tags, scale), once=True),
        Row("tagged", _by_tags("push an image", scale, PUSHED), partial(_tagged, scale), once=True),
        Row(
            "peak",
            (
                Figure("peak", f"peak memory, {peak}", "MiB", True),
                Figure("kept", f"peak memory, {KEPT} MiB kept in it", "MiB", True),
            ),
            partial(_peak, scale),
            once=True,
        ),
    ]


def _by_connections(title: str, unit: str) -> tuple[Figure, ...]:
    return tuple(Figure(f"c{number}", f"{title}, c{number}", unit) for number in CONNECTIONS)


def _by_tags(title: str, scale: Scale, counts: Iterable[int]) -> tuple[Figure, ...]:
    return tuple(Figure(f"t{count}", f"{title}, {scale.tags(count):,} tags", "/s") for count in counts)


def _start(scale: Scale, registry: Registry) -> Mapping[str, float]:
    if not registry.is_tinyreg:
        return {}
    with tempfile.TemporaryDirectory(prefix="tinyreg-bench-") as folder:
        store = folder if registry.on_disk else None
        return {"start": statistics.median(_start_and_stop(store) for _ in range(scale.starts)) * 1000}


def _start_and_stop(store: str | None) -> float:
    ask = request.get(request.BASE)
    began = time.perf_counter()
    with tinyreg.Registry(store) as server, Connection(("127.0.0.1", server.port)) as connection:
        ask(connection)
    return time.perf_counter() - began


def _seed(scale: Scale, registry: Registry) -> Mapping[str, float]:
    if not registry.is_tinyreg:
        return {}
    with tempfile.TemporaryDirectory(prefix="tinyreg-bench-") as folder:
        server = tinyreg.Registry(folder if registry.on_disk else None)
        began = time.perf_counter()
        for number in range(scale.tags(SEEDED)):
            server.push_image(f"team/app:{number}", layers=[{"etc/motd": b"hello %d\n" % number}])
        return {"seed": (time.perf_counter() - began) * 1000}


def _ready(scale: Scale, registry: Registry) -> Mapping[str, float]:
    if registry.is_null:
        return {}
    seconds: list[float] = []
    for _ in range(scale.processes):
        with registry.running() as server:
            if server.ready is None:
                return {}
            seconds.append(server.ready)
    ready = {"ready": statistics.median(seconds) * 1000}
    return {**ready, "pass": statistics.median(_pass() for _ in seconds) * 1000} if registry.is_tinyreg else ready


def _pass() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - began


def _base(scale: Scale, registry: Registry) -> Mapping[str, float]:
    with registry.running() as server:
        return _gets(scale, server, request.BASE)


def _manifest(scale: Scale, registry: Registry) -> Mapping[str, float]:
    with registry.running() as server:
        name, tag = _one_image(server)[:2]
        return _gets(scale, server, request.manifest_path(name, tag))


def _push(scale: Scale, registry: Registry) -> Mapping[str, float]:
    def job(connections: int, number: int) -> Iterable[Operation]:
        images = ceil(_PUSHES * scale.seconds / connections)
        return [_push_of(f"c{connections}n{number}", each) for each in range(images)]

    with registry.running() as server:
        return _each(lambda count: driver.rate(server.address, partial(job, count), count, scale.seconds))


def _push_of(label: str, number: int) -> Operation:
    name = request.repository(f"{label}r{number // TAGS}")
    return request.push(name, f"t{number % TAGS}", content.image(f"{label}/{number}"))


def _pull(scale: Scale, registry: Registry) -> Mapping[str, float]:
    with registry.running() as server:
        operation = request.pull(*_one_image(server))
        return _each(lambda count: _repeated(server, operation, count, scale.seconds))


def _blob(scale: Scale, registry: Registry) -> Mapping[str, float]:
    blob, name = content.large(scale.blob * MIB), request.repository("large", scale.blob * MIB)
    pull = request.get(request.blob_path(name, blob.digest))
    with registry.running() as server:
        figures = {
            "push": _once(server, request.push_large(name, blob)),
            "pull": _once(server, pull),
            "pulls": driver.rate(server.address, lambda _: [pull], PULLS, _LONGEST),
        }
    return {key: rate * scale.blob for key, rate in figures.items()}


def _tags(scale: Scale, registry: Registry) -> Mapping[str, float]:
    def pages(server: Running, name: str) -> float:
        page = request.get(f"/v2/{name}/tags/list?n={PAGE}&last=t{5:06}")
        return _repeated(server, page, 1, scale.seconds)

    return _each_number_of_tags(TAGGED, scale, registry, pages)


def _tagged(scale: Scale, registry: Registry) -> Mapping[str, float]:
    def pushes(server: Running, name: str) -> float:
        return driver.rate(server.address, partial(_new_tags, name, scale), 1, scale.seconds)

    return _each_number_of_tags(PUSHED, scale, registry, pushes)


def _each_number_of_tags(
    counts: Iterable[int], scale: Scale, registry: Registry, measure: Callable[[Running, str], float]
) -> Mapping[str, float]:
    """What `measure` finds of a repository of so many tags, each in a server of its own."""
    if registry.is_null:
        return {}
    found = {}
    for count in _counts(counts, registry):
        with registry.running() as server:
            found[f"t{count}"] = measure(server, _tagged_repository(server, scale.tags(count)))
    return found


def _new_tags(name: str, scale: Scale, _: int) -> Iterable[Operation]:
    numbers = range(ceil(_PUSHES * scale.seconds))
    return [request.push(name, f"new{number}", content.image(f"tagged/{number}")) for number in numbers]


def _counts(counts: Iterable[int], registry: Registry) -> list[int]:
    """Of others we ask no more than what is compared: pushing so many tags to some of them takes half an hour."""
    return [count for count in counts if registry.is_tinyreg or count <= COMPARED]


def _tagged_repository(server: Running, count: int) -> str:
    """A repository in which one image has so many tags."""
    name, image = request.repository("tagged"), content.image("tagged")
    _once(server, request.push(name, f"t{0:06}", image))
    names = [f"t{number:06}" for number in range(1, count)]
    with Connection(server.address) as connection:
        for tag in names:
            request.put(name, tag, image)(connection)
    return name


def _peak(scale: Scale, registry: Registry) -> Mapping[str, float]:
    if registry.is_null:
        return {}
    blob, name = content.large(scale.peak * MIB), request.repository("large", scale.peak * MIB)
    with registry.running() as server:
        if server.pid is None:
            return {}
        _once(server, request.push_large(name, blob))
        peak = server.peak()
    found = {} if peak is None else {"peak": peak}
    return {**found, **_kept(registry)}


def _kept(registry: Registry) -> Mapping[str, float]:
    """The peak of a store in memory that is given blobs which it does not spill."""
    with registry.running() as server:
        name = request.repository("kept", 8 * MIB)
        for number in range(KEPT // 8):
            _once(server, request.push_large(name, content.small(number, 8 * MIB)))
        peak = server.peak()
    return {} if peak is None else {"kept": peak}


def _gets(scale: Scale, server: Running, path: str) -> Mapping[str, float]:
    operation = request.get(path)
    return _each(lambda count: _repeated(server, operation, count, scale.seconds))


def _one_image(server: Running) -> tuple[str, str, content.Image]:
    """An image that has been pushed."""
    name, tag, image = request.repository("one"), "1.0", content.image("one")
    _once(server, request.push(name, tag, image))
    return name, tag, image


def _once(server: Running, operation: Operation) -> float:
    return driver.rate(server.address, lambda _: [operation], 1, _LONGEST)


def _repeated(server: Running, operation: Operation, connections: int, seconds: float) -> float:
    return driver.rate(server.address, lambda _: repeat(operation, _GETS), connections, seconds)


def _each(rate: Callable[[int], float]) -> Mapping[str, float]:
    return {f"c{count}": rate(count) for count in CONNECTIONS}
