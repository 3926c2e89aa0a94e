"""The report of the OCI conformance program, read strictly. Knows nothing of how it is run."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

STATUSES = {"failure": ("failures",), "error": ("errors",), "skipped": ("skipped", "disabled")}


@dataclass(frozen=True)
class Report:
    """How many of its tests ended how. `passed` counts tests alone; the program's other counts are of groups too.

    `skipped`: the registry would not; `disabled`: that version of the spec does not ask for it.
    `others`: what did not pass, and what it said, by name.
    """

    passed: int
    failures: int
    errors: int
    skipped: int
    disabled: int
    others: dict[str, str]

    def __str__(self) -> str:
        counts = f"{self.passed} passed, {self.failures} failed, {self.errors} errors, {self.skipped} skipped"
        return "\n".join((counts, *(f"{name}: {said}" for name, said in self.others.items())))


def read_report(junit: Path) -> Report:
    """The report in `junit.xml`. Raises ValueError where its counts and its tests disagree, OSError without one.

    The program ends with status 0 when it could not even begin, so the file is the only witness.
    """
    suites = ElementTree.parse(junit).getroot()
    cases = list(suites.iter("testcase"))
    seen = Counter(case.get("status", "error") for case in cases)
    counts = {name: int(suites.get(name, 0)) for names in STATUSES.values() for name in names}
    told = {status: sum(counts[name] for name in names) for status, names in STATUSES.items()}
    if not seen["passed"] or any(bool(seen[status]) != bool(count) for status, count in told.items()):
        raise ValueError(f"{junit} counts {counts}, but holds {dict(seen)}")
    return Report(seen["passed"], others=complaints(cases), **counts)


def complaints(cases: list[ElementTree.Element]) -> dict[str, str]:
    """What was said of each test that did not pass."""
    bad = (case for case in cases if case.get("status") != "passed")
    return {case.get("name", ""): case.findtext("system-out", "").strip() for case in bad}
