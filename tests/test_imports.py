"""The house's arrows (DESIGN.md): which file may import which, and that nothing but the standard library comes in."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FOREIGN = {("conftest_plugin", "pytest"), ("tls", "trustme")}
"""What is not the standard library's: pytest in its plugin, and an extra, imported where it is asked for."""

ROOT = Path(__file__).parent.parent
PRODUCT = sorted([*ROOT.glob("tinyreg/**/*.py"), *ROOT.glob("conftest_plugin/*.py")])

CONTENT = {"errors", "reference", "content", "manifest", "image", "store", "repository", "view", "layout"}
WIRE = {"wire", "server", "recorder", "faults", "auth", "tls"}

# file: the rooms it may import. What is missing here fails the test: a new room says where it stands.
ARROWS: dict[str, set[str]] = {
    "errors": set(),
    "reference": {"errors"},
    "content": set(),
    "manifest": {"errors", "reference"},
    "store": {"content", "errors", "manifest", "reference"},
    "store.index": {"errors", "manifest", "reference", "store"},
    "store.checked": {"errors", "manifest", "reference", "store"},
    "store.limited": {"errors", "reference", "store"},
    "store.memory": {"content", "errors", "manifest", "reference", "store", "store.index"},
    "store.directory": {"content", "errors", "manifest", "reference", "store", "store.index", "store.indexfile"},
    "store.indexfile": {"content"},
    "layer": set(),
    "image": {"", "layer", "manifest", "reference"},
    "layout": {"content", "errors", "manifest", "reference"},
    "view": {"", "errors", "layer", "layout", "manifest", "reference", "repository"},
    "store.remote": {"", "content", "mask", "errors", "manifest", "reference", "store.memory"},
    "store.pullthrough": {"content", "errors", "manifest", "reference", "store"},
    "store.prefixed": {"content", "manifest", "reference", "store"},
    "repository": {"content", "errors", "manifest", "reference", "store"},
    "wire": {"content"},
    "server": {"wire"},
    "routes": {"errors", "reference"},
    "ranges": {"errors"},
    "selector": {"routes"},
    "mask": set(),
    "recorder": {"", "mask", "routes", "selector", "wire"},
    "scope": {"routes"},
    "users": {"scope"},
    "tokens": {"scope"},
    "auth": {"errors", "scope", "tokens", "users", "wire"},
    "tokenservice": {"auth", "errors", "refusal", "scope", "tokens", "wire"},
    "tls": set(),
    "credentials": set(),
    "refusal": {"errors", "wire"},
    "faults": {"content", "errors", "refusal", "routes", "selector", "wire"},
    "origin": {"errors", "refusal", "wire"},
    "ratelimit": {"errors", "refusal", "routes", "wire"},
    "api": {
        *("auth", "content", "errors", "manifest", "ranges", "reference", "refusal", "repository", "routes"),
        *("scope", "store", "wire"),
    },
    "quirks": {"errors", "manifest", "refusal", "routes", "store.checked", "wire"},
    "registry": {
        *(
            "",
            "api",
            "auth",
            "credentials",
            "faults",
            "image",
            "layer",
            "layout",
            "manifest",
            "origin",
            "quirks",
            "ratelimit",
            "recorder",
        ),
        *("reference", "repository", "server", "store", "tls", "tokenservice", "view", "wire"),
        *("store.checked", "store.directory", "store.limited", "store.memory", "store.pullthrough", "store.remote"),
    },
    "options": {"", "auth"},
    "cli": {"errors", "options", "recorder", "registry", "server"},
    "__main__": {"cli"},
    "": {"auth", "errors", "layer", "layout", "registry", "store.directory", "store.memory"},
    "conftest_plugin": {"", "registry", "store.prefixed", "store.remote"},
}


def room(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] == "tinyreg":
        parts = parts[1:]
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path, source: str | None = None) -> Iterator[tuple[str, bool]]:
    """Each module imported, in full, and whether it is imported for type checkers only."""
    package = (
        ["tinyreg", *room(path).split(".")] if path.name == "__init__.py" else ["tinyreg", *room(path).split(".")][:-1]
    )
    package = [part for part in package if part]
    tree = ast.parse(source if source is not None else path.read_text())
    unreal = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in unreal) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield (module, id(node) in unreal)


def wrong(path: Path, source: str | None = None) -> list[str]:
    """What the file imports and should not."""
    allowed = ARROWS[room(path)]
    found = []
    for module, unreal in imports(path, source):
        top, _, inner = module.partition(".")
        if top == "tinyreg":
            if inner not in allowed and not unreal:
                found.append(module)
        elif top not in sys.stdlib_module_names and (room(path), top) not in FOREIGN:
            found.append(module)
    return found


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_arrows_allow(path: Path) -> None:
    assert wrong(path) == []


def test_every_room_has_its_file() -> None:
    assert set(ARROWS) == {room(path) for path in PRODUCT}


@pytest.mark.parametrize("name", sorted(set(ARROWS) & CONTENT))
def test_the_content_half_never_imports_the_wire_half(name: str) -> None:
    assert ARROWS[name].isdisjoint(WIRE | {"api", "registry"})


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("tinyreg/manifest.py", "from .wire import Request"),
        ("tinyreg/store/memory.py", "from ..api import Api"),
        ("tinyreg/wire.py", "import requests"),
        ("tinyreg/registry.py", "def late():\n    import pytest"),
    ],
)
def test_a_wrong_arrow_is_found(file: str, source: str) -> None:
    assert wrong(ROOT / file, source)


def test_every_file_says_what_it_is() -> None:
    for path in PRODUCT:
        assert ast.get_docstring(ast.parse(path.read_text())), path


@pytest.mark.parametrize("module", ["socket", "http.client"])
def test_only_the_wire_and_remote_stores_touch_a_socket(module: str) -> None:
    users = {room(path) for path in PRODUCT if module in {name for name, _ in imports(path)}}
    assert users <= {"server", "wire", "store.remote"}


def test_only_cli_and_plugin_read_the_environment() -> None:
    readers = {room(path) for path in PRODUCT if "os.environ" in path.read_text() or "getenv" in path.read_text()}
    assert readers <= {"cli", "conftest_plugin"}


def test_the_plugin_imports_the_server_only_when_a_fixture_is_used() -> None:
    code = "import sys, conftest_plugin; print(sorted(name for name in sys.modules if name.startswith('tinyreg')))"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"


def test_a_registry_that_starts_imports_nothing_large_that_it_does_not_need() -> None:
    code = (
        "import sys, tinyreg.cli\n"
        "with tinyreg.Registry(): pass\n"
        "print(sorted({'http.server', 'email', 'ssl', '_hashlib', 'tarfile', 'tempfile', 'uuid', 'http.client'}\n"
        "             & sys.modules.keys()), sorted(set(sys.modules) & {'json', 'tinyreg.layer', 'tinyreg.auth'}))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert out.stdout == "[] ['json']\n"  # json, to show that what is imported is seen


def test_what_comes_through_the_door_later_is_there_all_the_same() -> None:
    code = "import tinyreg\nprint(all(getattr(tinyreg, name).__name__ == name for name in tinyreg.__all__))\ntinyreg.No"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert out.stdout == "True\n"
    assert out.stderr.endswith("AttributeError: module 'tinyreg' has no attribute 'No'\n")
