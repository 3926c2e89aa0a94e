"""Docker Hub's rate limit (SPEC M1)."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from email.message import Message
from typing import Any

import pytest

from tinyreg import Registry
from tinyreg.ratelimit import RateLimit
from tinyreg.wire import Request, Response

MANIFEST = "/v2/team/app/manifests/1.0"
BLOB = "/v2/team/app/blobs/sha256:" + "0" * 64


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limited(limit: int, window: float = 60) -> tuple[RateLimit, Clock]:
    clock = Clock()
    return RateLimit(lambda request: Response(200, body=b"inner"), limit, window, clock), clock


def ask(handler: RateLimit, method: str = "GET", path: str = MANIFEST, peer: str = "10.0.0.1") -> Response:
    return handler(Request(method, path, peer=peer))


def told(response: Response) -> tuple[int, Any, Any, Any]:
    names = ("ratelimit-limit", "ratelimit-remaining", "docker-ratelimit-source")
    return response.status, *(response.headers.get(name) for name in names)


def test_each_get_of_a_manifest_counts_down_to_429() -> None:
    handler, _ = limited(2)
    assert told(ask(handler)) == (200, "2;w=60", "1;w=60", "10.0.0.1")
    assert told(ask(handler)) == (200, "2;w=60", "0;w=60", "10.0.0.1")
    assert told(ask(handler)) == (429, "2;w=60", "0;w=60", "10.0.0.1")


def test_head_is_free_and_tells_what_remains_also_at_zero() -> None:
    handler, _ = limited(1)
    assert told(ask(handler, "HEAD"))[:3] == (200, "1;w=60", "1;w=60")
    ask(handler)
    assert told(ask(handler, "HEAD"))[:3] == (200, "1;w=60", "0;w=60")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", MANIFEST),
        ("DELETE", MANIFEST),
        ("GET", BLOB),
        ("HEAD", BLOB),
        ("GET", "/v2/"),
        ("GET", "/v2/team/app/tags/list"),
    ],
)
def test_nothing_but_the_pull_of_a_manifest_is_limited(method: str, path: str) -> None:
    handler, _ = limited(0)
    assert told(ask(handler, method, path)) == (200, None, None, None)


def test_429_has_the_specs_body() -> None:
    handler, _ = limited(0, 21600)
    response = ask(handler)
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(bytes(response.body)) == {  # type: ignore[arg-type]
        "errors": [
            {
                "code": "TOOMANYREQUESTS",
                "message": "You have reached your pull rate limit.",
                "detail": "0 pulls in 21600 seconds",
            }
        ]
    }


@pytest.mark.parametrize(("passed", "retry"), [(0, "60"), (0.5, "60"), (30, "30"), (58.6, "2"), (59.9, "1")])
def test_who_waits_for_retry_after_is_served_again(passed: float, retry: str) -> None:
    handler, clock = limited(1)
    ask(handler)
    clock.now += passed
    refused = ask(handler)
    assert (refused.status, refused.headers["Retry-After"]) == (429, retry)
    clock.now += int(retry)
    assert told(ask(handler))[:3] == (200, "1;w=60", "0;w=60")


def test_the_window_begins_with_the_first_pull_and_ends_on_time() -> None:
    handler, clock = limited(1)
    ask(handler)
    clock.now += 59.9
    assert ask(handler).status == 429
    clock.now += 0.1
    assert ask(handler).status == 200
    assert ask(handler).status == 429


def test_each_client_has_a_limit_of_its_own() -> None:
    handler, _ = limited(1)
    assert ask(handler, peer="10.0.0.1").status == 200
    assert told(ask(handler, peer="10.0.0.2")) == (200, "1;w=60", "0;w=60", "10.0.0.2")
    assert ask(handler, peer="10.0.0.1").status == 429


@pytest.mark.parametrize(("window", "written"), [(2_592_000, "2592000"), (0.5, "0.5"), (60.0, "60")])
def test_a_window_is_written_out_in_seconds(window: float, written: str) -> None:
    handler, _ = limited(5, window)
    assert ask(handler).headers["ratelimit-limit"] == f"5;w={written}"


@pytest.mark.parametrize(("limit", "window"), [(-1, 60), (1, 0), (1, -1)])
def test_a_limit_that_makes_no_sense_is_refused(limit: int, window: float) -> None:
    message = rf"rate_limit\({limit}, window={window}\): so many pulls, 0 or more, in so many seconds"
    with pytest.raises(ValueError, match=message):
        RateLimit(lambda request: Response(), limit, window)
    with pytest.raises(ValueError, match=message):
        Registry().rate_limit(limit, window)


def status(registry: Registry, method: str = "GET", path: str = MANIFEST) -> tuple[int, Message[str, str]]:
    try:
        with urllib.request.urlopen(urllib.request.Request(registry.url + path, method=method), timeout=5) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers


def test_a_registry_limits_from_the_call_on_until_reset(registry: Registry) -> None:
    image = registry.push_image("team/app:1.0")
    assert status(registry)[1]["ratelimit-limit"] is None
    registry.rate_limit(1, window=21600)
    code, headers = status(registry)
    assert (code, headers["ratelimit-limit"], headers["ratelimit-remaining"]) == (200, "1;w=21600", "0;w=21600")
    assert headers["docker-ratelimit-source"] == "127.0.0.1"
    assert status(registry)[0] == 429
    assert status(registry, "HEAD")[0] == 200
    layer = registry.repository("team/app").manifest(image.digest).layers[0]
    assert status(registry, path=f"/v2/team/app/blobs/{layer.digest}")[0] == 200
    assert len(registry.requests.where(kind="manifest", status=429)) == 1
    registry.reset()
    registry.push_image("team/app:1.0")
    assert status(registry)[0] == 200


def test_a_new_limit_replaces_the_old_one_and_starts_anew(registry: Registry) -> None:
    registry.push_image("team/app:1.0")
    registry.rate_limit(0)
    assert status(registry)[0] == 429
    registry.rate_limit(1)
    assert status(registry)[0] == 200


def test_a_fault_stands_before_the_limit_and_costs_no_pull(registry: Registry) -> None:
    registry.push_image("team/app:1.0")
    registry.rate_limit(1)
    registry.faults.add(status=503, times=1)
    assert [status(registry)[0] for _ in range(3)] == [503, 200, 429]
