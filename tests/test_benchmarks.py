"""The benchmark still runs and says what it measured; how fast anything is, no test asks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the drivers are forked")


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_table_and_the_json_have_the_figures_of_the_rows_that_were_asked_for(tmp_path: Path) -> None:
    done = benchmark("--only", "base", "--registry", "memory", "--json", str(tmp_path / "out.json"))
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["memory"] in lines
    assert [line[:4] for line in lines if line[:1] == ["GET"]] == [["GET", "/v2/,", c, "/s"] for c in ("c1", "c8")]
    report = json.loads((tmp_path / "out.json").read_text())
    assert [(each["row"], each["figure"]) for each in report["figures"]] == [("base", "c1"), ("base", "c8")]
    assert all(each["medians"]["memory"] > 0 for each in report["figures"])
    assert {"cores", "Python", "date"} <= report["machine"].keys()


def test_the_disk_s_ceiling_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.disk", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.endswith(" pushes/s\n")
    assert list(tmp_path.iterdir()) == []


def test_a_registry_that_does_not_answer_costs_its_figures_and_not_the_run() -> None:
    done = benchmark("--only", "base", "--registry", "memory", "--url", "gone=http://127.0.0.1:1")
    assert done.returncode == 0
    assert "base: gone:" in done.stderr
    assert [line.split()[-3:] for line in done.stdout.splitlines() if line.startswith("GET")] == [["–"] * 3] * 2


@pytest.mark.parametrize("argument", ["gone=ftp://127.0.0.1", "memory=http://127.0.0.1:1"])
def test_a_url_that_means_nothing_is_refused(argument: str) -> None:
    done = benchmark("--url", argument)
    assert (done.returncode, done.stdout) == (2, "")
