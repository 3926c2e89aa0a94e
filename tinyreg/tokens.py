"""Tokens: what they say, signed, for a while; what they are good for `auth` knows.

To clients they are opaque. Inside: `base64url(claims as JSON).base64url(HMAC-SHA256)`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from uuid import uuid4

from .scope import Scope


@dataclass(frozen=True)
class Claims:
    """Who a token is for (nobody in particular is ""), at which service, and what it allows."""

    subject: str
    service: str
    access: tuple[Scope, ...] = ()
    refresh: bool = False

    def allows(self, scope: Scope) -> bool:
        """Whether what the token allows together covers `scope`: rights asked for one by one add up."""
        same = [each for each in self.access if (each.type, each.name) == (scope.type, scope.name)]
        return Scope(scope.type, scope.name, frozenset().union(*(each.actions for each in same))).covers(scope)


class Tokens:
    """Issues and reads tokens, good for `lifetime` seconds, under a key of its own."""

    def __init__(self, lifetime: float = 300, clock: Callable[[], float] = time.time) -> None:
        if not 0 < lifetime < math.inf:
            raise ValueError(f"lifetime={lifetime}: seconds, more than 0")
        self.lifetime = lifetime
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._moved = 0.0
        self._generation = 0
        self._lock = Lock()

    @property
    def now(self) -> float:
        """Seconds since 1970, as tokens see it."""
        return self._clock() + self._moved

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        with self._lock:
            self._moved += seconds

    def expire(self) -> None:
        """No access token issued so far is good any more."""
        with self._lock:
            self._generation += 1

    def issue(self, claims: Claims) -> str:
        """A token that says `claims`; one for refreshing does not run out."""
        table = {
            "sub": claims.subject,
            "aud": claims.service,
            "access": [str(scope) for scope in claims.access],
            "refresh": claims.refresh,
            "gen": self._generation,
            "exp": self.now + self.lifetime,
            "jti": uuid4().hex,
        }
        body = _encode(json.dumps(table).encode())
        return f"{body}.{self._sign(body)}"

    def read(self, token: str, service: str, *, refresh: bool = False) -> Claims | None:
        """What the token says; None where it is not ours, altered, over, for another service or another use."""
        body, _, signature = token.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(body).encode()):
            return None
        table = json.loads(_decode(body))
        over = not refresh and (table["gen"] != self._generation or table["exp"] <= self.now)
        if over or table["aud"] != service or table["refresh"] != refresh:
            return None
        return Claims(table["sub"], table["aud"], tuple(Scope.parse_all(table["access"])), refresh)

    def _sign(self, body: str) -> str:
        return _encode(hmac.new(self._key, body.encode(errors="surrogateescape"), hashlib.sha256).digest())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
