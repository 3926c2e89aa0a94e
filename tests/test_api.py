"""SPEC.md A–J over a socket and over both stores: a table a section, the item's number beside each entry."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256, sha512
from pathlib import Path
from typing import Any

import pytest

from tinyreg import Registry
from tinyreg.api import Api
from tinyreg.errors import ManifestUnknown
from tinyreg.repository import Sessions
from tinyreg.store.memory import MemoryStore
from tinyreg.wire import Abort, Disconnected, ProtocolError, Request

from .raw import Raw, Reply, request

OCI = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCTETS = "application/octet-stream"


def sha(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"


def sha5(data: bytes) -> str:
    return f"sha512:{sha512(data).hexdigest()}"


def descriptor(content: bytes, media_type: str, **fields: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha(content), "size": len(content), **fields}


def image(media_type: str = OCI, **fields: Any) -> bytes:
    """An image of CONFIG and LAYER."""
    table = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(CONFIG, "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(LAYER, "application/vnd.oci.image.layer.v1.tar")],
        **fields,
    }
    return json.dumps({name: value for name, value in table.items() if value is not None}, indent=1).encode()


def index(*children: bytes, media_type: str = INDEX, **fields: Any) -> bytes:
    manifests = [descriptor(each, OCI) for each in children]
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests, **fields}).encode()


CONFIG, LAYER, EMPTY, EMPTY_JSON = b'{"os":"linux"}', bytes(range(256)) * 4, b"", b"{}"
IMAGE = image()
BLOB, MANIFEST, ABSENT = sha(LAYER), sha(IMAGE), sha(b"absent")
ABSENT_5 = sha5(b"absent")
TAGS = ["1.0", "2.0", "A", "a", "latest"]
SBOM = image(artifactType="application/spdx+json", subject=descriptor(IMAGE, OCI), annotations={"org.example": "x"})
SIGNATURE = image(subject=descriptor(IMAGE, OCI))
ABOUT = index(subject=descriptor(IMAGE, OCI))


def push_blob(raw: Raw, name: str, data: bytes, digest: str = "") -> None:
    reply = raw.ask("POST", f"/v2/{name}/blobs/uploads/?digest={digest or sha(data)}", body=data)
    assert reply.status == 201, reply


def push_manifest(raw: Raw, name: str, reference: str, data: bytes, media_type: str = OCI) -> Reply:
    reply = raw.ask("PUT", f"/v2/{name}/manifests/{reference}", {"Content-Type": media_type}, data)
    assert reply.status == 201, reply
    return reply


def push_image(raw: Raw, name: str, *tags: str) -> None:
    push_blob(raw, name, CONFIG)
    push_blob(raw, name, LAYER)
    for tag in tags:
        push_manifest(raw, name, tag, IMAGE)


def start_upload(raw: Raw, name: str, query: str = "") -> str:
    reply = raw.ask("POST", f"/v2/{name}/blobs/uploads/{query}", body=b"")
    assert reply.status == 202, reply
    return reply.headers["location"]


@pytest.fixture(params=["memory", "directory"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """A started registry over each store, which may have no bug of its own."""
    with Registry(tmp_path / "store" if request.param == "directory" else None) as registry:
        yield registry
    assert registry.errors == []


@pytest.fixture
def raw(served: Registry) -> Iterator[Raw]:
    """A connection to it."""
    with Raw("127.0.0.1", served.port) as connection:
        yield connection


@pytest.fixture
def seeded(raw: Raw) -> Raw:
    """The connection, when `team/app` has an image under TAGS, and `other` has a blob."""
    push_image(raw, "team/app", *TAGS)
    push_blob(raw, "team/app", EMPTY)
    push_blob(raw, "team/app", LAYER, sha5(LAYER))
    push_blob(raw, "other", b"other")
    return raw


@dataclass(frozen=True)
class Case:
    """A request, and what its answer must have: a status, headers (None: must not be there), a body, error codes."""

    number: str
    method: str
    target: str
    status: int
    headers: Mapping[str, str] | list[tuple[str, str]] = field(default_factory=dict)
    data: bytes | Iterable[bytes] | None = None
    has: Mapping[str, str | None] = field(default_factory=dict)
    body: bytes | None = None
    code: str | None = None


def table(*cases: Case) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "case",
        [pytest.param(case, id=f"{case.number} {case.method} {case.target[:60]} {case.status}") for case in cases],
    )


def check(raw: Raw, case: Case) -> Reply:
    reply = raw.ask(case.method, case.target, case.headers, case.data)
    assert reply.status == case.status, reply
    assert reply.headers["docker-distribution-api-version"] == "registry/2.0"  # A10
    assert ("content-length" in reply.headers) == (case.status not in (204, 304))  # A12c
    for name, value in case.has.items():
        if value is None:
            assert name.lower() not in reply.headers
        else:
            assert reply.headers.get(name.lower()) == value, name
    if case.body is not None:
        assert reply.body == case.body
    if case.status >= 400:  # B2, B3
        assert reply.headers["content-type"] == "application/json"
    if case.code is not None and case.method != "HEAD":
        assert reply.codes == [case.code]
        assert all(re.fullmatch("[A-Z_]+", each["code"]) and each["message"] for each in reply.json["errors"])
    if case.method == "HEAD":  # A12d, B7
        assert reply.body == b""
    return reply


# A. Grammar and transport


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "0",
        "a/b/c/d/e/f/g",
        "a.b_c__d-e---f",
        "blobs",
        "manifests",
        "tags/list",
        "blobs/uploads",
        "a/blobs/uploads/b",
        "referrers/manifests/blobs",
        "v2",
        "con/aux.nul",
        "index.json",
        "oci-layout",
        "a" * 255,
    ],
)
def test_a1_a2_every_well_formed_name_is_a_repository(served: Registry, raw: Raw, name: str) -> None:
    push_image(raw, name, "latest")
    assert raw.ask("GET", f"/v2/{name}/manifests/latest").body == IMAGE
    assert raw.ask("GET", f"/v2/{name}/blobs/{BLOB}").body == LAYER
    assert raw.ask("GET", f"/v2/{name}/tags/list").json == {"name": name, "tags": ["latest"]}
    assert raw.ask("GET", "/v2/_catalog").json == {"repositories": [name]}
    assert served.repositories() == [name]


def test_a1_names_within_each_other_are_different_repositories(raw: Raw) -> None:
    names = ["a", "a/b", "a/blobs", "a/blobs/sha256", "a/index.json/b"]
    for name in names:
        push_image(raw, name, name.replace("/", "-"))
    assert [raw.ask("GET", f"/v2/{name}/tags/list").json["tags"] for name in names] == [
        [name.replace("/", "-")] for name in names
    ]
    assert raw.ask("GET", "/v2/_catalog").json["repositories"] == sorted(names)


NAME_BAD = [
    "UPPER",
    "a/B",
    "-a",
    "a-",
    "a..b",
    "a___b",
    "a._b",
    ".a",
    "a//b",
    "a/",
    "/a",
    "a b",
    "é",
    "a" * 256,
    "..",
    "a/../b",
    "a%00b",
    "a%0a",
    "%2e%2e/a",
    "a%5cb",
]


@table(
    *[
        Case(
            "A1 A2", "GET", f"/v2/{name.replace(' ', '%20').replace('é', '%c3%a9')}/tags/list", 400, code="NAME_INVALID"
        )
        for name in NAME_BAD
    ],
    Case("A1", "POST", "/v2/UPPER/blobs/uploads/", 400, data=b"", code="NAME_INVALID"),
    *[
        Case("A3", "PUT", f"/v2/team/app/manifests/{tag}", 400, {"Content-Type": OCI}, IMAGE, code="TAG_INVALID")
        for tag in ["-a", ".a", "a%20b", "a" * 129, "a%0a", "a+b", "%c3%a9", "a,b"]
    ],
    *[
        Case("A3", "PUT", f"/v2/team/app/manifests/{tag}", 201, {"Content-Type": OCI}, IMAGE)
        for tag in ["_a", "a" * 128, "A.-_9"]
    ],
    Case("A4", "GET", f"/v2/team/app/blobs/{BLOB.upper()}", 400, code="DIGEST_INVALID"),
    Case("A4", "GET", f"/v2/team/app/blobs/sha256:{BLOB[7:].upper()}", 400, code="DIGEST_INVALID"),
    *[
        Case("A4 A5", method, f"/v2/team/app/{kind}/{digest}", 400, code="DIGEST_INVALID")
        for method in ("GET", "HEAD")
        for kind in ("blobs", "manifests")
        for digest in (
            "sha256:",
            "sha256:abc",
            f"{BLOB}0",
            f"sha512:{BLOB[7:]}",
            f"md5:{'0' * 32}",
            ":",
            "sha256:%0a",
            "a:b:c",
        )
    ],
    Case(
        "A6 A7", "GET", f"/v2/team/app/blobs/{sha5(LAYER)}", 200, has={"Docker-Content-Digest": sha5(LAYER)}, body=LAYER
    ),
    Case("A7", "HEAD", f"/v2/team/app/blobs/{sha5(LAYER)}", 200, has={"Docker-Content-Digest": sha5(LAYER)}),
    Case("A11", "GET", f"/v2/team/app/blobs/{BLOB.replace(':', '%3A')}", 200, body=LAYER),
    Case("A11", "GET", "/v2/team%2Fapp/manifests/1%2e0", 200, body=IMAGE),
    Case("A11", "POST", f"/v2/x/blobs/uploads/?digest={sha(b'x').replace(':', '%3A')}", 201, data=b"x"),
    Case("A11", "POST", f"/v2/x/blobs/uploads/?from=team%2Fapp&mount={BLOB.replace(':', '%3A')}", 201, data=b""),
    Case("A12d", "HEAD", f"/v2/team/app/blobs/{BLOB}", 200, has={"Content-Length": "1024"}),
    Case("A12d", "HEAD", "/v2/team/app/tags/list", 200, has={"Content-Length": "57"}),
    Case("A12e", "POST", "/v2/", 405, data=b"", has={"Allow": "GET, HEAD"}, code="UNSUPPORTED"),
    Case("A12e", "PUT", "/v2/_catalog", 405, data=b"", has={"Allow": "GET, HEAD"}, code="UNSUPPORTED"),
    Case(
        "A12e", "POST", "/v2/a/manifests/x", 405, data=b"", has={"Allow": "DELETE, GET, HEAD, PUT"}, code="UNSUPPORTED"
    ),
    Case("A12e", "PUT", f"/v2/a/blobs/{BLOB}", 405, data=b"", has={"Allow": "DELETE, GET, HEAD"}, code="UNSUPPORTED"),
    Case("A12e", "GET", "/v2/a/blobs/uploads/", 405, has={"Allow": "POST"}, code="UNSUPPORTED"),
    Case(
        "A12e",
        "POST",
        "/v2/a/blobs/uploads/x",
        405,
        data=b"",
        has={"Allow": "DELETE, GET, HEAD, PATCH, PUT"},
        code="UNSUPPORTED",
    ),
    Case("A12e", "DELETE", "/v2/a/tags/list", 405, has={"Allow": "GET, HEAD"}, code="UNSUPPORTED"),
    Case("A12e", "DELETE", f"/v2/a/referrers/{BLOB}", 405, has={"Allow": "GET, HEAD"}, code="UNSUPPORTED"),
    Case("A12e", "OPTIONS", "/v2/", 405, code="UNSUPPORTED"),
    Case("A12e", "BREW", "/v2/", 405, code="UNSUPPORTED"),
    Case(
        "A12i",
        "GET",
        f"/v2/team/app/blobs/{BLOB}",
        200,
        {"Accept-Encoding": "gzip, zstd"},
        has={"Content-Encoding": None},
        body=LAYER,
    ),
    Case("A13", "GET", "/v2", 200, body=b"{}"),
    Case("A13", "HEAD", "/v2/", 200, has={"Content-Length": "2"}),
    Case("A13", "GET", "/", 200),
    Case("A14", "GET", "/v2/_oci/ext/discover", 404, code="UNSUPPORTED"),
    Case("A14", "GET", "/v2/team/app/_search", 404, code="UNSUPPORTED"),
)
def test_a_grammar_and_transport(seeded: Raw, case: Case) -> None:
    check(seeded, case)


def test_a6_a_manifest_pushed_under_sha512_is_found_under_it_and_nothing_else(seeded: Raw) -> None:
    data = image(annotations={"a": "b"})
    reply = push_manifest(seeded, "team/app", sha5(data), data)
    assert reply.headers["docker-content-digest"] == sha5(data)
    assert reply.headers["location"] == f"/v2/team/app/manifests/{sha5(data)}"
    found = seeded.ask("GET", f"/v2/team/app/manifests/{sha5(data)}")
    assert (found.body, found.headers["docker-content-digest"]) == (data, sha5(data))
    assert seeded.ask("GET", f"/v2/team/app/manifests/{sha5(IMAGE)}").status == 404


@pytest.mark.parametrize("steps", ["PUT", "PATCH PUT", "chunked"])
def test_a6_a_blob_is_hashed_anew_for_the_algorithm_its_digest_names(raw: Raw, steps: str) -> None:
    location = start_upload(raw, "a")
    if steps == "PATCH PUT":
        assert raw.ask("PATCH", location, body=LAYER).status == 202
    bodies: dict[str, bytes | list[bytes]] = {"PUT": LAYER, "PATCH PUT": b"", "chunked": [LAYER[:9], LAYER[9:]]}
    reply = raw.ask("PUT", f"{location}?digest={sha5(LAYER)}", body=bodies[steps])
    assert (reply.status, reply.headers["docker-content-digest"]) == (201, sha5(LAYER))
    assert raw.ask("GET", f"/v2/a/blobs/{sha5(LAYER)}").body == LAYER


def test_a12j_connections_for_one_request_each_are_served(served: Registry, seeded: Raw) -> None:
    for _ in range(20):
        with Raw("127.0.0.1", served.port) as raw:
            reply = raw.ask("GET", f"/v2/team/app/blobs/{BLOB}", {"Connection": "close"})
            assert (reply.body, reply.headers["connection"]) == (LAYER, "close")
            assert raw.rest() == b""


# B. Base and errors


@table(
    Case("B1", "GET", "/v2/", 200, has={"Content-Type": "application/json", "Content-Length": "2"}, body=b"{}"),
    Case("B2", "GET", "/nowhere", 404, code="UNSUPPORTED"),
    Case("B2", "GET", "/v2/team/app/nowhere", 404, code="UNSUPPORTED"),
    Case("B4", "GET", "/v2/nowhere/tags/list", 404, code="NAME_UNKNOWN"),
    Case("B7", "HEAD", "/v2/team/app/manifests/nowhere", 404),
    Case("B7", "HEAD", f"/v2/team/app/blobs/{ABSENT}", 404),
    Case("B7", "HEAD", "/nowhere", 404),
)
def test_b_base_and_errors(seeded: Raw, case: Case) -> None:
    check(seeded, case)


# C. Pull


CONDITIONS = [f'"{BLOB}"', BLOB, "*", f'W/"{BLOB}"', f'"x", "{BLOB}"', f'"x",W/"{BLOB}"']


@table(
    *[
        Case(
            "C1 C2 C3",
            method,
            f"/v2/team/app/manifests/{reference}",
            200,
            has={"Docker-Content-Digest": MANIFEST, "Content-Type": OCI, "Content-Length": str(len(IMAGE))},
            body=IMAGE if method == "GET" else b"",
        )
        for method in ("GET", "HEAD")
        for reference in ("1.0", MANIFEST)
    ],
    *[
        Case("C1 C3", method, f"/v2/{name}/manifests/{reference}", 404, code=code)
        for method in ("GET", "HEAD")
        for name, code in (("team/app", "MANIFEST_UNKNOWN"), ("nowhere", "NAME_UNKNOWN"), ("team", "NAME_UNKNOWN"))
        for reference in ("absent", ABSENT, ABSENT_5)
    ],
    *[
        Case("C4", "GET", "/v2/team/app/manifests/1.0", 200, headers, has={"Content-Type": OCI}, body=IMAGE)
        for headers in ([("Accept", "text/html")], [("Accept", DOCKER), ("Accept", "*/*;q=0")], [])
    ],
    *[
        Case(
            "C5",
            method,
            f"/v2/team/app/blobs/{BLOB}",
            304,
            {"If-None-Match": value},
            has={"ETag": f'"{BLOB}"'},
            body=b"",
        )
        for method in ("GET", "HEAD")
        for value in CONDITIONS
    ],
    *[
        Case("C5", "GET", "/v2/team/app/manifests/1.0", 304, {"If-None-Match": value.replace(BLOB, MANIFEST)}, body=b"")
        for value in CONDITIONS
    ],
    Case("C5", "GET", "/v2/team/app/manifests/1.0", 200, {"If-None-Match": '"x"'}, has={"ETag": f'"{MANIFEST}"'}),
    Case("C5", "GET", f"/v2/team/app/blobs/{BLOB}", 200, {"If-None-Match": f'"{ABSENT}"'}, body=LAYER),
    Case("C5", "GET", f"/v2/team/app/blobs/{ABSENT}", 404, {"If-None-Match": "*"}, code="BLOB_UNKNOWN"),
    *[
        Case(
            "C6",
            method,
            f"/v2/team/app/blobs/{BLOB}",
            200,
            has={
                "Docker-Content-Digest": BLOB,
                "Content-Length": "1024",
                "Content-Type": OCTETS,
                "Accept-Ranges": "bytes",
                "ETag": f'"{BLOB}"',
            },
            body=LAYER if method == "GET" else b"",
        )
        for method in ("GET", "HEAD")
    ],
    Case("C6", "GET", f"/v2/team/app/blobs/{sha(EMPTY)}", 200, has={"Content-Length": "0"}, body=b""),
    Case("C6", "GET", f"/v2/team/app/blobs/{ABSENT}", 404, code="BLOB_UNKNOWN"),
    Case("C6", "GET", f"/v2/nowhere/blobs/{ABSENT}", 404, code="BLOB_UNKNOWN"),
    Case("C6 another repository's", "GET", f"/v2/other/blobs/{BLOB}", 404, code="BLOB_UNKNOWN"),
    Case("C6 a manifest is no blob", "GET", f"/v2/team/app/blobs/{MANIFEST}", 404, code="BLOB_UNKNOWN"),
    Case("C6 a blob is no manifest", "GET", f"/v2/team/app/manifests/{BLOB}", 404, code="MANIFEST_UNKNOWN"),
)
def test_c_pull(seeded: Raw, case: Case) -> None:
    check(seeded, case)


@pytest.mark.parametrize(
    ("value", "start", "stop"),
    [
        ("bytes=500-999", 500, 1000),
        ("bytes=0-0", 0, 1),
        ("bytes=500-", 500, 1024),
        ("bytes=-24", 1000, 1024),
        ("bytes=-5000", 0, 1024),
        ("bytes=1000-5000", 1000, 1024),
        ("bytes=1023-1023", 1023, 1024),
        ("bytes=0-", 0, 1024),
        ("bytes = 1 - 2".replace(" - ", "-"), 1, 3),
        ("BYTES=1-2", 1, 3),
        ("bytes=1-2,", 1, 3),
        ("bytes=1-2,5000-", 1, 3),
    ],
)
def test_c7_c8_a_range_is_sent_as_the_part_it_is(seeded: Raw, value: str, start: int, stop: int) -> None:
    reply = seeded.ask("GET", f"/v2/team/app/blobs/{BLOB}", {"Range": value})
    assert (reply.status, reply.body) == (206, LAYER[start:stop])
    assert reply.headers["content-range"] == f"bytes {start}-{stop - 1}/1024"
    assert reply.headers["content-length"] == str(stop - start)
    assert reply.headers["docker-content-digest"] == BLOB
    assert reply.headers["content-type"] == OCTETS


RANGES_BAD = [
    "1024-",
    "5000-6000",
    "5-2",
    "-0",
    "a-b",
    "1",
    "-",
    "",
    "1-2-3",
    "0x1-2",
    "--5",
    "5000-,6000-7000",
    "1-2,x",
    "²-3",
]


@table(
    *[
        Case(
            "C7",
            "GET",
            f"/v2/team/app/blobs/{BLOB}",
            416,
            {"Range": f"bytes={value}"},
            has={"Content-Range": "bytes */1024"},
            code="RANGE_INVALID",
        )
        for value in RANGES_BAD
    ],
    *[
        Case(
            "C7",
            "GET",
            f"/v2/team/app/blobs/{sha(EMPTY)}",
            416,
            {"Range": f"bytes={value}"},
            has={"Content-Range": "bytes */0"},
        )
        for value in ("0-", "0-0", "-1")
    ],
    *[
        Case("C7", "GET", f"/v2/team/app/blobs/{BLOB}", 200, {"Range": value}, has={"Content-Range": None}, body=LAYER)
        for value in ("lines=1-2", "1-2", "", "bytes=" + ",".join(["1-2"] * 33))
    ],
    Case("C7", "HEAD", f"/v2/team/app/blobs/{BLOB}", 200, {"Range": "bytes=1-2"}, has={"Content-Length": "1024"}),
    Case(
        "C7", "GET", f"/v2/team/app/blobs/{BLOB}", 206, {"Range": "bytes=1-2", "If-Range": f'"{BLOB}"'}, body=LAYER[1:3]
    ),
    Case("C7", "GET", f"/v2/team/app/blobs/{BLOB}", 200, {"Range": "bytes=1-2", "If-Range": '"x"'}, body=LAYER),
    Case("C7", "GET", f"/v2/team/app/blobs/{BLOB}", 200, {"Range": "bytes=1-2", "If-Range": f'W/"{BLOB}"'}, body=LAYER),
)
def test_c7_ranges_that_are_not_sent(seeded: Raw, case: Case) -> None:
    check(seeded, case)


@pytest.mark.parametrize(
    ("value", "spans"),
    [
        ("bytes=0-9,100-109", [(0, 10), (100, 110)]),
        ("bytes=1000-, 0-0 ,-3", [(1000, 1024), (0, 1), (1021, 1024)]),
        ("bytes=0-1,5000-,3-4", [(0, 2), (3, 5)]),
    ],
)
def test_c7_several_ranges_come_as_parts(seeded: Raw, value: str, spans: list[tuple[int, int]]) -> None:
    reply = seeded.ask("GET", f"/v2/team/app/blobs/{BLOB}", {"Range": value})
    assert reply.status == 206
    match = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", reply.headers["content-type"])
    assert match
    boundary = match[1].encode()
    parts = [
        b"\r\n--%s\r\nContent-Type: %s\r\nContent-Range: bytes %d-%d/1024\r\n\r\n%s"
        % (boundary, OCTETS.encode(), start, stop - 1, LAYER[start:stop])
        for start, stop in spans
    ]
    assert reply.body == b"".join(parts) + b"\r\n--%s--\r\n" % boundary
    assert seeded.ask("GET", "/v2/").status == 200


# D. Push: blobs


@pytest.mark.parametrize("target", ["/v2/a/blobs/uploads/", "/v2/a/blobs/uploads"])
def test_d1_an_upload_starts_with_a_location_and_nothing_in_it(raw: Raw, target: str) -> None:
    reply = raw.ask("POST", target, {"Content-Type": "application/json"}, b"")
    session = reply.headers["docker-upload-uuid"]
    assert reply.status == 202
    assert re.fullmatch(r"[0-9a-f]{32}", session)
    assert reply.headers["location"] == f"/v2/a/blobs/uploads/{session}"
    assert (reply.headers["range"], reply.headers["content-length"]) == ("0-0", "0")
    assert "oci-chunk-min-length" not in reply.headers  # D4


def test_d1_a_repository_is_not_there_before_something_is_pushed(served: Registry, raw: Raw) -> None:
    start_upload(raw, "a")
    assert served.repositories() == []
    assert raw.ask("GET", "/v2/a/tags/list").codes == ["NAME_UNKNOWN"]
    push_blob(raw, "a", LAYER)
    assert served.repositories() == ["a"]


@table(
    Case(
        "D2",
        "POST",
        f"/v2/a/blobs/uploads/?digest={BLOB}",
        201,
        data=LAYER,
        has={"Location": f"/v2/a/blobs/{BLOB}", "Docker-Content-Digest": BLOB},
    ),
    Case(
        "D2",
        "POST",
        f"/v2/a/blobs/uploads/?digest={BLOB}",
        201,
        data=[LAYER[:9], LAYER[9:]],
        has={"Docker-Content-Digest": BLOB},
    ),
    Case(
        "D2",
        "POST",
        f"/v2/a/blobs/uploads/?digest={sha5(LAYER)}",
        201,
        data=LAYER,
        has={"Docker-Content-Digest": sha5(LAYER)},
    ),
    Case("D2", "POST", f"/v2/a/blobs/uploads/?digest={ABSENT}", 400, data=LAYER, code="DIGEST_INVALID"),
    *[
        Case("D2 A5", "POST", f"/v2/a/blobs/uploads/?digest={digest}", 400, data=LAYER, code="DIGEST_INVALID")
        for digest in ("", "sha256:abc", BLOB.upper(), f"md5:{'0' * 32}", f"blake3:{'0' * 64}")
    ],
    *[
        Case("D3", "POST", f"/v2/a/blobs/uploads/?digest-algorithm={name}", 202, data=b"")
        for name in ("sha256", "sha512", "")
    ],
    *[
        Case("D3", "POST", f"/v2/a/blobs/uploads/?digest-algorithm={name}", 400, data=b"", code="DIGEST_INVALID")
        for name in ("md5", "SHA256", "sha-512")
    ],
)
def test_d_push_at_once(raw: Raw, case: Case) -> None:
    check(raw, case)
    found = raw.ask("GET", f"/v2/a/blobs/{case.target.partition('digest=')[2] or BLOB}")
    if case.status == 201:
        assert found.body == LAYER
    else:
        assert found.status in (400, 404)
        assert raw.ask("GET", "/v2/_catalog").json == {"repositories": []}


@pytest.mark.parametrize("named", [sha, sha5])
def test_d3_the_digest_at_the_end_rules_whatever_the_hint_was(raw: Raw, named: Any) -> None:
    location = start_upload(raw, "a", "?digest-algorithm=sha512")
    assert raw.ask("PUT", f"{location}?digest={named(LAYER)}", body=LAYER).status == 201
    assert raw.ask("GET", f"/v2/a/blobs/{named(LAYER)}").body == LAYER


def test_d5_d6_chunks_are_appended_in_turn(raw: Raw) -> None:
    location = start_upload(raw, "a")
    for start, stop in ((0, 1), (1, 600), (600, 1000)):
        part, fields = LAYER[start:stop], {"Content-Range": f"{start}-{stop - 1}", "Content-Type": OCTETS}
        reply = raw.ask("PATCH", location, fields, part)
        assert (reply.status, reply.headers["range"]) == (202, f"0-{stop - 1}")
        location = reply.headers["location"]
    reply = raw.ask("PUT", f"{location}?digest={BLOB}", {"Content-Range": "1000-1023"}, LAYER[1000:])
    assert (reply.status, reply.headers["location"]) == (201, f"/v2/a/blobs/{BLOB}")
    assert raw.ask("GET", f"/v2/a/blobs/{BLOB}").body == LAYER


def test_d5_no_bytes_yet_are_the_range_0_0(raw: Raw) -> None:
    location = start_upload(raw, "a")
    for reply in (raw.ask("PATCH", location, body=b""), raw.ask("GET", location)):
        assert reply.headers["range"] == "0-0"


@pytest.mark.parametrize("body", [LAYER, [LAYER[:5], LAYER[5:]]], ids=["length", "chunked"])
def test_d6_without_content_range_a_chunk_goes_where_the_upload_stands(raw: Raw, body: Any) -> None:
    location = start_upload(raw, "a")
    for count in (1, 2):
        reply = raw.ask("PATCH", location, body=body)
        assert (reply.status, reply.headers["range"]) == (202, f"0-{count * 1024 - 1}")
    assert raw.ask("PUT", f"{location}?digest={sha(LAYER * 2)}", body=b"").status == 201


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize(
    "value", ["0-9", "5-14", "11-20", "10-9", "bytes 10-19/20", "bytes=10-19", "x", "10", "-10", ""]
)
def test_d6_d7_a_chunk_out_of_order_leaves_the_session_for_the_client_to_go_on(
    raw: Raw, method: str, value: str
) -> None:
    location = start_upload(raw, "a")
    assert raw.ask("PATCH", location, {"Content-Range": "0-9"}, LAYER[:10]).status == 202
    target = f"{location}?digest={BLOB}" if method == "PUT" else location
    reply = raw.ask(method, target, {"Content-Range": value}, LAYER[:10])
    assert (reply.status, reply.codes) == (416, ["RANGE_INVALID"])
    assert (reply.headers["location"], reply.headers["range"]) == (location, "0-9")
    status = raw.ask("GET", f"{location}?digest={BLOB}")
    assert (status.status, status.headers["range"]) == (204, "0-9")
    assert raw.ask("PUT", f"{location}?digest={BLOB}", {"Content-Range": "10-1023"}, LAYER[10:]).status == 201


def test_d6_the_first_chunk_starts_at_zero(raw: Raw) -> None:
    location = start_upload(raw, "a")
    reply = raw.ask("PATCH", location, {"Content-Range": "1-10"}, LAYER[1:11])
    assert (reply.status, reply.headers["range"]) == (416, "0-0")


def test_d6_a_length_that_disagrees_with_content_range_is_refused_and_writes_nothing(raw: Raw) -> None:
    location = start_upload(raw, "a")
    reply = raw.ask("PATCH", location, {"Content-Range": "0-9"}, LAYER[:11])
    assert (reply.status, reply.codes) == (400, ["SIZE_INVALID"])
    assert raw.ask("GET", location).headers["range"] == "0-0"


@pytest.mark.parametrize("size", [9, 11])
def test_d6_a_chunked_body_that_disagrees_with_content_range_ends_the_session(raw: Raw, size: int) -> None:
    location = start_upload(raw, "a")
    reply = raw.ask("PATCH", location, {"Content-Range": "0-9"}, [LAYER[:size]])
    assert (reply.status, reply.codes) == (400, ["SIZE_INVALID"])
    assert raw.ask("GET", location).codes == ["BLOB_UPLOAD_UNKNOWN"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_d8_a_session_says_how_far_it_is(raw: Raw, method: str) -> None:
    location = start_upload(raw, "a")
    raw.ask("PATCH", location, body=LAYER)
    reply = raw.ask(method, location)
    assert (reply.status, reply.headers["location"], reply.headers["range"]) == (204, location, "0-1023")


@pytest.mark.parametrize(
    ("patch", "put"),
    [
        (b"", LAYER),
        (LAYER, b""),
        (LAYER[:5], LAYER[5:]),
        (b"", [LAYER]),
        ([LAYER], []),
        ([LAYER[:5]], [LAYER[5:]]),
    ],
)
def test_d9_the_last_chunk_may_be_none_or_some_or_all(raw: Raw, patch: Any, put: Any) -> None:
    location = start_upload(raw, "a")
    assert raw.ask("PATCH", location, body=patch).status == 202
    reply = raw.ask("PUT", f"{location}?digest={BLOB}", {"Content-Type": "text/x-any"}, put)
    assert (reply.status, reply.headers["docker-content-digest"]) == (201, BLOB)
    assert reply.headers["location"] == f"/v2/a/blobs/{BLOB}"
    head = raw.ask("HEAD", f"/v2/a/blobs/{BLOB}")  # D14
    assert (head.status, head.headers["content-length"]) == (200, "1024")
    assert raw.ask("GET", location).status == 404


@pytest.mark.parametrize("body", [b"", []], ids=["length", "chunked"])
def test_d9_an_empty_blob_can_be_pushed(raw: Raw, body: Any) -> None:
    location = start_upload(raw, "a")
    assert raw.ask("PUT", f"{location}?digest={sha(EMPTY)}", body=body).status == 201
    assert raw.ask("GET", f"/v2/a/blobs/{sha(EMPTY)}").headers["content-length"] == "0"


def test_d9_a_put_without_digest_leaves_the_session(raw: Raw) -> None:
    location = start_upload(raw, "a")
    assert raw.ask("PUT", location, body=LAYER).codes == ["DIGEST_INVALID"]
    assert raw.ask("PUT", f"{location}?digest={BLOB}", body=LAYER).status == 201


def test_d9_a_put_with_the_wrong_digest_stores_nothing_and_ends_the_session(raw: Raw) -> None:
    location = start_upload(raw, "a")
    reply = raw.ask("PUT", f"{location}?digest={ABSENT}", body=LAYER)
    assert (reply.status, reply.codes) == (400, ["DIGEST_INVALID"])
    assert raw.ask("GET", f"/v2/a/blobs/{ABSENT}").status == 404
    assert raw.ask("GET", f"/v2/a/blobs/{BLOB}").status == 404
    assert raw.ask("GET", location).codes == ["BLOB_UPLOAD_UNKNOWN"]


def test_d10_a_clients_query_is_no_state(raw: Raw) -> None:
    first = start_upload(raw, "a")
    for part in (LAYER[:5], LAYER[5:]):  # oras-py: the first Location again and again
        assert raw.ask("PATCH", f"{first}?_state=zzz&b=", body=part).status == 202
    reply = raw.ask("PUT", f"{first}?_state=abc&digest={BLOB.replace(':', '%3A')}&x=y", body=b"")
    assert reply.status == 201


def test_d11_a_cancelled_session_is_unknown(raw: Raw) -> None:
    location = start_upload(raw, "a")
    raw.ask("PATCH", location, body=LAYER)
    assert raw.ask("DELETE", location).status == 204
    for method in ("GET", "PATCH", "DELETE"):
        assert raw.ask(method, location, body=b"").codes == ["BLOB_UPLOAD_UNKNOWN"]
    assert raw.ask("PUT", f"{location}?digest={sha(EMPTY)}", body=b"").codes == ["BLOB_UPLOAD_UNKNOWN"]


MOUNTED = {"Location": f"/v2/b/blobs/{BLOB}", "Docker-Content-Digest": BLOB}


@table(
    Case("D12", "POST", f"/v2/b/blobs/uploads/?mount={BLOB}&from=team/app", 201, data=b"", has=MOUNTED),
    Case("D12", "POST", f"/v2/b/blobs/uploads/?from=team/app&mount={BLOB}", 201, has=MOUNTED),
    Case("D12 without from", "POST", f"/v2/b/blobs/uploads/?mount={BLOB}", 201, data=b"", has=MOUNTED),
    Case("D12 origin", "POST", f"/v2/b/blobs/uploads/?mount={BLOB}&from=team/app&origin=x", 201, data=b"", has=MOUNTED),
    Case("D12 no blob", "POST", f"/v2/b/blobs/uploads/?mount={ABSENT}&from=team/app", 202, data=b""),
    Case("D12 no blob", "POST", f"/v2/b/blobs/uploads/?mount={ABSENT}", 202, data=b""),
    Case("D12 no source", "POST", f"/v2/b/blobs/uploads/?mount={BLOB}&from=nowhere", 202, data=b""),
    Case("D12 bad source", "POST", f"/v2/b/blobs/uploads/?mount={BLOB}&from=NO", 202, data=b""),
    Case(
        "D12 bad digest",
        "POST",
        "/v2/b/blobs/uploads/?mount=sha256:abc&from=team/app",
        400,
        data=b"",
        code="DIGEST_INVALID",
    ),
)
def test_d12_mount(seeded: Raw, case: Case) -> None:
    reply = check(seeded, case)
    found = seeded.ask("GET", f"/v2/b/blobs/{BLOB}")
    assert found.status == (200 if case.status == 201 else 404)
    if case.status == 202:
        assert seeded.ask("PUT", f"{reply.headers['location']}?digest={BLOB}", body=LAYER).status == 201


def test_d12_a_mounted_blob_outlives_its_source(seeded: Raw) -> None:
    assert seeded.ask("POST", f"/v2/b/blobs/uploads/?mount={BLOB}&from=team/app", body=b"").status == 201
    assert seeded.ask("DELETE", f"/v2/team/app/blobs/{BLOB}").status == 202
    assert seeded.ask("GET", f"/v2/b/blobs/{BLOB}").body == LAYER


def test_d13_two_uploads_of_one_blob_both_succeed(raw: Raw) -> None:
    one, other = start_upload(raw, "a"), start_upload(raw, "a")
    for location in (one, other):
        assert raw.ask("PATCH", location, body=LAYER[:9]).status == 202
    for location in (one, other):
        assert raw.ask("PUT", f"{location}?digest={BLOB}", body=LAYER[9:]).status == 201
    assert raw.ask("GET", f"/v2/a/blobs/{BLOB}").body == LAYER


def test_d13_a_session_belongs_to_one_repository(raw: Raw) -> None:
    location = start_upload(raw, "a")
    assert raw.ask("PATCH", location.replace("/a/", "/b/"), body=b"x").codes == ["BLOB_UPLOAD_UNKNOWN"]
    assert raw.ask("GET", location).headers["range"] == "0-0"


def test_d13_requests_on_one_session_take_turns(served: Registry, raw: Raw) -> None:
    location, barrier = start_upload(raw, "a"), threading.Barrier(4)

    def append(letter: bytes) -> int:
        with Raw("127.0.0.1", served.port) as own:
            barrier.wait(5)
            return own.ask("PATCH", location, body=[letter * 1000] * 30).status

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(append, [b"a", b"b", b"c", b"d"])) == [202] * 4
    assert raw.ask("GET", location).headers["range"] == "0-119999"
    pushes = [b"".join(each * 30_000 for each in order) for order in _orders([b"a", b"b", b"c", b"d"])]
    reply = raw.ask("PUT", f"{location}?digest={ABSENT}", body=b"")
    found = re.search(r"the content is (sha256:\w+)", reply.body.decode())
    assert found
    assert found[1] in {sha(each) for each in pushes}


def _orders(items: list[bytes]) -> Iterator[list[bytes]]:
    if not items:
        yield []
    for each in items:
        for rest in _orders([other for other in items if other is not each]):
            yield [each, *rest]


def test_d13_many_clients_push_and_pull_at_once(served: Registry) -> None:
    def client(number: int) -> None:
        with Raw("127.0.0.1", served.port) as own:
            push_image(own, "shared", f"t{number}")
            push_image(own, f"own/{number}", "latest")
            assert own.ask("GET", f"/v2/shared/blobs/{BLOB}").body == LAYER

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8)))
    assert served.repositories() == [*(f"own/{number}" for number in range(8)), "shared"]
    with Raw("127.0.0.1", served.port) as raw:
        assert raw.ask("GET", "/v2/shared/tags/list").json["tags"] == [f"t{number}" for number in range(8)]


# E. Push: manifests


def created(data: bytes, **more: str | None) -> dict[str, str | None]:
    digest = sha(data)
    return {"Location": f"/v2/team/app/manifests/{digest}", "Docker-Content-Digest": digest, **more}


def put(number: str, data: bytes, media_type: str | None = OCI, **more: Any) -> Case:
    """A manifest pushed as tag `new`, to be taken; pulled back with its type."""
    has = created(data, **more.pop("has", {}))
    return Case(
        number, "PUT", "/v2/team/app/manifests/new", 201, {"Content-Type": media_type} if media_type else {}, data, has
    )


def refused(
    number: str,
    data: bytes,
    media_type: str | None = OCI,
    status: int = 400,
    code: str = "MANIFEST_INVALID",
    reference: str = "new",
) -> Case:
    headers = {"Content-Type": media_type} if media_type else {}
    return Case(number, "PUT", f"/v2/team/app/manifests/{reference}", status, headers, data, code=code)


LARGE = image(annotations={"pad": "x" * 4_000_000})
NESTED = index(index(IMAGE))
FOREIGN = {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", "digest": ABSENT, "size": 1}


@table(
    put("E1", IMAGE, has={"OCI-Subject": None, "OCI-Tag": None}),
    Case(
        "E1 chunked",
        "PUT",
        "/v2/team/app/manifests/new",
        201,
        {"Content-Type": OCI},
        [IMAGE[:9], IMAGE[9:]],
        created(IMAGE),
    ),
    put("E3 parameters", IMAGE, f"{OCI}; charset=utf-8"),
    put("E3 no Content-Type", IMAGE, None),
    put("E3 no mediaType", image(mediaType=None)),
    put("E4 OCI index", index(IMAGE), INDEX),
    put("E4 Docker", image(DOCKER), DOCKER),
    put("E4 Docker list", index(IMAGE, media_type=DOCKER_LIST), DOCKER_LIST),
    put("E4 config type", image(config=descriptor(CONFIG, "application/x-mine"))),
    put("E4 extra fields", image(more={"x": [1]}, artifactType="application/x")),
    put("E4 data", image(config=descriptor(CONFIG, "x/y", data="eyJvcyI6ImxpbnV4In0="))),
    put("E4 empty layers", image(layers=[])),
    put("E4 empty index", index(), INDEX),
    put("E4 urls", image(layers=[{**descriptor(b"gone", "x/y"), "urls": ["http://x"]}])),
    put("E4 nondistributable", image(layers=[FOREIGN])),
    put("E4 unknown type", b'{"a":1}', "application/vnd.mine+json"),
    put("E6 missing subject", image(subject=descriptor(b"gone", OCI)), has={"OCI-Subject": sha(b"gone")}),
    put("E7 4 MB", LARGE),
    put("E8", SBOM, has={"OCI-Subject": MANIFEST}),
    put("E8 index", ABOUT, INDEX, has={"OCI-Subject": MANIFEST}),
    Case("E2", "PUT", f"/v2/team/app/manifests/{sha(SBOM)}", 201, {"Content-Type": OCI}, SBOM, created(SBOM)),
)
def test_e_manifests_that_are_taken(seeded: Raw, case: Case) -> None:
    reply = check(seeded, case)
    found = seeded.ask("GET", reply.headers["location"])
    stated = dict(case.headers).get("Content-Type", OCI).partition(";")[0]
    assert (found.status, found.headers["content-type"]) == (200, stated)
    assert found.raw.endswith(b"\r\n\r\n" + found.body)
    assert sha(found.body) == reply.headers["docker-content-digest"]
    if ":" not in case.target:
        assert seeded.ask("GET", case.target).body == found.body


@table(
    refused("E2 another digest", IMAGE, code="DIGEST_INVALID", reference=ABSENT),
    refused("E2 another sha512", IMAGE, code="DIGEST_INVALID", reference=ABSENT_5),
    refused("E2 ill-formed", IMAGE, code="DIGEST_INVALID", reference="sha256:abc"),
    refused("E3 contradiction", IMAGE, DOCKER),
    refused("E3 contradiction", index(), OCI),
    refused("E3 no type at all", image(mediaType=None), None),
    refused("E4 schema 1", b'{"schemaVersion":1}', "application/vnd.docker.distribution.manifest.v1+prettyjws"),
    refused("E5", b"not json"),
    refused("E5", b""),
    refused("E5", IMAGE[:-1]),
    refused("E5", b"[]"),
    refused("E5", b'{"a": NaN}', "a/b"),
    refused("E5 not UTF-8", b'{"a": "\xff"}', "a/b"),
    refused("E5 too deep", b"[" * 100_000, "a/b"),
    refused("E6", image(layers=[descriptor(b"gone", "x/y")]), code="MANIFEST_BLOB_UNKNOWN"),
    refused("E6 child", index(b"gone"), INDEX, code="MANIFEST_BLOB_UNKNOWN"),
    refused("E6 another repository's", image(config=descriptor(b"other", "x/y")), code="MANIFEST_BLOB_UNKNOWN"),
    refused("E7", image(annotations={"pad": "x" * 9_000_000}), status=413),
)
def test_e_manifests_that_are_refused(seeded: Raw, case: Case) -> None:
    before = seeded.ask("GET", "/v2/team/app/tags/list").body
    check(seeded, case)
    with Raw(*seeded.socket.getpeername()) as again:
        assert again.ask("GET", "/v2/team/app/tags/list").body == before
        assert isinstance(case.data, bytes)
        if case.data != IMAGE:
            assert again.ask("GET", f"/v2/team/app/manifests/{sha(case.data)}").status == 404


def test_e6_each_missing_digest_is_named_once(seeded: Raw) -> None:
    gone = [descriptor(data, "x/y") for data in (b"one", b"two", b"one")]
    data = image(layers=[*gone, descriptor(LAYER, "x/y")])
    reply = seeded.ask("PUT", "/v2/team/app/manifests/new", {"Content-Type": OCI}, data)
    assert [(each["code"], each["detail"]) for each in reply.json["errors"]] == [
        ("MANIFEST_BLOB_UNKNOWN", {"digest": sha(b"one")}),
        ("MANIFEST_BLOB_UNKNOWN", {"digest": sha(b"two")}),
    ]


def test_e4_indexes_may_be_nested(seeded: Raw) -> None:
    push_manifest(seeded, "team/app", "inner", index(IMAGE), INDEX)
    push_manifest(seeded, "team/app", "outer", index(index(IMAGE)), INDEX)
    assert seeded.ask("GET", "/v2/team/app/manifests/outer").body == index(index(IMAGE))


def test_e9_a_push_by_digest_creates_the_tags_of_its_query(seeded: Raw) -> None:
    tags = [f"t{number}" for number in range(12)]
    target = f"/v2/team/app/manifests/{sha(SBOM)}?" + "&".join(f"tag={tag}" for tag in tags)
    reply = seeded.ask("PUT", target, {"Content-Type": OCI}, SBOM)
    assert reply.status == 201
    assert reply.headers["oci-tag"].split(", ") == tags
    assert {seeded.ask("GET", f"/v2/team/app/manifests/{tag}").body for tag in tags} == {SBOM}


def test_e9_an_invalid_tag_in_the_query_stores_nothing(seeded: Raw) -> None:
    target = f"/v2/team/app/manifests/{sha(SBOM)}?tag=fine&tag=-bad"
    assert seeded.ask("PUT", target, {"Content-Type": OCI}, SBOM).codes == ["TAG_INVALID"]
    assert seeded.ask("GET", f"/v2/team/app/manifests/{sha(SBOM)}").status == 404
    assert seeded.ask("GET", "/v2/team/app/manifests/fine").status == 404


def test_e9_a_push_by_tag_ignores_tags_in_the_query(seeded: Raw) -> None:
    reply = seeded.ask("PUT", "/v2/team/app/manifests/new?tag=more", {"Content-Type": OCI}, IMAGE)
    assert (reply.status, "oci-tag" in reply.headers) == (201, False)
    assert seeded.ask("GET", "/v2/team/app/manifests/more").status == 404


def test_e10_a_tag_pushed_again_moves_and_the_old_manifest_stays(seeded: Raw) -> None:
    push_manifest(seeded, "team/app", "1.0", SBOM)
    assert seeded.ask("GET", "/v2/team/app/manifests/1.0").body == SBOM
    assert seeded.ask("GET", f"/v2/team/app/manifests/{MANIFEST}").body == IMAGE


def test_e11_an_artifact_with_the_empty_config_is_taken(raw: Raw) -> None:
    empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2}
    push_blob(raw, "a", EMPTY_JSON, empty)
    push_manifest(raw, "a", "x", image(config=config, layers=[config], artifactType="application/x"))


@pytest.mark.parametrize(
    ("tag", "value", "status"),
    [
        ("1.0", f'"{MANIFEST}"', 201),
        ("1.0", f'"{ABSENT}", {MANIFEST}', 201),
        ("1.0", "*", 201),
        ("1.0", f'"{ABSENT}"', 412),
        ("new", f'"{MANIFEST}"', 412),
        ("new", "*", 412),
    ],
)
def test_c5_if_match_guards_a_tag(seeded: Raw, tag: str, value: str, status: int) -> None:
    before = seeded.ask("GET", f"/v2/team/app/manifests/{tag}").body
    reply = seeded.ask("PUT", f"/v2/team/app/manifests/{tag}", {"Content-Type": OCI, "If-Match": value}, SBOM)
    assert reply.status == status
    assert (
        seeded.ask("GET", f"/v2/team/app/manifests/{tag}").body == (SBOM if status == 201 else before) or tag == "new"
    )
    assert (seeded.ask("GET", f"/v2/team/app/manifests/{sha(SBOM)}").status == 200) == (status == 201)


def test_c5_if_match_in_a_repository_that_is_not_there_matches_nothing(raw: Raw) -> None:
    reply = raw.ask("PUT", "/v2/a/manifests/x", {"Content-Type": "a/b", "If-Match": "*"}, b"{}")
    assert reply.status == 412


# F. Tags and catalog

NEXT = '</v2/team/app/tags/list?{}>; rel="next"'


def tags(number: str, query: str, found: list[str], link: str | None = None) -> Case:
    body = json.dumps({"name": "team/app", "tags": found}, separators=(",", ":")).encode()
    return Case(number, "GET", f"/v2/team/app/tags/list{query}", 200, has={"Link": link}, body=body)


def catalog(query: str, found: list[str], link: str | None = None) -> Case:
    body = json.dumps({"repositories": found}, separators=(",", ":")).encode()
    link = link and f'</v2/_catalog?{link}>; rel="next"'
    return Case("F6", "GET", f"/v2/_catalog{query}", 200, has={"Link": link}, body=body)


@table(
    tags("F1 F2", "", TAGS),
    Case("F1", "GET", "/v2/other/tags/list", 200, body=b'{"name":"other","tags":[]}'),
    Case("F1", "GET", "/v2/nowhere/tags/list", 404, code="NAME_UNKNOWN"),
    tags("F3 F5", "?n=2", ["1.0", "2.0"], NEXT.format("n=2&last=2.0")),
    tags("F3", "?n=5", TAGS),
    tags("F3", "?n=6", TAGS),
    tags("F3", "?n=999999999999", TAGS),
    tags("F3", "?n=0", []),
    tags("F3", "?n=0&last=a", []),
    *[
        Case("F3", "GET", f"/v2/team/app/tags/list?n={value}", 400, code="PAGINATION_NUMBER_INVALID")
        for value in ("-1", "x", "", "1.5", "%2B1", "1e3", "9" * 19, "%C2%B2")
    ],
    tags("F4", "?last=2.0", ["A", "a", "latest"]),
    tags("F4 not a tag", "?last=B", ["a", "latest"]),
    tags("F4", "?last=", TAGS),
    tags("F4", "?last=zzz", []),
    tags("F4 F5", "?n=2&last=2.0", ["A", "a"], NEXT.format("n=2&last=a")),
    tags("F5 no Link on the last page", "?n=2&last=A", ["a", "latest"]),
    tags("F5 no Link on the last page", "?n=2&last=a", ["latest"]),
    catalog("", ["other", "team/app"]),
    catalog("?n=1", ["other"], "n=1&last=other"),
    catalog("?n=1&last=other", ["team/app"]),
    catalog("?last=team%2Fapp", []),
    catalog("?last=p", ["team/app"]),
    catalog("?n=1000", ["other", "team/app"]),
    catalog("?n=0", []),
    *[
        Case("F6", "GET", f"/v2/_catalog?n={value}", 400, code="PAGINATION_NUMBER_INVALID")
        for value in ("1001", "-1", "x", "")
    ],
)
def test_f_tags_and_catalog(seeded: Raw, case: Case) -> None:
    check(seeded, case)


def follow(raw: Raw, target: str | None, key: str) -> list[list[str]]:
    pages = []
    while target:
        reply = raw.ask("GET", target)
        pages.append(reply.json[key])
        match = re.fullmatch(r'<(.*)>; rel="next"', reply.headers.get("link", ""))
        target = match and match[1]
    return pages


def test_f5_the_links_lead_through_all_tags(seeded: Raw) -> None:
    assert follow(seeded, "/v2/team/app/tags/list?n=2", "tags") == [["1.0", "2.0"], ["A", "a"], ["latest"]]


def test_f6_the_links_lead_through_all_repositories(seeded: Raw) -> None:
    push_blob(seeded, "team/b", LAYER)
    assert follow(seeded, "/v2/_catalog?n=1", "repositories") == [["other"], ["team/app"], ["team/b"]]


def test_f6_an_empty_registry_has_an_empty_catalog(raw: Raw) -> None:
    assert raw.ask("GET", "/v2/_catalog").json == {"repositories": []}


# G. Referrers


def referrers(raw: Raw, digest: str = MANIFEST, query: str = "", name: str = "team/app") -> list[dict[str, Any]]:
    reply = raw.ask("GET", f"/v2/{name}/referrers/{digest}{query}")
    assert (reply.status, reply.headers["content-type"]) == (200, INDEX)  # G2
    assert ("oci-filters-applied" in reply.headers) == ("artifactType=a" in query)  # G4
    assert reply.headers.get("oci-filters-applied", "artifactType") == "artifactType"
    assert "link" not in reply.headers
    assert {key: reply.json[key] for key in ("schemaVersion", "mediaType")} == {"schemaVersion": 2, "mediaType": INDEX}
    found: list[dict[str, Any]] = reply.json["manifests"]
    return found


def size_of(data: bytes, media_type: str = OCI, **fields: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha(data), "size": len(data), **fields}


SHOWN = {
    "sbom": size_of(SBOM, artifactType="application/spdx+json", annotations={"org.example": "x"}),
    "signature": size_of(SIGNATURE, artifactType="application/vnd.oci.image.config.v1+json"),
    "about": size_of(ABOUT, INDEX),
}


@pytest.mark.parametrize(("name", "digest"), [("team/app", MANIFEST), ("team/app", ABSENT), ("nowhere", ABSENT_5)])
def test_g1_g2_there_is_always_a_list_of_referrers(seeded: Raw, name: str, digest: str) -> None:
    assert referrers(seeded, digest, name=name) == []


@table(
    Case("G1", "GET", "/v2/team/app/referrers/sha256:abc", 400, code="DIGEST_INVALID"),
    Case("G1", "GET", "/v2/team/app/referrers/latest", 400, code="DIGEST_INVALID"),
    Case("G1", "HEAD", f"/v2/team/app/referrers/{MANIFEST}", 200, has={"Content-Type": INDEX, "Content-Length": "105"}),
)
def test_g1_malformed(seeded: Raw, case: Case) -> None:
    if case.method == "HEAD":
        length = len(seeded.ask("GET", case.target).body)
        assert seeded.ask("HEAD", case.target).headers["content-length"] == str(length)
    else:
        check(seeded, case)


def test_g3_each_referrer_is_listed_at_once_and_as_it_says(seeded: Raw) -> None:
    for tag, data, media_type in (("sbom", SBOM, OCI), (sha(SIGNATURE), SIGNATURE, OCI), ("about", ABOUT, INDEX)):
        push_manifest(seeded, "team/app", tag, data, media_type)
        assert sha(data) in {each["digest"] for each in referrers(seeded)}
    assert referrers(seeded) == [SHOWN["sbom"], SHOWN["signature"], SHOWN["about"]]
    assert referrers(seeded, name="other") == []


def test_g3_referrers_are_listed_before_their_subject_is_there(raw: Raw) -> None:
    push_image(raw, "team/app")
    push_manifest(raw, "team/app", sha(SBOM), SBOM)
    assert referrers(raw) == [SHOWN["sbom"]]
    push_manifest(raw, "team/app", "1.0", IMAGE)
    assert referrers(raw) == [SHOWN["sbom"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?artifactType=application/spdx%2Bjson", ["sbom"]),
        ("?artifactType=application%2Fvnd.oci.image.config.v1%2Bjson", ["signature"]),
        ("?artifactType=application/none", []),
        ("?artifactType=", ["sbom", "signature", "about"]),
        ("?other=application/none", ["sbom", "signature", "about"]),
    ],
)
def test_g4_referrers_can_be_filtered_and_the_answer_says_so(seeded: Raw, query: str, found: list[str]) -> None:
    for data, media_type in ((SBOM, OCI), (SIGNATURE, OCI), (ABOUT, INDEX)):
        push_manifest(seeded, "team/app", sha(data), data, media_type)
    assert referrers(seeded, query=query) == [SHOWN[each] for each in found]


def test_g6_g7_what_stands_under_a_fallback_tag_is_listed_too(seeded: Raw) -> None:
    plain = image(annotations={"signed": "yes"})
    push_manifest(seeded, "team/app", sha(plain), plain)
    push_manifest(seeded, "team/app", sha(SBOM), SBOM)
    listed = {**size_of(plain), "artifactType": "a/b"}
    gone, known = size_of(b"gone"), size_of(SBOM)
    data = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [listed, known]}).encode()
    push_manifest(seeded, "team/app", MANIFEST.replace(":", "-"), data, INDEX)
    assert referrers(seeded) == [listed, SHOWN["sbom"]]
    assert referrers(seeded, query="?artifactType=a/b") == [listed]
    seeded.ask("DELETE", f"/v2/team/app/manifests/{sha(plain)}")
    assert referrers(seeded) == [SHOWN["sbom"]]
    assert gone not in referrers(seeded)


def test_g6_a_fallback_tag_that_is_no_index_lists_nothing(seeded: Raw) -> None:
    push_manifest(seeded, "team/app", MANIFEST.replace(":", "-"), IMAGE)
    assert referrers(seeded) == []


# H. Delete


def test_h1_a_deleted_tag_is_gone_and_its_manifest_stays(seeded: Raw) -> None:
    assert seeded.ask("DELETE", "/v2/team/app/manifests/1.0").status == 202
    assert seeded.ask("GET", "/v2/team/app/manifests/1.0").codes == ["MANIFEST_UNKNOWN"]
    assert seeded.ask("GET", f"/v2/team/app/manifests/{MANIFEST}").body == IMAGE
    assert seeded.ask("GET", "/v2/team/app/tags/list").json["tags"] == TAGS[1:]


def test_h2_a_deleted_manifest_takes_all_its_tags_along(seeded: Raw) -> None:
    push_manifest(seeded, "team/app", "stays", SBOM)
    assert seeded.ask("DELETE", f"/v2/team/app/manifests/{MANIFEST}").status == 202
    for reference in (*TAGS, MANIFEST):
        assert seeded.ask("GET", f"/v2/team/app/manifests/{reference}").codes == ["MANIFEST_UNKNOWN"]
    assert seeded.ask("GET", "/v2/team/app/tags/list").json["tags"] == ["stays"]
    assert seeded.ask("GET", f"/v2/team/app/blobs/{BLOB}").status == 200


def test_h2_a_deleted_manifest_can_be_pushed_again(seeded: Raw) -> None:
    seeded.ask("DELETE", f"/v2/team/app/manifests/{MANIFEST}")
    push_manifest(seeded, "team/app", "again", IMAGE)
    assert seeded.ask("GET", "/v2/team/app/tags/list").json["tags"] == ["again"]


def test_h3_a_blob_is_deleted_in_one_repository_only(seeded: Raw) -> None:
    push_blob(seeded, "b", LAYER)
    assert seeded.ask("DELETE", f"/v2/team/app/blobs/{BLOB}").status == 202
    assert seeded.ask("GET", f"/v2/team/app/blobs/{BLOB}").codes == ["BLOB_UNKNOWN"]
    assert seeded.ask("DELETE", f"/v2/team/app/blobs/{BLOB}").codes == ["BLOB_UNKNOWN"]
    assert seeded.ask("GET", f"/v2/b/blobs/{BLOB}").body == LAYER
    push_blob(seeded, "team/app", LAYER)
    assert seeded.ask("GET", f"/v2/team/app/blobs/{BLOB}").body == LAYER


@table(
    Case("H1", "DELETE", "/v2/team/app/manifests/absent", 404, code="MANIFEST_UNKNOWN"),
    Case("H1", "DELETE", "/v2/nowhere/manifests/absent", 404, code="NAME_UNKNOWN"),
    Case("H2", "DELETE", f"/v2/team/app/manifests/{ABSENT}", 404, code="MANIFEST_UNKNOWN"),
    Case("H2", "DELETE", f"/v2/nowhere/manifests/{ABSENT}", 404, code="NAME_UNKNOWN"),
    Case("H3", "DELETE", f"/v2/team/app/blobs/{ABSENT}", 404, code="BLOB_UNKNOWN"),
    Case("H3", "DELETE", f"/v2/other/blobs/{BLOB}", 404, code="BLOB_UNKNOWN"),
    Case("H3", "DELETE", f"/v2/team/app/blobs/{MANIFEST}", 404, code="BLOB_UNKNOWN"),
    Case("H3", "DELETE", f"/v2/nowhere/blobs/{ABSENT}", 404, code="BLOB_UNKNOWN"),
)
def test_h_what_is_not_there_cannot_be_deleted(seeded: Raw, case: Case) -> None:
    check(seeded, case)


def test_h5_referrers_outlive_their_subject_and_vanish_when_deleted(seeded: Raw) -> None:
    push_manifest(seeded, "team/app", sha(SBOM), SBOM)
    push_manifest(seeded, "team/app", sha(SIGNATURE), SIGNATURE)
    seeded.ask("DELETE", f"/v2/team/app/manifests/{MANIFEST}")
    assert referrers(seeded) == [SHOWN["sbom"], SHOWN["signature"]]
    seeded.ask("DELETE", f"/v2/team/app/manifests/{sha(SBOM)}")
    assert referrers(seeded) == [SHOWN["signature"]]


# I. Proxy


def test_i1_the_namespace_is_ignored_and_kept_for_the_log(served: Registry, seeded: Raw) -> None:
    assert seeded.ask("GET", "/v2/team/app/manifests/1.0?ns=docker.io").body == IMAGE
    assert seeded.ask("GET", f"/v2/team/app/blobs/{BLOB}?ns=docker.io").body == LAYER
    assert [each.query for each in served.requests[-2:]] == [{"ns": ["docker.io"]}] * 2


# The endpoints' own frame


def test_an_exception_that_is_no_refusal_is_answered_with_500_and_kept() -> None:
    class Broken(MemoryStore):
        def repositories(self, *arguments: Any) -> Any:
            raise error

    error = ZeroDivisionError("ours")
    with Registry(Broken()) as registry, Raw("127.0.0.1", registry.port) as raw:
        reply = raw.ask("GET", "/v2/_catalog")
        assert (reply.status, reply.codes) == (500, ["UNKNOWN"])
        assert "ours" in reply.json["errors"][0]["message"]
        assert raw.ask("GET", "/v2/").status == 200
        assert registry.requests[0].status == 500
    assert registry.errors == [error]


@pytest.mark.parametrize("error", [Abort(), Disconnected(), ProtocolError(400, "x")])
def test_what_ends_the_connection_is_not_answered_but_passed_on(error: Exception) -> None:
    class Broken(MemoryStore):
        def repositories(self, *arguments: Any) -> Any:
            raise error

    errors: list[Exception] = []
    api = Api(Broken(), Sessions(), errors)
    with pytest.raises(type(error)):
        api(Request("GET", "/v2/_catalog"))
    assert errors == []


def test_a_refusal_is_not_an_error_of_the_registry(served: Registry, raw: Raw) -> None:
    assert raw.ask("GET", "/v2/a/manifests/x").codes == ["NAME_UNKNOWN"]
    assert ManifestUnknown.status == 404
    assert served.errors == []


def test_a_repository_pipelined_through_one_connection(raw: Raw) -> None:
    data = b"".join(
        [
            request("POST", f"/v2/a/blobs/uploads/?digest={sha(CONFIG)}", body=CONFIG),
            request("POST", f"/v2/a/blobs/uploads/?digest={BLOB}", body=[LAYER]),
            request("PUT", "/v2/a/manifests/x", {"Content-Type": OCI}, IMAGE),
            request("GET", "/v2/a/manifests/x"),
        ]
    )
    raw.send(data)
    assert [raw.read().status for _ in range(3)] == [201, 201, 201]
    assert raw.read().body == IMAGE
