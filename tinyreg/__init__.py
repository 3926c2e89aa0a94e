"""tinyreg: a container registry for tests, in Python's standard library alone."""

from .errors import RegistryError
from .registry import Registry
from .store.directory import DirectoryStore
from .store.memory import MemoryStore

__all__ = ["DirectoryStore", "MemoryStore", "Registry", "RegistryError"]
__version__ = "0.1.0"
