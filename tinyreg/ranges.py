"""Which bytes a client asks for, or says it sends: the grammar of Range and Content-Range; not the bytes."""

from __future__ import annotations

import re

from .errors import RangeInvalid

_RANGE = re.compile(r"[ \t]*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))[ \t]*")
_CONTENT_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")
MOST_RANGES = 32
"""More ranges than that in one request are ignored (RFC 9110 §14.2 warns of them)."""

Span = tuple[int, int]
"""The first byte, and the one behind the last."""


def parse_range(value: str | None, size: int) -> list[Span]:
    """The spans of `size` bytes that a Range header asks for; none where the whole is to be sent.

    Spans are cut to what there is. Raises RangeInvalid where no span has a byte in it, or where the ranges are
    malformed: the spec's conformance program wants 416 where RFC 9110 would let us ignore them (SPEC C7).
    """
    unit, equals, ranges = (value or "").partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return []
    parts = ranges.split(",")
    if len(parts) > MOST_RANGES:
        return []
    spans = [_span(part, size) for part in parts if part.strip()]
    satisfiable = [span for span in spans if span[0] < span[1]]
    if not satisfiable:
        raise _unsatisfiable(size)
    return satisfiable


def _span(text: str, size: int) -> Span:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise _unsatisfiable(size)
    first, last, suffix = match.groups()
    if suffix is not None:
        return max(0, size - int(suffix)), size
    if last and int(last) < int(first):
        raise _unsatisfiable(size)
    return int(first), min(int(last) + 1, size) if last else size


def _unsatisfiable(size: int) -> RangeInvalid:
    return RangeInvalid("no such range", headers={"Content-Range": f"bytes */{size}"})


def parse_content_range(value: str | None) -> Span | None:
    """The span of the upload that a chunk's Content-Range says it is. Raises RangeInvalid (SPEC D6)."""
    if value is None:
        return None
    match = _CONTENT_RANGE.fullmatch(value)
    if match is None or int(match[2]) < int(match[1]):
        raise RangeInvalid("a chunk's Content-Range is <first>-<last>, in bytes, both inclusive")
    return int(match[1]), int(match[2]) + 1
