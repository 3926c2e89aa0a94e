"""What nobody is to read in a log or a message: secrets in header fields, queries and URLs; where they come from it
does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MASK = "***"
FIELDS = frozenset(("authorization", "proxy-authorization", "cookie", "x-registry-auth", "x-registry-config"))
"""Header fields that are secret; the last two are how docker's engine is given passwords."""
PARAMETERS = frozenset(
    ("token", "access_token", "refresh_token", "identitytoken", "password", "client_secret", "authorization")
)
"""Query parameters that are."""
_SCHEMES = ("basic", "bearer", "digest", "negotiate")
_USERINFO = re.compile(r"(?<=//).*@", re.DOTALL)


def field(value: str) -> str:
    """A secret field's value, masked: `Basic ***`. Of an unknown scheme nothing stays: that word may be the secret."""
    scheme, blank, _ = value.partition(" ")
    return f"{scheme} {MASK}" if blank and scheme.lower() in _SCHEMES else MASK


def parameters(query: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """A query without the values that are secret."""
    return {
        name: [MASK for _ in values] if name.lower() in PARAMETERS else list(values) for name, values in query.items()
    }


def url(text: str) -> str:
    """A URL, well-formed or not, without user, password and query."""
    return _USERINFO.sub(f"{MASK}@", text).partition("?")[0]
