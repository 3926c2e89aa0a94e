"""A client's tests, and the proof that they are worth something: each fails for a client without the care it tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.examples.client import Client
from tinyreg import Registry


def retries_when_it_is_too_busy(registry: Registry, make: type[Client]) -> None:
    registry.push_image("team/app:1.0")
    with registry.faults.add(status=429, kind="tags", times=2, headers={"Retry-After": "0.01"}) as fault:
        assert make(registry.url).tags("team/app") == ["1.0"]
    assert fault.hits == 2
    assert [each.status for each in registry.requests.where(kind="tags")] == [429, 429, 200]


def resumes_where_the_body_was_cut(registry: Registry, make: type[Client]) -> None:
    image = registry.push_image("team/app:1.0", random=50_000)
    layer = registry.repository("team/app").manifest(image.digest).layers[0]
    registry.faults.add(limit_data=20_000, kind="blob", times=1)
    assert len(make(registry.url).blob("team/app", layer.digest)) == layer.size
    first, second = registry.requests.where(kind="blob")
    assert (first.status, second.status, second.headers["Range"]) == (200, 206, "bytes=20000-")


def refuses_a_corrupt_blob(registry: Registry, make: type[Client]) -> None:
    image = registry.push_image("team/app:1.0")
    layer = registry.repository("team/app").manifest(image.digest).layers[0]
    registry.faults.add(corrupt=True, kind="blob")
    with pytest.raises(ValueError, match="is corrupt"):
        make(registry.url).blob("team/app", layer.digest)


def follows_paging(registry: Registry, make: type[Client]) -> None:
    for tag in "abcde":
        registry.push_image(f"team/app:{tag}")
    assert make(registry.url).tags("team/app") == list("abcde")
    assert len(registry.requests.where(kind="tags")) == 3


class NeverRetries(Client):
    def may_retry(self, status: int) -> bool:
        return False


class StartsAgain(Client):
    def resume(self, data: bytes) -> dict[str, str]:
        return {}


class TakesEverything(Client):
    def check(self, data: bytes, digest: str) -> None:
        """Nothing is looked at."""


class ReadsOnePage(Client):
    def next_page(self, link: str) -> str:
        return ""


Case = Callable[[Registry, type[Client]], None]
CASES: list[tuple[Case, type[Client]]] = [
    (retries_when_it_is_too_busy, NeverRetries),
    (resumes_where_the_body_was_cut, StartsAgain),
    (refuses_a_corrupt_blob, TakesEverything),
    (follows_paging, ReadsOnePage),
]


@pytest.mark.parametrize("case", [case for case, _ in CASES], ids=lambda case: case.__name__)
def test_the_client(registry: Registry, case: Case) -> None:
    case(registry, Client)


@pytest.mark.parametrize(("case", "broken"), CASES, ids=lambda value: value.__name__)
def test_a_client_without_that_care_fails(registry: Registry, case: Case, broken: type[Client]) -> None:
    with pytest.raises((AssertionError, OSError, ValueError, pytest.fail.Exception)):
        case(registry, broken)
