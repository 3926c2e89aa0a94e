"""The command: which rows, of which registries, how often; each registry in its turn, round after round."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import registry
from .awake import awake
from .connection import Refused
from .registry import Registry
from .report import Line, Report
from .row import FULL, QUICK, Row, Scale, rows

REPEAT = 3


def main() -> None:
    """Measure, and print."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers and folders go with us
    options = _parse()
    scale = QUICK if options.quick else FULL
    with awake():
        report = _measure(_registries(options), _rows(options, scale), options.repeat)
    print(report.table())
    if options.json:
        options.json.write_text(json.dumps(report.json(), indent=2) + "\n")


def _parse() -> argparse.Namespace:
    names = [row.name for row in rows(QUICK)]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter and smaller, and once")
    parser.add_argument("--repeat", type=int, metavar="N", help=f"rounds ({REPEAT}; 1 with --quick)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all of it there, too")
    parser.add_argument("--only", action="append", choices=names, metavar="ROW", help=f"of {', '.join(names)}")
    parser.add_argument("--registry", action="append", metavar="NAME", help="of those that are found")
    parser.add_argument("--url", action="append", default=[], type=_url, metavar="NAME=URL", help="one that runs")
    options = parser.parse_args()
    options.repeat = max(1, options.repeat or (1 if options.quick else REPEAT))
    if unknown := set(options.registry or ()) - {each.name for each in registry.found()}:
        parser.error(f"no such registry here: {', '.join(sorted(unknown))}")
    return options


def _url(argument: str) -> Registry:
    name, _, url = argument.partition("=")
    try:
        return registry.at(name, url)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _registries(options: argparse.Namespace) -> list[Registry]:
    wanted = options.registry
    return [*(each for each in registry.found() if wanted is None or each.name in wanted), *options.url]


def _rows(options: argparse.Namespace, scale: Scale) -> list[Row]:
    return [row for row in rows(scale) if options.only is None or row.name in options.only]


def _measure(registries: Sequence[Registry], rows: Sequence[Row], repeat: int) -> Report:
    lines = {(row.name, figure.key): Line(row, figure) for row in rows for figure in row.figures}
    for turn in range(repeat):
        for each in registries:
            for row in rows if turn == 0 else [row for row in rows if not row.once]:
                for key, value in _measured(row, each).items():
                    lines[row.name, key].add(each, value)
    return Report(registries, list(lines.values()))


def _measured(row: Row, each: Registry) -> dict[str, float]:
    """A registry that can't do one thing is still measured in the others."""
    try:
        return dict(row.measure(each))
    except Refused as error:
        print(f"{row.name}: {each.name}: {error}", file=sys.stderr)
        return {}


if __name__ == "__main__":
    main()
