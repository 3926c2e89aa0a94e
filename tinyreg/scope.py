"""What a request needs to be allowed: the grammar of access scopes; who is allowed what it does not know.

Docker's "Token Scope Documentation"; SPEC K4, K5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from .routes import Route

_SCOPE = re.compile(r"([a-z0-9]+)(?:\([a-z0-9]+\))?:(.+):([a-z*]+(?:,[a-z*]+)*)")
_ORDER = ("pull", "push", "delete", "*")
EVERYTHING = frozenset({"pull", "push", "delete", "*"})


class Scope(NamedTuple):
    """Actions (`pull`, `push`, `delete`, `*`) on a named thing of a type: `repository:team/app:pull,push`."""

    type: str
    name: str
    actions: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Scope | None:
        """The scope that `text` is, or None where it is none; a name may have a colon in it."""
        match = _SCOPE.fullmatch(text)
        return cls(match[1], match[2], frozenset(match[3].split(","))) if match else None

    @classmethod
    def parse_all(cls, values: Iterable[str]) -> list[Scope]:
        """The scopes in `values`, each of which may be several, separated by blanks; what is none is left out."""
        found = (cls.parse(text) for value in values for text in value.split())
        return [scope for scope in found if scope]

    def __str__(self) -> str:
        actions = [action for action in _ORDER if action in self.actions] + sorted(self.actions - EVERYTHING)
        return f"{self.type}:{self.name}:{','.join(actions)}"

    def covers(self, other: Scope) -> bool:
        """Whether what `other` asks is within this one."""
        same = (self.type, self.name) == (other.type, other.name)
        return same and ("*" in self.actions or other.actions <= self.actions)


_ACTIONS = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}


@lru_cache(maxsize=256)
def needed(method: str, route: Route) -> Scope | None:
    """What a request needs; None for the base, which needs nothing but somebody."""
    if route.kind == "base":
        return None
    if route.kind == "catalog":
        return Scope("registry", "catalog", frozenset({"*"}))
    action = "push" if route.kind in ("uploads", "upload") else _ACTIONS.get(method, "push")
    return Scope("repository", route.name, frozenset({"pull", "push"} if action == "push" else {action}))


def pulling(name: str) -> Scope:
    """What reading the repository `name` needs."""
    return Scope("repository", name, frozenset({"pull"}))
