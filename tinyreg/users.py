"""Who is who, and who may do what: names, passwords and grants; how they prove it on the wire is `auth`'s."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import os
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from .scope import EVERYTHING, Scope

Grants = Mapping[str, str]
"""Patterns of repository names, each to the actions it allows: `{"team/*": "pull,push"}`."""
EVERYWHERE: Grants = {"*": "*"}
NOBODY = "\x00nobody"
"""What a password is compared with where there is no such name."""
_BCRYPT = re.compile(r"\$2[abxy]?\$")
_UNKNOWN = re.compile(r"\$[a-z0-9-]+\$|\{(?!SHA\})[A-Z0-9]+\}")
"""The hashes of other programs; taken as plain passwords they would let nobody in, and say nothing."""


class Users:
    """Names and passwords, from a dict or from an htpasswd file.

    In a file an entry is plain, `{SHA}` or bcrypt (`$2…`); the last needs the package `bcrypt`. Raises OSError, and
    ValueError for a malformed file or one that needs what is not there.
    """

    def __init__(self, users: Mapping[str, str] | str | os.PathLike[str]) -> None:
        self._bcrypt = None
        self.hashed = not isinstance(users, Mapping)
        self._passwords = dict(users) if isinstance(users, Mapping) else self._read(Path(users))
        if any(not name or ":" in name for name in self._passwords):
            raise ValueError("a user has a name, without a colon in it: Basic has no way to write another")
        hashed = (each for each in self._passwords.values() if self._bcrypt is not None and _BCRYPT.match(each))
        self._decoy = next(hashed, NOBODY)

    def _read(self, path: Path) -> dict[str, str]:
        found = {}
        for number, line in enumerate(_lines(path), 1):
            if not line.strip() or line.startswith("#"):
                continue
            name, colon, password = line.strip().partition(":")
            bcrypt = _BCRYPT.match(password)
            if not colon or not name or (_UNKNOWN.match(password) and not bcrypt):
                raise ValueError(f"{path}, line {number}: write name:password, plain, {{SHA}} or bcrypt")
            if bcrypt:
                self._bcrypt = self._bcrypt or _import_bcrypt(path)
            found[name] = password
        return found

    def knows(self, name: str, password: str) -> bool:
        """Whether `password` is the one of `name`; how long that takes does not tell which of them is wrong."""
        stored = self._passwords.get(name)
        good = self._matches(self._decoy if stored is None else stored, password)
        return good and stored is not None

    def _matches(self, stored: str, password: str) -> bool:
        given = password.encode()
        if not self.hashed:
            return hmac.compare_digest(stored.encode(), given)
        if self._bcrypt is not None and _BCRYPT.match(stored):
            try:
                return bool(self._bcrypt.checkpw(given, stored.encode()))
            except ValueError:  # a damaged entry, or a password no bcrypt has
                return False
        if stored.startswith("{SHA}"):
            digest = hashlib.sha1(given, usedforsecurity=False).digest()
            return hmac.compare_digest(stored[5:].encode(), base64.b64encode(digest))
        return hmac.compare_digest(stored.encode(), given)

    def password(self, name: str) -> str:
        """The password of `name`. Raises KeyError for an unknown name, and where only a hash of it is known."""
        if self.hashed:
            raise KeyError(f"the password of {name!r} is known as a hash only: give it")
        if name not in self._passwords:
            raise KeyError(f"user {name!r} is not known: there are {', '.join(self._passwords)}")
        return self._passwords[name]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path}: an htpasswd file is text, in UTF-8") from None


def _import_bcrypt(path: Path):  # type: ignore[no-untyped-def]  # an optional module
    try:
        return importlib.import_module("bcrypt")
    except ImportError:
        raise ValueError(f"{path} has bcrypt entries: pip install bcrypt, or use {{SHA}} or plain ones") from None


class Rules:
    """What each user may do: everything where nothing is said of them; nobody in particular may do `anonymous`.

    `anonymous` is a set of actions on every repository (`"pull"`, or `""` for none), or Grants. Raises ValueError for
    an action that there is none of.
    """

    def __init__(self, grants: Mapping[str, Grants] | None = None, anonymous: str | Grants = "") -> None:
        self._grants = grants or {}
        self.anonymous: Grants = {"*": anonymous} if isinstance(anonymous, str) else anonymous
        for actions in (actions for each in (self.anonymous, *self._grants.values()) for actions in each.values()):
            if wrong := _actions(actions) - EVERYTHING:
                raise ValueError(f"{', '.join(sorted(wrong))}: actions are pull, push, delete and *, as in 'pull,push'")

    def granted(self, user: str | None, scope: Scope) -> Scope:
        """As much of `scope` as `user`, or nobody in particular, may do."""
        grants = self.anonymous if user is None else self._grants.get(user, EVERYWHERE)
        if scope.type == "repository":
            allowed = {
                action
                for pattern, actions in grants.items()
                if fnmatchcase(scope.name, pattern)
                for action in _actions(actions)
            }
        else:  # the catalog is for everybody with a name, and there is nothing else
            allowed = {"*"} if user is not None and (scope.type, scope.name) == ("registry", "catalog") else set()
        wanted = EVERYTHING if "*" in scope.actions else scope.actions
        return Scope(scope.type, scope.name, frozenset(wanted if "*" in allowed else wanted & allowed))


def _actions(text: str) -> set[str]:
    return {action.strip() for action in text.split(",")} - {""}
