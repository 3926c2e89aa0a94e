"""Which requests are meant."""

from __future__ import annotations

import pytest

from tinyreg.routes import KINDS, Target
from tinyreg.selector import Selector

BLOB = Target("blob", "team/app", "sha256:abc")


@pytest.mark.parametrize(
    ("selector", "meant"),
    [
        (Selector(), True),
        (Selector(method="GET"), True),
        (Selector(method="PUT"), False),
        (Selector(kind="blob"), True),
        (Selector(kind="manifest"), False),
        (Selector(repository="team/app"), True),
        (Selector(repository="team/*"), True),
        (Selector(repository="*"), True),
        (Selector(repository="team"), False),
        (Selector(repository="Team/*"), False),
        (Selector(repository="t?am/[a-b]pp"), True),
        (Selector(reference="sha256:*"), True),
        (Selector(reference="sha512:*"), False),
        (Selector(reference=""), False),
        (Selector("GET", "blob", "team/*", "*abc"), True),
        (Selector("PUT", "blob", "team/*", "*abc"), False),
        (Selector("GET", "blob", "team/*", "*abd"), False),
    ],
)
def test_a_request_is_meant_when_all_that_is_given_matches(selector: Selector, meant: bool) -> None:
    assert selector.matches("GET", BLOB) is meant


def test_a_target_without_name_matches_only_patterns_that_match_nothing() -> None:
    assert Selector(repository="*").matches("GET", Target("base"))
    assert not Selector(repository="?*").matches("GET", Target("base"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_selected(kind: str) -> None:
    assert Selector(kind=kind).kind == kind


def test_an_unknown_kind_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(ValueError, match=r"kind='blobs': the kinds of request are base, .*, other$"):
        Selector(kind="blobs")


def test_a_method_in_lower_case_is_refused_as_it_would_match_nothing() -> None:
    with pytest.raises(ValueError, match="method='get': methods are upper case, 'GET'"):
        Selector(method="get")
