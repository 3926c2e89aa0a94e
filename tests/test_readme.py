"""Every Python block of the README runs as it stands there, and its commands are the ones that are tested."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[-1].strip()[:40])
def test_a_block_of_the_readme_runs(block: str, request: pytest.FixtureRequest) -> None:
    names: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), names)
    for name, test in names.items():
        if name.startswith("test_"):
            wanted = test.__code__.co_varnames[: test.__code__.co_argcount]
            test(**{fixture: request.getfixturevalue(fixture) for fixture in wanted})


def test_the_readme_has_blocks() -> None:
    assert len(BLOCKS) >= 5


def test_the_test_command_is_one_line_where_ci_looks_for_it() -> None:
    match = re.search(r"<!-- test command -->\n```console\n\$ (.+)\n```", README)
    assert match
    assert match[1].startswith("python3 -m venv .venv && ")
    assert "pytest" in match[1]
