"""The command: `python -m tests.fuzz MODE [--seconds N] [--requests N] [--seed S]`; without a MODE, each in turn."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable

from .run import Broken, Run

MODES = ["wire", "grammar", "model", "concurrent", "kill", "flood"]


def main() -> int:
    """Run the modes; 1 where one of them found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("mode", nargs="*", choices=[*MODES, []], metavar="MODE", help=f"of {', '.join(MODES)}")
    parser.add_argument("--seconds", type=float, help="for each mode (60, unless --requests is given)")
    parser.add_argument("--requests", type=int, help="for each mode; of `kill`, kills")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same requests (0)")
    parser.add_argument("--first", type=int, default=0, help="the case to begin with")
    options = parser.parse_args()
    seconds = options.seconds if options.seconds or options.requests else 60.0
    failed = 0
    for name in options.mode or MODES:
        mode: Callable[[Run], None] = importlib.import_module(f"tests.fuzz.{name}").main
        run = Run(options.seed, options.requests, seconds, options.first)
        try:
            mode(run)
        except Broken as error:
            failed = 1
            print(f"{name}: BROKEN: {error}", flush=True)
        print(f"{name}, seed {run.seed}: {run}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
