"""What came out: medians and ratios, as a table for people and as JSON; how it was measured it does not know."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from .registry import Registry
from .row import Figure, Row

NOTES = (
    "memory, directory: tinyreg over each store; /best: times as good as the best peer, above 1 is better",
    "driven through raw sockets in Python, one process a connection (c1: one, c8: eight), all cores kept awake",
    "null: canned bytes from a loop of recv and send in Python, one process a connection: the driver's ceiling",
    "bare: the same in threads of one process: the ceiling of a server in Python with a thread a connection",
)


@dataclass
class Line:
    """A figure, with what was measured of each registry in each round."""

    row: Row
    figure: Figure
    rounds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, registry: Registry, value: float) -> None:
        """One round's value."""
        self.rounds.setdefault(registry.name, []).append(value)

    @property
    def medians(self) -> dict[str, float]:
        """The registries that have one, and it."""
        return {name: statistics.median(values) for name, values in self.rounds.items()}

    def best(self, names: Sequence[str]) -> str | None:
        """The best of these; None where none has a value."""
        known = [name for name in names if name in self.rounds]
        choose = min if self.figure.less_is_better else max
        return choose(known, key=lambda name: self.medians[name], default=None)

    def ratio(self, name: str, other: str) -> float:
        """How many times as good the one is as the other: above 1 is better, whatever the unit."""
        one, two = self.medians[name], self.medians[other]
        return two / one if self.figure.less_is_better else one / two


@dataclass
class Report:
    """A run's lines, and the machine it was on."""

    registries: Sequence[Registry]
    lines: Sequence[Line]

    def table(self) -> str:
        """The medians, one line a figure, and tinyreg's ratios to the best of the others."""
        ours, peers = self._ours(), self._peers()
        names = [registry.name for registry in self.registries]
        heads = ["", "", *names, *(f"{name}/best" for name in ours if peers), *(["best"] if peers else [])]
        body = [self._cells(line) for line in self.lines]
        return "\n".join([*self._preface(), "", *_aligned([heads, *body])])

    def json(self) -> dict[str, Any]:
        """All of it, with the rounds behind the medians."""
        return {
            "machine": machine(),
            "registries": [registry.name for registry in self.registries],
            "figures": [self._json(line) for line in self.lines],
        }

    def _ours(self) -> list[str]:
        return [registry.name for registry in self.registries if registry.is_tinyreg]

    def _peers(self) -> list[str]:
        return [each.name for each in self.registries if not each.is_tinyreg and not each.is_null]

    def _preface(self) -> list[str]:
        here = ", ".join(f"{name} {value}" for name, value in machine().items())
        return [here, *NOTES]

    def _cells(self, line: Line) -> list[str]:
        medians = line.medians
        values = [_number(medians.get(registry.name)) for registry in self.registries]
        cells = [line.figure.title, line.figure.unit, *values]
        if not self._peers():
            return cells
        ratios = self._ratios(line)
        return [*cells, *(_ratio(ratios.get(name)) for name in self._ours()), line.best(self._peers()) or "–"]

    def _ratios(self, line: Line) -> Mapping[str, float]:
        best = line.best(self._peers())
        return {name: line.ratio(name, best) for name in self._ours() if best and name in line.rounds}

    def _json(self, line: Line) -> dict[str, Any]:
        return {
            "row": line.row.name,
            "figure": line.figure.key,
            "title": line.figure.title,
            "unit": line.figure.unit,
            "less_is_better": line.figure.less_is_better,
            "medians": line.medians,
            "rounds": line.rounds,
            "best_peer": line.best(self._peers()),
            "ratios": self._ratios(line),
        }


def machine() -> dict[str, str]:
    """Where and when."""
    return {
        "cores": str(os.cpu_count()),
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
    }


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}×"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_padded(row, widths)).rstrip() for row in rows]


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Words to the left, figures to the right."""
    pairs = list(zip(row, widths, strict=True))
    return [*(cell.ljust(width) for cell, width in pairs[:2]), *(cell.rjust(width) for cell, width in pairs[2:])]
