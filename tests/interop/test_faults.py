"""What real clients make of faults: what they overcome, what they refuse and in which words, and that what is stored
stays as it was. Every case is run again without its fault, and then does all it should."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tinyreg import Registry
from tinyreg.faults import Fault
from tinyreg.wire import Headers, Request, Response

from . import payload
from .clients import Client, Done
from .commands import COMMANDS, content, seed, whole_blobs

LIE = "sha256:" + "0" * 64
SOON = {"Retry-After": "1"}
Run = Callable[[str], tuple[Done, Path]]
_folders = itertools.count()


@pytest.fixture
def app(served: Registry) -> Iterator[str]:
    """`team/app:1.0`; whatever happens in the test, it is stored the same at the end of it."""
    ref = seed(served)
    before = content(served), served.repository("team/app").files("1.0")
    yield ref
    assert (content(served), served.repository("team/app").files("1.0")) == before


@pytest.fixture
def run(served: Registry, app: str, request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Runs a command of the table, with a folder of its own to write to."""

    def one(name: str) -> tuple[Done, Path]:
        command, out = COMMANDS[name], tmp_path / f"out{next(_folders)}"
        out.mkdir()
        client: Client = request.getfixturevalue(command.client)
        return client.run(*command.args(served, out), timeout=30), out

    return one


def assert_works(served: Registry, run: Run, name: str) -> None:
    """The command does all it should."""
    done, out = run(name)
    assert done.status == 0, str(done)
    COMMANDS[name].check(served, out, done.stdout)


def acted_on(served: Registry, fault: Fault) -> list[int]:
    """The statuses that were answered where the fault acted; 0 is no answer at all."""
    return [each.status for each in served.requests if each.fault is fault]


class Overcome(NamedTuple):
    """A command, a fault, and the statuses of all requests of its method and kind, sorted where they overlap."""

    command: str
    fault: dict[str, Any]
    statuses: list[int]


PUT = {"kind": "manifest", "method": "PUT", "times": 1}
GET = {"kind": "manifest", "method": "GET", "times": 1}
BLOB = {"kind": "blob", "method": "GET", "times": 1}
START = {"kind": "uploads", "method": "POST", "times": 1}
PATCH = {"kind": "upload", "method": "PATCH", "times": 1}
END = {"kind": "upload", "method": "PUT", "times": 1}
TAGS = {"kind": "tags", "method": "GET", "times": 1}

OVERCOME = (
    # 429 and 503, at every step that is tried again
    Overcome("crane digest", {"status": 429, "kind": "manifest", "method": "HEAD", "times": 1}, [200, 429]),
    Overcome("crane manifest", {"status": 429, **GET}, [200, 429]),
    Overcome("skopeo pull", {"status": 429, "headers": SOON, **GET}, [200, 429]),
    Overcome("oras pull", {"status": 429, "headers": SOON, **GET}, [200, 429]),
    Overcome("regctl manifest", {"status": 429, "headers": SOON, **GET}, [200, 429]),
    Overcome("crane manifest", {"status": 503, "headers": SOON, **GET}, [200, 503]),
    Overcome("oras manifest", {"status": 503, "headers": SOON, **GET}, [200, 503]),
    Overcome("crane ls", {"status": 503, "headers": SOON, **TAGS}, [200, 503]),
    Overcome("crane pull", {"status": 503, "headers": SOON, **BLOB}, [200, 200, 200, 200, 503]),
    Overcome("oras pull", {"status": 503, "headers": SOON, **BLOB}, [200, 503]),
    Overcome("crane push", {"status": 503, "headers": SOON, **START}, [202, 202, 503]),
    Overcome("oras push", {"status": 503, "headers": SOON, **START}, [202, 202, 503]),
    Overcome("regctl push", {"status": 503, "headers": SOON, **START}, [202, 202, 503]),
    Overcome("crane push", {"status": 429, **PATCH}, [202, 202, 429]),
    Overcome("regctl push", {"status": 429, "headers": SOON, **END}, [201, 201, 429]),
    Overcome("crane push", {"status": 429, **PUT}, [201, 429]),
    Overcome("oras push", {"status": 429, "headers": SOON, **PUT}, [201, 429]),
    Overcome("regctl push", {"status": 429, "headers": SOON, **PUT}, [201, 429]),
    # no answer, or half of one
    Overcome("crane push", {"reset_peer": True, "limit_data": 5000, **PATCH}, [0, 202, 202]),
    Overcome("crane push", {"empty": True, **END}, [0, 201, 201]),
    Overcome("crane manifest", {"empty": True, **GET}, [0, 200]),
    Overcome("regctl manifest", {"garbage": True, **GET}, [0, 200]),
    Overcome("regctl pull", {"limit_data": 20, **BLOB}, [200, 200, 200, 200, 206]),
    # an answer that is late
    Overcome("crane digest", {"latency": 0.2, "jitter": 0.1, "kind": "manifest", "method": "HEAD"}, [200]),
    Overcome("docker pull", {"latency": 0.2, "jitter": 0.1, **BLOB}, [200, 200, 200, 200]),
    # what is not looked at
    Overcome("skopeo pull", {"digest": LIE, **GET}, [200]),
    Overcome("crane push", {"digest": LIE, **PUT}, [201]),
    Overcome("skopeo push", {"limit_data": 0, **PUT}, [201]),
)


@pytest.mark.parametrize("case", OVERCOME, ids=lambda case: f"{case.command} {case.fault}")
def test_a_client_overcomes(served: Registry, run: Run, case: Overcome) -> None:
    where = {name: case.fault[name] for name in ("kind", "method")}
    fault = served.faults.add(**case.fault)
    assert_works(served, run, case.command)
    assert fault.hits == 1
    assert sorted(each.status for each in served.requests.where(**where) if each.status != 404) == case.statuses
    served.faults.clear()


@pytest.mark.parametrize("command", sorted({case.command for case in OVERCOME}))
def test_without_a_fault_nothing_is_asked_twice(served: Registry, run: Run, command: str) -> None:
    assert_works(served, run, command)
    assert {each.status for each in served.requests} <= {200, 201, 202, 404}
    asked = [(each.method, each.path) for each in served.requests if each.kind in ("manifest", "blob", "upload")]
    pulled = [each for each in asked if each[0] == "GET"]
    assert len(pulled) == len(set(pulled))


class Refused(NamedTuple):
    """A command, a fault, words of what the client then says, and the statuses that the fault's victims had."""

    command: str
    fault: dict[str, Any]
    said: str
    statuses: list[int]


def always(fault: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fault.items() if name != "times"}


REFUSED = (
    # status and code, on every kind of request
    Refused(
        "crane ls", {"status": 403, "code": "DENIED", "message": "not for you", "kind": "base"}, "not for you", [403]
    ),
    Refused("crane catalog", {"status": 403, "message": "no list", "kind": "catalog"}, "DENIED: no list", [403]),
    Refused("crane ls", {"status": 404, "code": "NAME_UNKNOWN", **TAGS}, "NAME_UNKNOWN", [404]),
    Refused("crane manifest", {"status": 418, "code": "TEAPOT", "message": "short", **GET}, "TEAPOT: short", [418]),
    Refused("oras manifest", {"status": 418, "code": "TEAPOT", "message": "short", **GET}, "teapot: short", [418]),
    Refused("crane delete", {"status": 405, "kind": "manifest", "method": "DELETE"}, "UNSUPPORTED", [405]),
    Refused("oras push", {"status": 429, **END}, "toomanyrequests", [429]),
    Refused("skopeo pull", {"status": 503, "headers": SOON, **GET}, "503 Service Unavailable", [503]),
    Refused("skopeo pull", {"status": 503, "headers": SOON, **BLOB}, "503 (Service Unavailable)", [503]),
    Refused("skopeo push", {"status": 503, "headers": SOON, **START}, "503", [503]),
    Refused("skopeo push", {"status": 429, **PUT}, "429", [429]),
    Refused("regctl manifest", {"status": 503, **GET}, "Service Unavailable [http 503]", [503]),
    # docker asks for the manifest by its digest first, then by its tag
    Refused("docker pull", {"status": 403, "message": "not for you", **always(GET)}, "denied: not for you", [403, 403]),
    Refused("podman pull", {"status": 403, "code": "DENIED", "message": "not for you", **GET}, "not for you", [403]),
    # a body that is cut, or a connection that is
    Refused("crane pull", {"limit_data": 20, **BLOB}, "unexpected EOF", [200]),
    Refused("skopeo pull", {"limit_data": 20, **always(BLOB)}, "unexpected EOF", []),
    Refused("oras pull", {"limit_data": 20, **BLOB}, "unexpected EOF", [200]),
    Refused("crane manifest", {"limit_data": 20, **always(GET)}, "EOF", []),
    Refused("crane pull", {"reset_peer": True, "limit_data": 20, **BLOB}, "connection reset by peer", [200]),
    Refused("oras pull", {"reset_peer": True, "limit_data": 20, **BLOB}, "connection reset by peer", [200]),
    # whether it is the writing or the reading that fails first, and so the rest of the words, is chance
    Refused("skopeo push", {"reset_peer": True, "limit_data": 5000, **PATCH}, "writing blob: Patch ", [0]),
    Refused("oras push", {"reset_peer": True, "limit_data": 5000, **END}, 'Error: Put "http:', [0]),
    Refused("skopeo list-tags", {"reset_peer": True, **TAGS}, "connection reset by peer", [0]),
    Refused("skopeo list-tags", {"empty": True, **TAGS}, "EOF", [0]),
    Refused("skopeo push", {"empty": True, **END}, "EOF", [0]),
    Refused("crane manifest", {"garbage": True, **GET}, "malformed HTTP", [0]),
    Refused("skopeo pull", {"garbage": True, **GET}, "malformed HTTP", [0]),
    Refused("oras push", {"garbage": True, **START}, "malformed HTTP", [0]),
    # bytes that are not those that were asked for
    Refused("crane pull", {"corrupt": True, **BLOB}, "error verifying sha256 checksum", [200]),
    Refused("skopeo pull", {"corrupt": True, **always(BLOB)}, "Digest did not match", []),
    Refused("oras pull", {"corrupt": True, **BLOB}, "mismatched digest", [200]),
    Refused("regctl pull", {"corrupt": True, **BLOB}, "digest mismatch", [200]),
    Refused("podman pull", {"corrupt": True, **always(BLOB)}, "does not match expected sha256:", []),
    Refused("docker pull", {"corrupt": True, **always(BLOB)}, "verification failed", []),
    Refused("oras manifest", {"corrupt": True, **GET}, "mismatched digest", [200]),
    Refused("regctl manifest", {"corrupt": True, **GET}, "digest", [200]),
    # a digest that lies
    Refused("oras manifest", {"digest": LIE, **GET}, "mismatched digest", [200]),
    Refused("regctl manifest", {"digest": LIE, **GET}, "digest", [200]),
    Refused("oras push", {"digest": LIE, **PUT}, "digest mismatch in Docker-Content-Digest", [201]),
    Refused("regctl push", {"digest": LIE, **PUT}, "unexpected digest returned", [201]),
    # a redirect to where nobody listens
    Refused(
        "crane manifest", {"redirect": "http://127.0.0.1:1/x", **GET}, "127.0.0.1:1: connect: connection refused", [307]
    ),
    Refused("oras pull", {"redirect": "http://127.0.0.1:1/x", **BLOB}, "connection refused", [307]),
    Refused("skopeo pull", {"redirect": "http://127.0.0.1:1/x", **GET}, "connection refused", [307]),
)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: f"{case.command} {case.fault}")
def test_a_client_refuses(served: Registry, run: Run, case: Refused) -> None:
    fault = served.faults.add(**case.fault)
    done, out = run(case.command)
    assert done.status, str(done)
    assert case.said in (done.stdout + done.stderr).decode(errors="replace"), str(done)
    assert fault.hits
    if case.statuses:
        where = {name: case.fault[name] for name in ("kind", "method") if name in case.fault}
        served.requests.wait(len(case.statuses), **where)  # the last one may end after the client
        assert acted_on(served, fault) == case.statuses
    assert all(payload.digest(data) == name for name, data in whole_blobs(out).items())  # nothing wrong was kept
    lied = "digest" in case.fault
    assert lied or "new" not in served.repositories() or served.repository("new").tags() == []
    served.faults.clear()
    assert_works(served, run, case.command)


# Docker Hub's rate limit


def test_crane_stops_at_the_rate_limit_and_goes_on_asking_by_head(served: Registry, run: Run) -> None:
    served.rate_limit(2)
    for _ in range(2):
        assert_works(served, run, "crane manifest")
    done, _ = run("crane manifest")
    assert done.status, str(done)
    assert b"TOOMANYREQUESTS: You have reached your pull rate limit." in done.stderr
    answers = served.requests.where(kind="manifest", method="GET")
    assert [each.status for each in answers] == [200, 200, 429, 429, 429]
    left = [each.response_headers["ratelimit-remaining"] for each in answers]
    assert left == [f"{count};w=21600" for count in (1, 0, 0, 0, 0)]
    assert_works(served, run, "crane digest")


def test_skopeo_waits_for_the_end_of_the_rate_limits_window(served: Registry, run: Run) -> None:
    served.rate_limit(1, window=1)
    for _ in range(2):
        assert_works(served, run, "skopeo pull")
    answers = served.requests.where(kind="manifest", method="GET")
    assert [each.status for each in answers][-2:] == [429, 200]
    assert answers[-2].response_headers["retry-after"] == "1"


# Anything else


def without(*names: str) -> Callable[[Request, Response], Response]:
    """An edit that takes fields from the right answer."""

    def edit(request: Request, response: Response) -> Response:
        kept = [(name, value) for name, value in response.headers.items() if name.lower() not in names]
        return Response(response.status, Headers(kept), response.body)

    return edit


def test_crane_takes_the_digest_of_the_body_where_no_header_tells_it(served: Registry, run: Run) -> None:
    served.faults.add(edit=without("docker-content-digest"), kind="manifest")
    assert_works(served, run, "crane digest")
    assert [each.method for each in served.requests.where(kind="manifest")] == ["HEAD", "GET"]
    served.faults.clear()
    served.requests.clear()
    assert_works(served, run, "crane digest")
    assert [each.method for each in served.requests.where(kind="manifest")] == ["HEAD"]


@pytest.mark.parametrize("command", ["crane push", "skopeo push", "oras push"])
def test_an_upload_without_a_location_is_given_up(served: Registry, run: Run, command: str) -> None:
    with served.faults.add(edit=without("location"), kind="uploads") as fault:
        done, _ = run(command)
        assert done.status, str(done)
        assert fault.hits
        assert "new" not in served.repositories()
    assert_works(served, run, command)


def gone(request: Request, response: Response) -> Response:
    return Response(404)


@pytest.mark.parametrize("effect", [{"status": 404}, {"edit": gone}], ids=["status", "edit"])
def test_oras_looks_for_the_fallback_tag_where_there_is_no_referrers_api(
    served: Registry, run: Run, effect: dict[str, Any]
) -> None:
    with served.faults.add(kind="referrers", **effect):
        done, _ = run("oras discover")
        assert done.status == 0, str(done)
    fallback = served.repository("team/app").manifest("1.0").digest.replace(":", "-")
    assert [each.status for each in served.requests.where(kind="manifest", reference=fallback)] == [404]
    assert_works(served, run, "oras discover")


# What curl, which hides nothing, calls it: the exit status is another one for each

CURL = (
    ({"status": 503}, "manifests/1.0", 22),
    ({"status": 429}, "tags/list", 22),
    ({"limit_data": 20}, "manifests/1.0", 18),
    ({"limit_data": 0}, "tags/list", 18),
    ({"empty": True}, "manifests/1.0", 52),
    ({"reset_peer": True}, "manifests/1.0", 56),
    ({"reset_peer": True, "limit_data": 20}, "manifests/1.0", 56),
    ({"garbage": True}, "manifests/1.0", 1),
    ({"stall": True}, "manifests/1.0", 28),
    ({"hold": True}, "tags/list", 28),
    ({"latency": 60}, "manifests/1.0", 28),
    ({"bandwidth": 100}, "manifests/1.0", 28),
    ({"redirect": "http://127.0.0.1:1/x"}, "manifests/1.0", 7),
)


@pytest.mark.parametrize(("effect", "path", "status"), CURL, ids=str)
def test_curl_tells_each_fault_from_the_others(
    served: Registry, app: str, curl: Client, effect: dict[str, Any], path: str, status: int
) -> None:
    command = ("--fail", "--location", "--max-time", "1", f"{served.url}/v2/team/app/{path}")
    with served.faults.add(**effect) as fault:
        done = curl.run(*command)
        assert done.status == status, str(done)
        assert fault.hits == 1
    assert curl.run(*command).status == 0
