"""An error as an answer, in the spec's form (distribution-spec, "Error Codes"); when to give one others know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .errors import RegistryError
from .wire import Headers, Response

API_VERSION = ("Docker-Distribution-Api-Version", "registry/2.0")
"""By this older clients know a registry, in refusals too (SPEC A10)."""


def refusal(error: RegistryError) -> Response:
    """The answer that tells a client of `error`."""
    return answer({"errors": error.entries()}, error.headers, error.status)


def answer(value: Any, headers: Mapping[str, str] | None = None, status: int = 200) -> Response:
    """`value` as a JSON answer; exactly `application/json`, or docker drops an error's message (SPEC B3)."""
    fields = Headers([("Content-Type", "application/json"), API_VERSION, *(headers or {}).items()])
    return Response(status, fields, _encode(value).encode())


_encode = json.JSONEncoder(separators=(",", ":")).encode
