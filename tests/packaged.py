"""What has to work from an installed wheel alone; `.ci/run` copies it to a folder without the sources."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

import tinyreg


def test_the_fixture_comes_by_its_entry_point(registry_url: str) -> None:
    with urllib.request.urlopen(f"{registry_url}/v2/", timeout=10) as answer:
        assert answer.read() == b"{}"


def test_the_package_is_the_installed_one_with_its_types_and_nothing_it_needs() -> None:
    assert "site-packages" in tinyreg.__file__
    assert files("tinyreg").joinpath("py.typed").is_file()
    assert files("conftest_plugin").joinpath("py.typed").is_file()
    needed = [each for each in distribution("tinyreg").requires or () if "extra ==" not in each]
    assert needed == []


def test_the_command_is_there_in_both_forms() -> None:
    for command in ([sys.executable, "-m", "tinyreg"], [str(Path(sys.executable).parent / "tinyreg")]):
        out = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=30)
        assert out.stdout == f"tinyreg {tinyreg.__version__}\n"
