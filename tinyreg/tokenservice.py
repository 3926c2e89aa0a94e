"""The token endpoint, `/token`: a Handler that gives tokens for names and passwords; what they allow `users` knows.

Docker's "Token Authentication Specification" (GET) and "OAuth2 Token Authentication" (POST); SPEC K6–K8.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qs

from .auth import Token, basic_credentials
from .errors import RegistryError, Unauthorized, Unsupported
from .refusal import answer, refusal
from .scope import Scope
from .tokens import Claims
from .wire import Handler, Query, Request, Response

FORM_LIMIT = 64 * 1024
"""Bytes that the form of a POST may have."""


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
        user = self._login(basic_credentials(request))
        table = self._token(request, user, Scope.parse_all(request.query.get("scope", ())))
        table["token"] = table["access_token"]
        if user is not None and request.first("offline_token") == "true":
            table["refresh_token"] = self._refresh_token(user)
        return answer(table)

    def _post(self, request: Request) -> Response:
        """For what stands in the form: a name and password, or a refresh token."""
        data = request.body.read(FORM_LIMIT)
        if data is None:
            raise Unauthorized("the form is too long")
        form: Query = parse_qs(data.decode(errors="replace"))
        given = {name: values[0] for name, values in form.items()}
        if given.get("grant_type") == "refresh_token":
            claims = self.auth.tokens.read(given.get("refresh_token", ""), self.auth.service, refresh=True)
            user = claims.subject if claims else None
        elif given.get("grant_type") == "password":
            user = self._login((given.get("username", ""), given.get("password", "")))
        else:
            user = None
        if user is None:
            raise Unauthorized("grant_type is password or refresh_token, with what is good for it")
        table = self._token(request, user, Scope.parse_all(form.get("scope", ())))
        if given.get("access_type") == "offline" or given["grant_type"] == "refresh_token":
            table["refresh_token"] = given.get("refresh_token") or self._refresh_token(user)
        return answer(table)

    def _login(self, credentials: tuple[str, str] | None) -> str | None:
        if credentials is None:
            return None
        if not self.auth.users.knows(*credentials):
            raise Unauthorized("wrong name or password")
        return credentials[0]

    def _token(self, request: Request, user: str | None, asked: list[Scope]) -> dict[str, Any]:
        token, given = self.auth.issue(user, asked)
        request.user = user
        request.granted = " ".join(map(str, given))
        issued = datetime.fromtimestamp(self.auth.tokens.now, timezone.utc)
        return {
            "access_token": token,
            "scope": request.granted,
            "expires_in": int(self.auth.tokens.lifetime),
            "issued_at": issued.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def _refresh_token(self, user: str) -> str:
        return self.auth.tokens.issue(Claims(user, self.auth.service, refresh=True))
