"""The token endpoint, `/token`: a Handler that gives tokens for names and passwords; what they allow `users` knows.

Docker's "Token Authentication Specification" (GET) and "OAuth2 Token Authentication" (POST); SPEC K6–K8.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qs

from .auth import Token, asking
from .errors import RegistryError, Unauthorized, Unsupported
from .refusal import answer, refusal
from .scope import Scope
from .tokens import Claims
from .wire import Handler, Query, Request, Response

FORM_LIMIT = 64 * 1024
"""Bytes that the form of a POST may have."""
FORM = "application/x-www-form-urlencoded"


class TokenService:
    """Answers `/token` for `auth`, and leaves the rest to `inner`."""

    def __init__(self, inner: Handler, auth: Token) -> None:
        self.inner = inner
        self.auth = auth

    def __call__(self, request: Request) -> Response:
        """A token, a refusal, or what `inner` answers."""
        if request.path != "/token":
            return self.inner(request)
        try:
            if request.method == "GET":
                return self._get(request)
            if request.method == "POST":
                return self._post(request)
            raise Unsupported(headers={"Allow": "GET, POST"})
        except RegistryError as error:
            return refusal(error)

    def _get(self, request: Request) -> Response:
        """For the name and password in the Authorization header, or for nobody in particular."""
        asked, service = request.query.get("scope", []), request.first("service") or self.auth.service
        request.asked = " ".join(asked)
        user, good = asking(request, self.auth.users)
        if not good:
            raise _refused("wrong name or password")
        table = self._token(request, user, asked, service)
        table["token"] = table["access_token"]
        if user is not None and request.first("offline_token") == "true":
            table["refresh_token"] = self._refresh_token(user, service)
        return answer(table)

    def _post(self, request: Request) -> Response:
        """For what stands in the form: a name and password, or a refresh token."""
        form = _form(request)
        given = {name: values[0] for name, values in form.items()}
        asked, service = form.get("scope", []), given.get("service") or self.auth.service
        request.asked = " ".join(asked)
        user = self._user(given, service)
        table = self._token(request, user, asked, service)
        if given["grant_type"] == "refresh_token":
            table["refresh_token"] = given["refresh_token"]
        elif given.get("access_type") == "offline":
            table["refresh_token"] = self._refresh_token(user, service)
        return answer(table)

    def _user(self, given: Mapping[str, str], service: str) -> str:
        """Who the form is from. Raises Unauthorized."""
        if given.get("grant_type") == "refresh_token":
            claims = self.auth.tokens.read(given.get("refresh_token", ""), service, refresh=True)
            if claims is None:
                raise _refused("the refresh token is not good")
            return claims.subject
        if given.get("grant_type") != "password":
            raise _refused("grant_type is password or refresh_token")
        name = given.get("username", "")
        if not self.auth.users.knows(name, given.get("password", "")):
            raise _refused("wrong name or password")
        return name

    def _token(self, request: Request, user: str | None, asked: list[str], service: str) -> dict[str, Any]:
        token, given = self.auth.issue(user, Scope.parse_all(asked), service)
        request.user = user
        request.granted = " ".join(map(str, given))
        issued = datetime.fromtimestamp(self.auth.tokens.now, timezone.utc)
        return {
            "access_token": token,
            "scope": request.granted,
            "expires_in": max(1, int(self.auth.tokens.lifetime)),
            "issued_at": issued.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def _refresh_token(self, user: str, service: str) -> str:
        return self.auth.tokens.issue(Claims(user, service, refresh=True))


def _form(request: Request) -> Query:
    """The form in the body. Raises Unauthorized: it is what sends clients back to GET (SPEC K7)."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != FORM:
        raise _refused(f"a POST to /token has a body of type {FORM}")
    data = request.body.read(FORM_LIMIT)
    if data is None:
        raise _refused(f"the form may have {FORM_LIMIT} bytes")
    return parse_qs(data.decode(errors="replace"))


def _refused(message: str) -> Unauthorized:
    """401, which names a way to log in (RFC 9110 §15.5.2)."""
    return Unauthorized(message, headers={"WWW-Authenticate": 'Basic realm="tinyreg"'})
