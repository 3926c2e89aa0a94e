"""Input that is wrong: the status and code it gets, what becomes of the connection, and that nothing is stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tinyreg import Registry

from .raw import Raw, Reply, request
from .test_api import ABSENT, BLOB, DOCKER, IMAGE, INDEX, LAYER, OCI, descriptor, image, index, push_image, start_upload


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


def content(served: Registry) -> dict[str, Any]:
    """What a registry holds, as a client sees it."""
    with Raw("127.0.0.1", served.port) as raw:
        names = raw.ask("GET", "/v2/_catalog").json["repositories"]
        return {name: raw.ask("GET", f"/v2/{name}/tags/list").json["tags"] for name in names}


@dataclass(frozen=True)
class Bad:
    """Bytes that are wrong, and the answer to them; `code` None for an error of HTTP, which closes."""

    name: str
    data: bytes
    status: int
    code: str | None = None
    keeps: bool = True


def bad_input(*cases: Bad) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases])


def check(served: Registry, raw: Raw, case: Bad) -> Reply:
    before = content(served)
    raw.send(case.data)
    reply = raw.read("HEAD" if case.data.startswith(b"HEAD") else "GET")
    assert reply.status == case.status, reply
    if case.code is None:
        assert reply.headers["content-type"].startswith("text/plain")
    else:
        assert reply.codes == [case.code]
        assert reply.headers["content-type"] == "application/json"
    keeps = case.keeps and case.code is not None
    assert reply.keeps is keeps
    if keeps:
        assert raw.ask("GET", "/v2/").body == b"{}"
    else:
        assert raw.rest() == b""
    assert content(served) == before  # on new connections
    return reply


HOST = b"\r\nHost: x\r\n"
UPLOAD = f"POST /v2/a/blobs/uploads/?digest={BLOB} HTTP/1.1".encode() + HOST


@bad_input(
    Bad("no request line", b"\x00\x01\x02\r\n\r\n", 400),
    Bad("two words", b"GET /v2/\r\n\r\n", 400),
    Bad("four words", b"GET /v2/ x HTTP/1.1" + HOST + b"\r\n", 400),
    Bad("no version", b"GET /v2/ HTTP" + HOST + b"\r\n", 400),
    Bad("HTTP/3.0", b"GET /v2/ HTTP/3.0" + HOST + b"\r\n", 505),
    Bad("NUL in the target", b"GET /v2/\x00 HTTP/1.1" + HOST + b"\r\n", 400),
    Bad("no Host", b"GET /v2/ HTTP/1.1\r\n\r\n", 400),
    Bad("two Hosts", b"GET /v2/ HTTP/1.1" + HOST + b"Host: x\r\n\r\n", 400),
    Bad("header without colon", b"GET /v2/ HTTP/1.1" + HOST + b"nothing\r\n\r\n", 400),
    Bad("folded header", b"GET /v2/ HTTP/1.1" + HOST + b" more\r\n\r\n", 400),
    Bad("space before colon", b"GET /v2/ HTTP/1.1" + HOST + b"A : b\r\n\r\n", 400),
    Bad("bare LF", b"GET /v2/ HTTP/1.1\nHost: x\n\n", 400),
    Bad("head over 64 KiB", b"GET /v2/ HTTP/1.1" + HOST + b"A: b\r\n" * 12_000 + b"\r\n", 431),
    Bad("head without end", b"GET /v2/" + b"a" * 70_000, 431),
    Bad("length no number", UPLOAD + b"Content-Length: x\r\n\r\n" + LAYER, 400),
    Bad("length negative", UPLOAD + b"Content-Length: -1\r\n\r\n" + LAYER, 400),
    Bad("length twice", UPLOAD + b"Content-Length: 1024\r\nContent-Length: 1024\r\n\r\n" + LAYER, 400),
    Bad("length over-long", UPLOAD + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", 400),
    Bad("both body headers", UPLOAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    Bad("unknown coding", UPLOAD + b"Transfer-Encoding: gzip\r\n\r\n", 501),
    Bad("chunk size no number", UPLOAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
    Bad("chunk size over-long", UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 5000, 400),
    Bad("chunk over its size", UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n400\r\n" + LAYER + b"x\r\n0\r\n\r\n", 400),
    Bad("chunk with bare LF", UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n400\n" + LAYER, 400),
    Bad("expectation", UPLOAD + b"Expect: more\r\nContent-Length: 1024\r\n\r\n", 417),
)
def test_what_is_no_http_is_refused_and_ends_the_connection(served: Registry, raw: Raw, case: Bad) -> None:
    check(served, raw, case)


NAMES = {
    "..": "..",
    "within": "a/../b",
    "%2e": "%2e%2e/%2e%2e/etc",
    "%2f": "..%2f..%2fetc",
    "backslash": "..%5cetc",
    "NUL": "a%00",
    "line break": "a%0d%0aEvil:%201",
    "uppercase": "Team/App",
    "over-long": "a" * 256,
    "very long": "a/" * 20_000 + "a",
    "empty segment": "a//b",
    "underscore": "_uploads",
    "not UTF-8": "%ff",
    "blank": "a%20b",
}


@bad_input(
    *[
        Bad(f"{name} {method} {rest[:9]}", request(method, f"/v2/{text}/{rest}", headers, body), 400, "NAME_INVALID")
        for name, text in NAMES.items()
        for method, rest, headers, body in (
            ("GET", "tags/list", {}, None),
            ("PUT", "manifests/latest", {"Content-Type": "a/b"}, b"{}"),
            ("POST", f"blobs/uploads/?digest={BLOB}", {}, LAYER),
            ("GET", f"blobs/{BLOB}", {}, None),
        )
    ],
)
def test_a_bad_name_is_refused(served: Registry, raw: Raw, case: Bad) -> None:
    reply = check(served, raw, case)
    assert "evil" not in reply.headers
    assert len(reply.raw) < 1000


@pytest.mark.parametrize("text", ["../../etc", "a/../../etc", "%2e%2e/etc", "..%2fetc"])
def test_a_name_with_dots_writes_nothing_beside_the_store(tmp_path: Path, text: str) -> None:
    with Registry(tmp_path / "deep" / "store") as registry, Raw("127.0.0.1", registry.port) as raw:
        assert raw.ask("POST", f"/v2/{text}/blobs/uploads/?digest={BLOB}", body=LAYER).status == 400
        assert raw.ask("PUT", f"/v2/{text}/manifests/x", {"Content-Type": "a/b"}, b"{}").status == 400
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


DIGESTS = ["sha256", "sha256:", "sha256:abc", BLOB.upper(), f"{BLOB}0", f"md5:{'0' * 32}", f"blake3:{'0' * 64}"]
DIGESTS += ["sha256:..%5c..%5cetc", "sha256:%00", f"{BLOB}%0a", ":", "sha256:" + "a" * 9000]


@bad_input(
    *[
        Bad(
            f"{text[:20]} {method} {where[:6]}",
            request(method, f"/v2/a/{where}{text}", {}, body),
            400,
            "DIGEST_INVALID",
        )
        for text in DIGESTS
        for method, where, body in (
            ("GET", "blobs/", None),
            ("DELETE", "blobs/", None),
            ("GET", "referrers/", None),
            ("POST", "blobs/uploads/?digest=", LAYER),
            ("POST", "blobs/uploads/?mount=", b""),
        )
    ],
    Bad("not its content", request("POST", f"/v2/a/blobs/uploads/?digest={ABSENT}", {}, LAYER), 400, "DIGEST_INVALID"),
    Bad("cut short", request("POST", f"/v2/a/blobs/uploads/?digest={BLOB}", {}, LAYER[1:]), 400, "DIGEST_INVALID"),
)
def test_a_bad_digest_is_refused(served: Registry, raw: Raw, case: Bad) -> None:
    check(served, raw, case)


MISSING = image(layers=[descriptor(b"gone", "x/y")])


def pushed(name: str, data: bytes, media_type: str | None, code: str = "MANIFEST_INVALID", reference: str = "x") -> Bad:
    headers = {"Content-Type": media_type} if media_type else {}
    return Bad(name, request("PUT", f"/v2/a/manifests/{reference}", headers, data), 400, code)


@bad_input(
    pushed("no JSON", b"not json", OCI),
    pushed("empty", b"", OCI),
    pushed("a list", b"[]", OCI),
    pushed("not UTF-8", b'"\xff"', OCI),
    pushed("too deep", b'{"a":' * 50_000, "a/b"),
    pushed("contradicting type", IMAGE, DOCKER),
    pushed("image as index", image(mediaType=None), INDEX),
    pushed("missing type", image(mediaType=None), None),
    pushed("no schemaVersion", image(schemaVersion=None), OCI),
    pushed("config no object", image(config="x"), OCI),
    pushed("layers no list", image(layers={}), OCI),
    pushed("descriptor without digest", image(layers=[{"mediaType": "x/y", "size": 1}]), OCI),
    pushed("descriptor with bad digest", image(layers=[{"mediaType": "x/y", "size": 1, "digest": "../x"}]), OCI),
    pushed("negative size", image(layers=[{"mediaType": "x/y", "size": -1, "digest": BLOB}]), OCI),
    pushed("size true", image(layers=[{"mediaType": "x/y", "size": True, "digest": BLOB}]), OCI),
    pushed("annotation no string", image(annotations={"a": 1}), OCI),
    pushed("missing blob", MISSING, OCI, "MANIFEST_BLOB_UNKNOWN"),
    pushed("missing child", index(b"gone"), INDEX, "MANIFEST_BLOB_UNKNOWN"),
    pushed("another digest", IMAGE, OCI, "DIGEST_INVALID", ABSENT),
    pushed("bad tag", IMAGE, OCI, "TAG_INVALID", "-x"),
    pushed("over-long tag", IMAGE, OCI, "TAG_INVALID", "a" * 129),
    Bad(
        "too large",
        request("PUT", "/v2/a/manifests/x", {"Content-Type": OCI}, b" " * 8_400_000),
        413,
        "MANIFEST_INVALID",
        keeps=False,
    ),
    Bad(
        "too large in chunks",
        request("PUT", "/v2/a/manifests/x", {"Content-Type": OCI}, [b" " * 8_400_000]),
        413,
        "MANIFEST_INVALID",
        keeps=False,
    ),
)
def test_a_bad_manifest_is_refused(served: Registry, raw: Raw, case: Bad) -> None:
    push_image(raw, "a")
    check(served, raw, case)


@bad_input(
    *[
        Bad(
            f"unknown session {method}",
            request(method, f"/v2/a/blobs/uploads/{session}", {}, b""),
            404,
            "BLOB_UPLOAD_UNKNOWN",
        )
        for method, session in (
            ("GET", "0" * 32),
            ("PATCH", "0" * 32),
            ("DELETE", "..%5c..%5cetc"),
            ("PUT", f"x?digest={BLOB}"),
            ("GET", "%00%0d%0aEvil:%201"),
        )
    ],
    Bad("unknown method", request("BREW", "/v2/"), 405, "UNSUPPORTED"),
    Bad("method in lower case", request("get", "/v2/"), 405, "UNSUPPORTED"),
    Bad("over-long method", request("X" * 9000, "/v2/"), 405, "UNSUPPORTED"),
    Bad("method not for it", request("PATCH", "/v2/a/manifests/x", {}, b"x"), 405, "UNSUPPORTED"),
    Bad("unknown path", request("GET", "/v2/a/nothing"), 404, "UNSUPPORTED"),
    Bad("slashes in a digest", request("GET", "/v2/a/blobs/sha256:..%2f..%2fetc"), 404, "UNSUPPORTED"),
    Bad("slashes in a session", request("DELETE", "/v2/a/blobs/uploads/..%2f..%2fetc"), 404, "UNSUPPORTED"),
    Bad("path of v1", request("GET", "/v1/_ping"), 404, "UNSUPPORTED"),
    Bad("asterisk", request("OPTIONS", "*"), 404, "UNSUPPORTED"),
    *[
        Bad(f"{where} n={value[:9]}", request("GET", f"/v2/{where}?n={value}"), 400, "PAGINATION_NUMBER_INVALID")
        for where in ("_catalog", "a/tags/list")
        for value in ("-1", "9" * 30, "x", "", "1.5", "0x1", "%00")
    ],
    *[
        Bad(f"range {value}", request("GET", f"/v2/a/blobs/{BLOB}", {"Range": f"bytes={value}"}), 416, "RANGE_INVALID")
        for value in ("1024-", "5-2", "-0", "x-y", "-", "", "1-2-3", "9" * 30 + "-", "1-" + "9" * 30, "5000-,x", "-1-")
    ],
)
def test_what_is_unknown_or_out_of_range_is_refused(served: Registry, raw: Raw, case: Bad) -> None:
    push_image(raw, "a", "x")
    assert "evil" not in check(served, raw, case).headers


@pytest.mark.parametrize("value", ["20-29", "0-9", "5-14", "9-8", "x", "10-", "bytes 10-19/20"])
def test_chunks_out_of_order_or_overlapping_are_refused(served: Registry, raw: Raw, value: str) -> None:
    location = start_upload(raw, "a")
    assert raw.ask("PATCH", location, {"Content-Range": "0-9"}, LAYER[:10]).status == 202
    check(served, raw, Bad("", request("PATCH", location, {"Content-Range": value}, LAYER[:10]), 416, "RANGE_INVALID"))
    assert raw.ask("GET", location).headers["range"] == "0-9"


def test_chunks_after_the_finish_are_refused(served: Registry, raw: Raw) -> None:
    location = start_upload(raw, "a")
    assert raw.ask("PUT", f"{location}?digest={BLOB}", body=LAYER).status == 201
    for method, target in (("PATCH", location), ("PUT", f"{location}?digest={BLOB}")):
        check(served, raw, Bad("", request(method, target, {}, b"more"), 404, "BLOB_UPLOAD_UNKNOWN"))
    assert raw.ask("GET", f"/v2/a/blobs/{BLOB}").body == LAYER


def test_a_size_that_is_not_the_contents_is_refused(served: Registry, raw: Raw) -> None:
    location = start_upload(raw, "a")
    check(served, raw, Bad("", request("PATCH", location, {"Content-Range": "0-99"}, LAYER), 400, "SIZE_INVALID"))
    check(served, raw, Bad("", request("PATCH", location, {"Content-Range": "0-99"}, [LAYER]), 400, "SIZE_INVALID"))


@pytest.mark.parametrize("chunks", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("target", [f"blobs/uploads/?digest={BLOB}", "manifests/x", "session"])
def test_a_client_that_stops_in_the_middle_of_a_body_stores_nothing(
    served: Registry, raw: Raw, target: str, chunks: bool
) -> None:
    location = start_upload(raw, "a") + f"?digest={BLOB}" if target == "session" else f"/v2/a/{target}"
    method, headers = "POST" if target.startswith("blobs") else "PUT", {"Content-Type": OCI}
    data = request(method, location, headers, [LAYER[:512], LAYER[512:]] if chunks else LAYER)
    raw.send(data[:-100])
    raw.finish()
    assert raw.rest() == b""
    assert content(served) == {}
    with Raw("127.0.0.1", served.port) as again:
        assert again.ask("GET", f"/v2/a/blobs/{BLOB}").status == 404
