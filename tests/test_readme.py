"""Every Python block of the README runs as it stands there, and its commands are the ones that are tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[-1].strip()[:40])
def test_a_block_of_the_readme_runs(block: str, pytester: pytest.Pytester) -> None:
    tests = len(re.findall("^def test_", block, re.MULTILINE))
    if not tests:
        exec(compile(block, "README.md", "exec"), {})
        return
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = -p no:cacheprovider")
    pytester.makepyfile(block)
    pytester.runpytest_inprocess("-p", "conftest_plugin").assert_outcomes(passed=tests)


def test_the_lines_before_and_after_are_as_many_as_it_says() -> None:
    section = README.partition("\n## Instead of a hand-written fake")[2].partition("\n## ")[0]
    before, after = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    fake, *tests = re.split(r"^def (test_\w+)", before, flags=re.MULTILINE)
    assert tests[::2] == re.findall(r"^def (test_\w+)", after, re.MULTILINE)
    counts = [len(each.rstrip().splitlines()) for each in (before, fake, after)]
    assert [int(each) for each in re.findall(r"(\d+) (?:lines|of them)", section)] == counts


def test_the_readme_has_blocks() -> None:
    assert len(BLOCKS) >= 5


def test_the_test_command_is_one_line_where_ci_looks_for_it() -> None:
    match = re.search(r"<!-- test command -->\n```console\n\$ (.+)\n```", README)
    assert match
    assert match[1].startswith("python3 -m venv .venv && ")
    assert "pytest" in match[1]
