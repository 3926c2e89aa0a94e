"""Who may do what, as HTTP asks for it: Basic, Bearer, read-only; what is allowed to whom `users` knows.

An Authorizer is called behind routing, with the request and what it needs (Docker's "Token Authentication
Specification"; RFC 7617, RFC 6750; SPEC K).
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping
from typing import Protocol

from .errors import Denied, Unauthorized
from .scope import Scope
from .tokens import Claims, Tokens
from .users import Grants, Rules, Users
from .wire import Request

_HOST = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]+)?|\[[0-9A-Fa-f:.]+\](?::[0-9]+)?")
Rewrite = Callable[[str], str]


class Authorizer(Protocol):
    """Says whether a request may be answered."""

    def authorize(self, request: Request, scope: Scope | None) -> None:
        """Let the request pass if it has what it needs; None needs somebody. Notes `request.user`.

        Raises Unauthorized, with a challenge, or Denied.
        """


class Open:
    """Everybody may do everything."""

    def authorize(self, request: Request, scope: Scope | None) -> None:
        """Nothing to ask."""


class ReadOnly:
    """Pulling is for everybody, or for those whom `inner`, an Authorizer, lets; pushing and deleting for nobody.

    Under a Token the service gives what was asked, as ever, and the push is refused: 403.
    """

    def __init__(self, inner: Authorizer | None = None) -> None:
        self.inner: Authorizer = inner or Open()

    def authorize(self, request: Request, scope: Scope | None) -> None:
        """Raises Denied for all but pulling, and what `inner` raises."""
        self.inner.authorize(request, scope)
        if scope is not None and scope.type == "repository" and not scope.actions <= {"pull"}:
            raise Denied("this registry is read-only")


class Basic:
    """Names and passwords with each request.

    `users` is a dict, or the path of an htpasswd file; `anonymous` and `grants` are as in `users.Rules`. Who has a
    name but not the right gets the status `denied`, 403 or 401. `challenge` rewrites the WWW-Authenticate header,
    to see what a client makes of an odd one.
    """

    def __init__(
        self,
        users: Mapping[str, str] | str | os.PathLike[str],
        *,
        anonymous: str | Grants = "",
        grants: Mapping[str, Grants] | None = None,
        realm: str = "tinyreg",
        denied: int = 403,
        challenge: Rewrite | None = None,
    ) -> None:
        self.users = Users(users)
        self.rules = Rules(grants, anonymous)
        self._realm = realm
        self._denied = _checked(denied)
        self._rewrite = challenge or str

    def authorize(self, request: Request, scope: Scope | None) -> None:
        """Raises Unauthorized, Denied."""
        request.user = user = self.user(request)
        if user is None and (scope is None or not self.rules.granted(None, scope).covers(scope)):
            raise self._unauthorized()
        if scope is not None and not self.rules.granted(user, scope).covers(scope):
            text = f"{user} may not: {scope}"
            raise Denied(text) if self._denied == 403 else self._unauthorized(text)

    def user(self, request: Request) -> str | None:
        """Who asks, by password or client certificate; None for nobody in particular.

        Raises Unauthorized for a wrong name or password.
        """
        user, good = asking(request, self.users)
        if not good:
            raise self._unauthorized("wrong name or password")
        return user

    def _challenge(self) -> str:
        return self._rewrite(f'Basic realm="{self._realm}"')

    def _unauthorized(self, message: str | None = None) -> Unauthorized:
        return Unauthorized(message, headers={"WWW-Authenticate": self._challenge()})


class Token:
    """Bearer tokens from a token service, on the same port at `/token` unless `realm` says where.

    `users`, `anonymous`, `grants`, `denied` and `challenge` are as for Basic. Tokens are good for `lifetime` seconds
    by a clock that `advance` moves, and until `expire`. A registry whose `realm` is another registry's `/token` takes
    the tokens of that one's service: give both the same `tokens`. A token is good at the `service` it was asked for.
    A token that allows too little is answered 401, as Docker's registry does (SPEC K11), or, with `denied`, 403, as
    RFC 6750, 3.1 has it, with the challenge either way: some clients ask for another token only after the one, some
    only after the other.
    """

    def __init__(
        self,
        users: Mapping[str, str] | str | os.PathLike[str],
        *,
        anonymous: str | Grants = "",
        grants: Mapping[str, Grants] | None = None,
        lifetime: float = 300,
        service: str = "tinyreg",
        realm: str | None = None,
        denied: int = 401,
        challenge: Rewrite | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self.users = Users(users)
        self.rules = Rules(grants, anonymous)
        self.service = service
        self.tokens = tokens or Tokens(lifetime)
        self._realm = realm
        self._denied = _checked(denied)
        self._rewrite = challenge or str

    def expire(self) -> None:
        """Every access token issued so far is no longer good; refresh tokens stay."""
        self.tokens.expire()

    def advance(self, seconds: float) -> None:
        """Move the clock that tokens go by."""
        self.tokens.advance(seconds)

    def authorize(self, request: Request, scope: Scope | None) -> None:
        """Raises Unauthorized, Denied."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise self._unauthorized(request, scope)
        claims = self.tokens.read(token.strip(), self.service)
        if claims is None:
            raise self._unauthorized(request, scope, "invalid_token")
        request.user = claims.subject or None
        if scope is not None and not claims.allows(scope):
            text = self._challenge(request, scope, "insufficient_scope")
            refusal = Denied if self._denied == 403 else Unauthorized
            raise refusal(f"the token does not allow {scope}", headers={"WWW-Authenticate": text})

    def issue(self, user: str | None, asked: list[Scope], service: str) -> tuple[str, list[Scope]]:
        """A token, good at `service`, for as much of what was asked as the user may do, and that much."""
        given = [scope for scope in (self.rules.granted(user, each) for each in asked) if scope.actions]
        return self.tokens.issue(Claims(user or "", service, tuple(given))), given

    def _challenge(self, request: Request, scope: Scope | None, error: str | None) -> str:
        realm = self._realm or f"{'https' if request.secure else 'http'}://{_host(request)}/token"
        fields = {"realm": realm, "service": self.service}
        if scope is not None:
            fields["scope"] = str(scope)
        if error:
            fields["error"] = error
        return self._rewrite("Bearer " + ",".join(f'{name}="{value}"' for name, value in fields.items()))

    def _unauthorized(self, request: Request, scope: Scope | None, error: str | None = None) -> Unauthorized:
        challenge = self._challenge(request, scope, error)
        return Unauthorized("the token is not good" if error else None, headers={"WWW-Authenticate": challenge})


def innermost(auth: Authorizer | None) -> Authorizer | None:
    """The Authorizer that knows who is who, behind what only forbids."""
    while isinstance(auth, ReadOnly):
        auth = auth.inner
    return auth


def asking(request: Request, users: Users) -> tuple[str | None, bool]:
    """Who asks, by password or else by client certificate, None for nobody in particular; and whether that is proven.

    A name and password that are both empty are none, as skopeo sends them (SPEC K2); what can't be decoded is wrong.
    """
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return request.user, True
    try:
        name, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except ValueError:  # no base64, or no UTF-8 in it
        return None, False
    if colon and not name and not password:
        return request.user, True
    return name, bool(colon) and users.knows(name, password)


def _checked(denied: int) -> int:
    if denied not in (401, 403):
        raise ValueError(f"denied={denied}: 401 or 403")
    return denied


def _host(request: Request) -> str:
    """The host the client knows us by; crane trusts no other realm (SPEC K9). Made up ones don't get into a header."""
    host: str = request.headers.get("host", "")
    return host if _HOST.fullmatch(host) else "localhost"
