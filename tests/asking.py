"""A small HTTP client for tests: one request, one answer, errors as answers."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from email.message import Message
from typing import Any, NamedTuple

from tinyreg import Registry


class Answer(NamedTuple):
    status: int
    headers: Message[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    registry: Registry,
    path: str,
    method: str = "GET",
    data: Any = None,
    *,
    context: Any = None,
    **headers: str,
) -> Answer:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(registry.url + path, data, fields, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
