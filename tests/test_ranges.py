from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreg.errors import RangeInvalid
from tinyreg.ranges import MOST_RANGES, Span, parse_content_range, parse_range

SIZE = 2000
LONG = "1" * 5000 + "-" + "2" * 5000

RANGES: dict[str, tuple[str, list[Span]]] = {  # SPEC C7, C8
    "from to": ("bytes=500-1499", [(500, 1500)]),
    "from": ("bytes=500-", [(500, 2000)]),
    "last": ("bytes=-500", [(1500, 2000)]),
    "past the end": ("bytes=1500-9999", [(1500, 2000)]),
    "more than all": ("bytes=-9999", [(0, 2000)]),
    "one byte": ("bytes=0-0", [(0, 1)]),
    "the last byte": ("bytes=1999-1999", [(1999, 2000)]),
    "several": ("bytes=0-0,-1, 5-6", [(0, 1), (1999, 2000), (5, 7)]),
    "some unsatisfiable": ("bytes=5000-,3-4", [(3, 5)]),
    "empty elements": ("bytes=,0-1,,", [(0, 2)]),
    "blanks": ("bytes = \t0-1 ", [(0, 2)]),
    "unit in capitals": ("BYTES=0-1", [(0, 2)]),
    "leading zeros": ("bytes=007-008", [(7, 9)]),
}
IGNORED = {
    "absent": None,
    "empty": "",
    "no equals sign": "bytes",
    "another unit": "items=0-1",
    "more than we answer": "bytes=" + ",".join(["0-0"] * (MOST_RANGES + 1)),
}
REFUSED = {
    "at the end": "bytes=2000-",
    "behind the end": "bytes=5000-6000",
    "last before first": "bytes=5-2",
    "nothing of the end": "bytes=-0",
    "no ranges": "bytes=",
    "only commas": "bytes=,,",
    "no number": "bytes=-",
    "letters": "bytes=a-b",
    "negative": "bytes=--1",
    "three numbers": "bytes=1-2-3",
    "plus sign": "bytes=+1-2",
    "fraction": "bytes=1.0-2",
    "inner blank": "bytes=1 - 2",
    "digits that are not ascii": "bytes=٣-٤",
    "a number without end": "bytes=" + "9" * 5000 + "-",
    "trailing newline": "bytes=0-1\n",
    "one good, one malformed": "bytes=0-1,x",
    "one good, one backwards": "bytes=0-1,5-2",
}


@pytest.mark.parametrize(("value", "spans"), RANGES.values(), ids=RANGES)
def test_a_range_is_cut_to_what_there_is(value: str, spans: list[Span]) -> None:
    assert parse_range(value, SIZE) == spans


@pytest.mark.parametrize("value", IGNORED.values(), ids=IGNORED)
def test_a_range_not_in_bytes_or_too_manifold_means_the_whole(value: str | None) -> None:
    assert parse_range(value, SIZE) == []


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_a_range_with_no_byte_or_no_form_is_refused_and_told_the_size(value: str) -> None:
    with pytest.raises(RangeInvalid) as caught:
        parse_range(value, SIZE)
    assert caught.value.headers == {"Content-Range": "bytes */2000"}


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"])
def test_no_range_of_an_empty_blob_is_satisfiable(value: str) -> None:
    with pytest.raises(RangeInvalid) as caught:
        parse_range(value, 0)
    assert caught.value.headers == {"Content-Range": "bytes */0"}


def test_as_many_ranges_as_we_answer_are_answered() -> None:
    assert parse_range("bytes=" + ",".join(["0-0"] * MOST_RANGES), 1) == [(0, 1)] * MOST_RANGES


@given(st.binary(max_size=20), st.integers(0, 25), st.none() | st.integers(0, 25))
def test_a_range_picks_the_bytes_a_slice_picks(data: bytes, first: int, last: int | None) -> None:
    value = f"bytes={first}-{'' if last is None else last}"
    expected = data[first : None if last is None else last + 1]
    if expected:
        [(start, stop)] = parse_range(value, len(data))
        assert data[start:stop] == expected
    else:
        with pytest.raises(RangeInvalid):
            parse_range(value, len(data))


@given(st.binary(min_size=1, max_size=20), st.integers(1, 25))
def test_a_suffix_range_picks_the_bytes_a_negative_slice_picks(data: bytes, count: int) -> None:
    [(start, stop)] = parse_range(f"bytes=-{count}", len(data))
    assert data[start:stop] == data[-count:]


@given(st.text("bytes=0123456789-, \t\nx", max_size=30), st.integers(0, 100))
def test_whatever_comes_every_span_lies_within_the_content(value: str, size: int) -> None:
    try:
        spans = parse_range(value, size)
    except RangeInvalid:
        return
    assert all(0 <= start < stop <= size for start, stop in spans)


@pytest.mark.parametrize(
    ("value", "span"),
    [(None, None), ("0-0", (0, 1)), ("10-19", (10, 20)), ("010-019", (10, 20))],
    ids=["absent", "one byte", "ten", "leading zeros"],
)
def test_a_chunk_s_range_is_inclusive(value: str | None, span: Span | None) -> None:  # D6
    assert parse_content_range(value) == span


@pytest.mark.parametrize(
    "value",
    ["", "0", "-", "0-", "-1", "5-4", "bytes 0-1/2", "bytes=0-1", "0-1/2", " 0-1", "0-1\n", "a-b", "٣-٤", "0--1", LONG],
)
def test_a_chunk_s_range_of_any_other_form_is_refused(value: str) -> None:
    with pytest.raises(RangeInvalid, match="both inclusive"):
        parse_content_range(value)
