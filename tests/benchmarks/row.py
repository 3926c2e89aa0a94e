"""What is measured: each row's figures, their units, and how they come about."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from math import ceil

import tinyreg

from . import content, driver, request
from .content import MIB
from .registry import Registry, Running
from .request import Operation

CONNECTIONS = (1, 8)
TAGS = 10
"""Images that are pushed to one repository before the next one's turn."""

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


FULL = Scale(seconds=0.5, starts=300, processes=3, blob=512, peak=1024)
QUICK = Scale(seconds=0.2, starts=50, processes=2, blob=64, peak=128)


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
        Row("start", (Figure("start", "Registry(): start, stop", "ms", True),), partial(_start, scale)),
        Row("ready", (Figure("ready", "process until it answers", "ms", True),), partial(_ready, scale)),
        Row("base", _by_connections("GET /v2/", "/s"), partial(_base, scale)),
        Row("manifest", _by_connections("GET a manifest", "/s"), partial(_manifest, scale)),
        Row("push", _by_connections("push an image", "/s"), partial(_push, scale)),
        Row("pull", _by_connections("pull an image", "/s"), partial(_pull, scale)),
        Row(
            "blob",
            (Figure("push", f"push a {blob}", "MiB/s"), Figure("pull", f"pull a {blob}", "MiB/s")),
            partial(_blob, scale),
        ),
        Row("peak", (Figure("peak", f"peak memory, {peak}", "MiB", True),), partial(_peak, scale), once=True),
    ]


def _by_connections(title: str, unit: str) -> tuple[Figure, ...]:
    return tuple(Figure(f"c{number}", f"{title}, c{number}", unit) for number in CONNECTIONS)


def _start(scale: Scale, registry: Registry) -> Mapping[str, float]:
    if not registry.is_tinyreg:
        return {}
    with tempfile.TemporaryDirectory(prefix="tinyreg-bench-") as folder:
        store = folder if registry.on_disk else None
        return {"start": statistics.median(_start_and_stop(store) for _ in range(scale.starts)) * 1000}


def _start_and_stop(store: str | None) -> float:
    began = time.perf_counter()
    with tinyreg.Registry(store):
        pass
    return time.perf_counter() - began


def _ready(scale: Scale, registry: Registry) -> Mapping[str, float]:
    if registry.is_null:
        return {}
    seconds: list[float] = []
    for _ in range(scale.processes):
        with registry.running() as server:
            if server.ready is None:
                return {}
            seconds.append(server.ready)
    return {"ready": statistics.median(seconds) * 1000}


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
        figures = {"push": _once(server, request.push_large(name, blob)), "pull": _once(server, pull)}
    return {key: rate * scale.blob for key, rate in figures.items()}


def _peak(scale: Scale, registry: Registry) -> Mapping[str, float]:
    if registry.is_null:
        return {}
    blob, name = content.large(scale.peak * MIB), request.repository("large", scale.peak * MIB)
    with registry.running() as server:
        if server.pid is None:
            return {}
        _once(server, request.push_large(name, blob))
        peak = server.peak()
    return {} if peak is None else {"peak": peak}


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
