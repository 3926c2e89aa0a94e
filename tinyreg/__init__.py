"""tinyreg: a container registry for tests, in Python's standard library alone."""

from .auth import Basic, ReadOnly, Token
from .errors import RegistryError
from .layer import File, Symlink
from .layout import LayoutError
from .registry import Registry
from .store.directory import DirectoryStore
from .store.memory import MemoryStore

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
