"""tinyreg: a container registry for tests, in Python's standard library alone."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import RegistryError
from .registry import Registry
from .store.memory import MemoryStore

if TYPE_CHECKING:
    from .auth import Basic, ReadOnly, Token
    from .layer import File, Symlink
    from .layout import LayoutError
    from .store.directory import DirectoryStore

__all__ = [
    "Basic",
    "DirectoryStore",
    "File",
    "LayoutError",
    "MemoryStore",
    "ReadOnly",
    "Registry",
    "RegistryError",
    "Symlink",
    "Token",
]
__version__ = "0.1.0"

_LATER = {
    "Basic": "auth",
    "ReadOnly": "auth",
    "Token": "auth",
    "File": "layer",
    "Symlink": "layer",
    "LayoutError": "layout",
    "DirectoryStore": "store.directory",
}
"""What not every user of a Registry needs, and where it comes from when somebody does."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LATER[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
