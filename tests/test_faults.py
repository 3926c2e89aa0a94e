"""Each fault, seen by a client; what is stored stays as it was."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import time
import urllib.error
from typing import Any

import pytest

from tests.asking import ask
from tinyreg import Registry
from tinyreg.faults import GARBAGE
from tinyreg.wire import Headers, Request, Response

PATH = "/v2/app/manifests/1"


@pytest.fixture
def served(registry: Registry) -> Registry:
    registry.push_image("app:1", random=300_000)
    return registry


def blob(registry: Registry) -> str:
    return f"/v2/app/blobs/{registry.repository('app').manifest('1').layers[0].digest}"


@pytest.mark.parametrize(
    ("words", "status", "code", "message"),
    [
        ({"status": 503, "headers": {"Retry-After": "1"}}, 503, "UNAVAILABLE", "a fault answers 503"),
        ({"status": 429, "code": "TOOMANYREQUESTS", "message": "slower"}, 429, "TOOMANYREQUESTS", "slower"),
        ({"status": 418}, 418, "UNKNOWN", "a fault answers 418"),
        ({"status": 403}, 403, "DENIED", "a fault answers 403"),
    ],
)
def test_a_status_is_answered_in_the_specs_form(
    served: Registry, words: dict[str, Any], status: int, code: str, message: str
) -> None:
    served.faults.add(**words, kind="manifest")
    answer = ask(served, PATH)
    assert (answer.status, answer.json) == (status, {"errors": [{"code": code, "message": message}]})
    assert answer.headers["Retry-After"] == words.get("headers", {}).get("Retry-After")


def test_a_status_below_400_is_answered_with_its_headers_alone(served: Registry) -> None:
    served.faults.add(status=204, headers={"X-Odd": "1"})
    answer = ask(served, PATH)
    assert (answer.status, answer.headers["X-Odd"], answer.body) == (204, "1", b"")


def test_only_requests_that_match_go_wrong_and_the_first_fault_acts(served: Registry) -> None:
    first = served.faults.add(status=500, method="GET", kind="manifest", repository="a*", reference="1")
    second = served.faults.add(status=502)
    assert [ask(served, PATH).status, ask(served, PATH, "HEAD").status, ask(served, "/v2/").status] == [500, 502, 502]
    assert (first.hits, second.hits) == (1, 2)
    assert [each.fault for each in served.requests] == [first, second, second]


@pytest.mark.parametrize(
    ("limits", "statuses"),
    [
        ({"times": 2}, [500, 500, 200, 200, 200]),
        ({"after": 3}, [200, 200, 200, 500, 500]),
        ({"after": 1, "times": 1}, [200, 500, 200, 200, 200]),
    ],
    ids=str,
)
def test_limits_choose_among_the_requests_that_match(
    served: Registry, limits: dict[str, Any], statuses: list[int]
) -> None:
    served.faults.add(status=500, **limits)
    assert [ask(served, PATH).status for _ in range(5)] == statuses


def test_a_probability_is_a_repeatable_share(registry: Registry) -> None:
    def run(seed: int) -> list[int]:
        with registry.faults.add(status=500, probability=0.3, seed=seed):
            return [ask(registry, "/v2/").status for _ in range(60)]

    assert run(1) == run(1)
    assert 5 < run(1).count(500) < 35
    assert run(1) != run(2)


def test_a_fault_is_gone_at_the_end_of_its_block_and_may_be_removed_twice(served: Registry) -> None:
    with served.faults.add(status=500) as fault:
        assert (ask(served, PATH).status, len(served.faults), list(served.faults)) == (500, 1, [fault])
    fault.remove()
    assert (ask(served, PATH).status, len(served.faults), fault.hits) == (200, 0, 1)


def test_assert_all_hit_names_those_that_were_not(served: Registry) -> None:
    served.faults.add(status=500, kind="manifest")
    served.faults.add(latency=0.1, kind="catalog")
    ask(served, PATH)
    with pytest.raises(AssertionError, match=r"^faults that no request met: latency=0\.1 kind=catalog$"):
        served.faults.assert_all_hit()
    served.faults.clear()
    served.faults.assert_all_hit()


def test_latency_comes_before_the_answer_and_goes_with_another_effect(served: Registry) -> None:
    served.faults.add(latency=0.05, jitter=0.01, status=503)
    assert ask(served, PATH).status == 503
    assert served.requests[-1].seconds >= 0.04


def test_bandwidth_slows_both_ways_and_loses_nothing(registry: Registry) -> None:
    data = b"x" * 3000
    registry.faults.add(bandwidth=30_000, kind="uploads")
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert ask(registry, f"/v2/app/blobs/uploads/?digest={digest}", "POST", data).status == 201
    assert registry.requests[-1].seconds >= 0.09
    registry.faults.add(bandwidth=30_000, kind="blob")
    assert ask(registry, f"/v2/app/blobs/{digest}").body == data
    assert registry.requests[-1].seconds >= 0.09


def read(registry: Registry, path: str, method: str = "GET") -> tuple[dict[str, str], bytes]:
    """The head and as much of the body as comes."""
    connection = http.client.HTTPConnection(registry.host, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        try:
            return dict(answer.headers), answer.read()
        except http.client.IncompleteRead as error:
            return dict(answer.headers), error.partial
    finally:
        connection.close()


def test_limit_data_ends_the_body_early_behind_a_whole_length(served: Registry) -> None:
    whole = ask(served, blob(served)).body
    served.faults.add(limit_data=1000, kind="blob")
    head, body = read(served, blob(served))
    assert (int(head["Content-Length"]), body) == (len(whole), whole[:1000])
    served.faults.clear()
    served.faults.add(limit_data=0, kind="blob")
    assert read(served, blob(served))[1] == b""


def test_corrupt_flips_one_byte_and_leaves_the_head(served: Registry) -> None:
    path = blob(served)
    true, whole = read(served, path)
    served.faults.add(corrupt=True, kind="blob")
    head, body = read(served, path)
    assert {name: head[name] for name in head if name != "Date"} == {
        name: true[name] for name in true if name != "Date"
    }
    assert sum(a != b for a, b in zip(whole, body, strict=True)) == 1
    assert ask(served, path, "HEAD").status == 200


def test_digest_lies_in_the_header_alone(served: Registry) -> None:
    true = ask(served, PATH).body
    served.faults.add(digest="sha256:lie", kind="manifest")
    answer = ask(served, PATH)
    assert (answer.headers["Docker-Content-Digest"], answer.body) == ("sha256:lie", true)


@pytest.mark.parametrize("limit", [None, 1000])
def test_reset_peer_resets_the_connection_of_a_pull(served: Registry, limit: int | None) -> None:
    served.faults.add(reset_peer=True, kind="blob", limit_data=limit)
    with pytest.raises(ConnectionResetError):
        read(served, blob(served))
    assert served.requests[-1].sent < 2000


def test_reset_peer_in_a_push_keeps_what_came_and_stores_nothing(registry: Registry) -> None:
    location = ask(registry, "/v2/app/blobs/uploads/", "POST").headers["Location"]
    fault = registry.faults.add(reset_peer=True, kind="upload", method="PATCH", limit_data=5000)
    with pytest.raises((ConnectionError, urllib.error.URLError)):
        ask(registry, location, "PATCH", b"x" * 1_000_000)
    fault.remove()
    registry.requests.wait(method="PATCH", kind="upload")
    assert ask(registry, location).headers["Range"] == "0-4999"
    assert ask(registry, location, "PATCH", b"y", Content_Range="5000-5000").status == 202
    assert registry.repositories() == []


def test_a_body_that_ends_before_the_limit_is_reset_all_the_same(registry: Registry) -> None:
    location = ask(registry, "/v2/app/blobs/uploads/", "POST").headers["Location"]
    registry.faults.add(reset_peer=True, method="PATCH", limit_data=5000)
    with pytest.raises(ConnectionResetError):
        ask(registry, location, "PATCH", b"x")
    assert registry.requests[-1].status == 0


@pytest.mark.parametrize(
    ("word", "error"), [("garbage", http.client.BadStatusLine), ("empty", http.client.RemoteDisconnected)]
)
def test_what_is_no_answer_ends_the_connection(served: Registry, word: str, error: type[Exception]) -> None:
    words: dict[str, Any] = {word: True}
    served.faults.add(**words)
    with pytest.raises(error):
        read(served, PATH)
    exchange = served.requests[-1]
    assert (exchange.status, exchange.sent) == (0, len(GARBAGE) if word == "garbage" else 0)


@pytest.mark.parametrize(
    ("target", "location"), [("http://127.0.0.1:1/x", "/x"), ("http://127.0.0.1:1", f"{PATH}?a=b")]
)
def test_redirect_leads_to_a_url_or_to_the_same_path_elsewhere(served: Registry, target: str, location: str) -> None:
    served.faults.add(redirect=target, kind="manifest")
    head, body = read(served, f"{PATH}?a=b")
    assert (head["Location"], body) == (f"http://127.0.0.1:1{location}", b"")


def test_edit_changes_an_answer_in_place_or_gives_another(served: Registry) -> None:
    def mark(request: Request, response: Response) -> None:
        response.headers["X-Method"] = request.method

    with served.faults.add(edit=mark) as fault:
        assert (ask(served, PATH).headers["X-Method"], str(fault)) == ("GET", "edit=mark")
    served.faults.add(edit=lambda request, response: Response(299, Headers(), b"!"))
    assert ask(served, PATH)[::2] == (299, b"!")


def test_hold_lets_two_pushes_of_one_tag_race_in_a_chosen_order(registry: Registry) -> None:
    def push(text: str) -> None:
        data = json.dumps({"schemaVersion": 2, "annotations": {"a": text}}).encode()
        ask(registry, PATH, "PUT", data, Content_Type="application/vnd.oci.image.manifest.v1+json")

    hold = registry.faults.add(hold=True, kind="manifest", method="PUT", times=1)
    first = threading.Thread(target=push, args=("first",))
    first.start()
    hold.wait(timeout=5)
    push("second")
    assert registry.repository("app").manifest("1").annotations == {"a": "second"}
    hold.release()
    first.join()
    assert registry.repository("app").manifest("1").annotations == {"a": "first"}


def test_wait_says_what_did_not_arrive(registry: Registry) -> None:
    hold = registry.faults.add(hold=True)
    with pytest.raises(TimeoutError, match=r"^0 of 1 requests arrived at hold=True within 0\.01 s$"):
        hold.wait(timeout=0.01)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_stall_goes_on_where_it_is_removed(served: Registry, method: str) -> None:
    path = blob(served)
    whole = ask(served, path, method)
    stall = served.faults.add(stall=True, kind="blob")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(read(served, path, method)[1]))
    reader.start()
    stall.wait()
    assert got == []
    stall.remove()
    reader.join()
    assert got == [whole.body]


def test_stall_ends_with_its_client(served: Registry) -> None:
    stall = served.faults.add(stall=True, kind="blob")
    connection = http.client.HTTPConnection(served.host, timeout=10)
    connection.request("GET", blob(served))
    answer = connection.getresponse()
    stall.wait()
    answer.close()
    connection.close()
    assert served.requests.wait(kind="blob")[-1].fault is stall


def test_stop_does_not_wait_for_what_is_held() -> None:
    registry = Registry().start()
    hold = registry.faults.add(hold=True)
    connection = http.client.HTTPConnection(registry.host, timeout=10)
    connection.request("GET", "/v2/")
    hold.wait()
    began = time.monotonic()
    registry.stop()
    connection.close()
    assert time.monotonic() - began < 3  # and not the five seconds it would wait for a request that hangs


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "needs something to do"),
        ({"status": 500, "stall": True}, "status and stall in one fault"),
        ({"corrupt": True, "empty": True}, "corrupt and empty"),
        ({"status": 99}, "from 200 to 599"),
        ({"code": "X", "stall": True}, "code needs status"),
        ({"jitter": 1, "stall": True}, "jitter needs latency"),
        ({"latency": -1}, "latency=-1: less than nothing"),
        ({"bandwidth": 0}, "more than 0"),
        ({"status": 500, "kind": "blobs"}, "the kinds of request are base"),
        ({"status": 500, "method": "get"}, "methods are upper case"),
        ({"status": 500, "times": 0}, "never acts"),
        ({"status": 500, "after": -1}, "after=-1"),
        ({"status": 500, "probability": 0}, "probability=0"),
        ({"stall": False}, "needs something to do"),
    ],
    ids=str,
)
def test_a_fault_that_makes_no_sense_is_refused_where_it_is_added(words: dict[str, Any], message: str) -> None:
    registry = Registry()
    with pytest.raises(ValueError, match=message):
        registry.faults.add(**words)
    assert len(registry.faults) == 0


def test_an_unknown_word_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="statos"):
        Registry().faults.add(statos=500)


@pytest.mark.parametrize(
    "words",
    [{"corrupt": True}, {"limit_data": 9}, {"digest": "x"}, {"garbage": True}, {"reset_peer": True}, {"status": 500}],
    ids=str,
)
def test_a_fault_never_changes_what_is_stored(served: Registry, words: dict[str, Any]) -> None:
    path = blob(served)
    before = ask(served, path).body, ask(served, PATH).body
    with served.faults.add(**words):
        for each in (path, PATH):
            try:
                ask(served, each)
            except (OSError, http.client.HTTPException):
                continue
    assert (ask(served, path).body, ask(served, PATH).body) == before
