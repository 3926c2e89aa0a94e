"""What has been a way in elsewhere is none here: each test's docstring names the class of weakness."""

from __future__ import annotations

import gzip
import io
import json
import os
import socket
import ssl
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tinyreg import Basic, Registry, Token, layer, layout
from tinyreg.layout import LayoutError
from tinyreg.manifest import OCI_INDEX, OCI_MANIFEST
from tinyreg.reference import Digest
from tinyreg.server import Server

from .asking import ask, basic
from .raw import Raw, Reply, request

SECRET = b"root:x:0:0: not for you"
BLOB = b"a layer"
DIGEST = Digest.of(BLOB)


@pytest.fixture(params=["memory", "directory"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "store" if request.param == "directory" else None) as found:
        yield found
    assert found.errors == []


def raw(registry: Registry) -> Raw:
    return Raw("127.0.0.1", registry.port)


def get(registry: Registry, target: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Reply:
    with raw(registry) as connection:
        return connection.ask(method, target, headers or {})


# Traversal

OUT = [
    "..",
    "../..",
    "a/../..",
    "%2e%2e",
    "%2e%2e%2f",
    "..%5c",
    "..%00",
    "/etc",
    "%2fetc",
    "....//",
    "a/..;/b",
    "~root",
]


@pytest.mark.parametrize("out", OUT)
@pytest.mark.parametrize(
    "path",
    [
        "{}/secret/blobs/" + DIGEST,
        "a/blobs/{}/secret",
        "a/blobs/sha256:{}/secret",
        "a/blobs/uploads/{}/secret",
        "a/manifests/{}/secret",
        "a/manifests/sha256:{}/secret",
        "a/referrers/{}/secret",
        "{}/secret/tags/list",
    ],
)
def test_no_name_digest_tag_or_session_leads_out_of_the_store(tmp_path: Path, path: str, out: str) -> None:
    """CWE-22 (path traversal), CWE-23, CWE-36, CWE-158 (NUL)."""
    (tmp_path / "secret").write_bytes(SECRET)
    before = sorted(tmp_path.rglob("*"))
    with Registry(tmp_path / "store") as found:
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "POST"):
            reply = get(found, "/v2/" + path.format(out) + "?digest=" + DIGEST, {"Content-Length": "0"}, method)
            assert 400 <= reply.status < 500
            assert SECRET not in reply.raw
    assert found.errors == []
    assert [each for each in sorted(tmp_path.rglob("*")) if each.name != "store"] == before


def link_blob(store: Path, outside: Path) -> None:
    target = store / "app" / "blobs" / "sha256" / Digest.of(SECRET).encoded
    target.symlink_to(outside / "secret")


def link_blobs(store: Path, outside: Path) -> None:
    folder = store / "app" / "blobs"
    folder.rename(outside / "blobs")
    (outside / "blobs" / "sha256" / Digest.of(SECRET).encoded).write_bytes(SECRET)
    folder.symlink_to(outside / "blobs")


def link_algorithm(store: Path, outside: Path) -> None:
    folder = store / "app" / "blobs" / "sha256"
    folder.rename(outside / "sha256")
    (outside / "sha256" / Digest.of(SECRET).encoded).write_bytes(SECRET)
    folder.symlink_to(outside / "sha256")


def link_repository(store: Path, outside: Path) -> None:
    link_blob(store, outside)
    (store / "app" / "blobs" / "sha256" / Digest.of(SECRET).encoded).unlink()
    (store / "app" / "blobs" / "sha256" / Digest.of(SECRET).encoded).write_bytes(SECRET)
    (store / "app").rename(outside / "app")
    (store / "app").symlink_to(outside / "app")


@pytest.mark.parametrize("link", [link_blob, link_blobs, link_algorithm, link_repository])
def test_nothing_behind_a_symbolic_link_is_served_mounted_or_written(tmp_path: Path, link: Any) -> None:
    """CWE-59 (link following), CWE-61."""
    store, outside = tmp_path / "store", tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(SECRET)
    with Registry(store) as found:
        found.push_image("app:1", [{"a": b"b"}])
        assert get(found, "/v2/app/manifests/1").status == 200
    link(store, outside)
    before = {each: each.read_bytes() for each in outside.rglob("*") if each.is_file()}
    digest = Digest.of(SECRET)
    with Registry(store) as found:
        for method in ("GET", "HEAD"):
            assert get(found, f"/v2/app/blobs/{digest}", method=method).status == 404
        mounted = get(found, f"/v2/other/blobs/uploads/?mount={digest}&from=app", {"Content-Length": "0"}, "POST")
        assert mounted.status == 202
        assert get(found, f"/v2/other/blobs/{digest}").status == 404
        if link is not link_blob:
            assert get(found, "/v2/_catalog").json == {"repositories": []}
            assert ask(found, "/v2/app/manifests/1").status == 404
            push = ask(found, f"/v2/app/blobs/uploads/?digest={DIGEST}", "POST", BLOB)
            assert (push.status, push.json["errors"][0]["code"]) == (403, "DENIED")
        assert ask(found, f"/v2/app/blobs/{digest}", "DELETE").status == 404
    assert {each: each.read_bytes() for each in outside.rglob("*") if each.is_file()} == before
    assert found.errors == []


def test_links_that_go_round_in_a_circle_end_nothing(tmp_path: Path) -> None:
    """CWE-674 (uncontrolled recursion), CWE-59."""
    with Registry(tmp_path) as found:
        found.push_image("app:1")
        for name in ("one", "two"):
            (tmp_path / name).symlink_to(tmp_path)
        assert get(found, "/v2/_catalog").json == {"repositories": ["app"]}


def test_a_pipe_among_the_blobs_keeps_nobody_waiting(tmp_path: Path) -> None:
    """CWE-67/CWE-833: opening a pipe waits for somebody to write to it."""
    with Registry(tmp_path) as found:
        found.push_image("app:1")
        os.mkfifo(tmp_path / "app" / "blobs" / "sha256" / DIGEST.encoded)
        assert get(found, f"/v2/app/blobs/{DIGEST}").status == 404


def test_an_uploads_folder_that_is_a_link_is_no_reason_to_delete_what_is_in_it(tmp_path: Path) -> None:
    """CWE-59: what dead processes left is swept, and that must be ours."""
    outside, store = tmp_path / "outside", tmp_path / "store"
    outside.mkdir()
    store.mkdir()
    (outside / ("0" * 32)).write_bytes(SECRET)
    (store / "_uploads").symlink_to(outside)
    with pytest.raises(OSError, match="symbolic link"):
        Registry(store)
    (store / "_uploads").unlink()
    (store / "_uploads").mkdir()
    (store / "_uploads" / "holiday.jpg").write_bytes(SECRET)
    Registry(store)
    assert (store / "_uploads" / "holiday.jpg").exists()
    assert (outside / ("0" * 32)).exists()


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "blobs/../../secret"])
def test_an_archive_does_not_lead_out_of_itself(tmp_path: Path, name: str) -> None:
    """CWE-22 in an archive ("zip slip")."""
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add(archive, "index.json", b'{"manifests":[]}')
        add(archive, name, b"x")
    with Registry() as found, pytest.raises(LayoutError, match="leads out of"):
        found.load(tmp_path / "x.tar")


def test_a_layout_folder_does_not_lead_out_of_itself(tmp_path: Path) -> None:
    """CWE-59 in a layout that is loaded."""
    (tmp_path / "secret").write_bytes(SECRET)
    folder = tmp_path / "layout"
    (folder / "blobs" / "sha256").mkdir(parents=True)
    digest = Digest.of(SECRET)
    (folder / "blobs" / "sha256" / digest.encoded).symlink_to(tmp_path / "secret")
    entry = {"mediaType": "a/b", "digest": digest, "size": len(SECRET)}
    (folder / "index.json").write_text(json.dumps({"manifests": [entry]}))
    with Registry() as found, pytest.raises(LayoutError, match="leads out of"):
        found.load(folder)


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


# Request smuggling: what two servers in a row could read as one request and as two

POST = f"POST /v2/a/blobs/uploads/?digest={DIGEST} HTTP/1.1\r\nHost: x\r\n"
HIDDEN = request("DELETE", "/v2/app/manifests/1")
SMUGGLED = {
    "CL.TE": f"{POST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE.CL": f"{POST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "CL twice": f"{POST}Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "CL twice, apart": f"{POST}Content-Length: 0\r\nContent-Length: 9\r\n\r\n",
    "CL list": f"{POST}Content-Length: 0, 9\r\n\r\n",
    "CL plus": f"{POST}Content-Length: +0\r\n\r\n",
    "CL hex": f"{POST}Content-Length: 0x0\r\n\r\n",
    "CL underscore": f"{POST}Content-Length: 0_0\r\n\r\n",
    "CL blank": f"{POST}Content-Length: \r\n\r\n",
    "TE list": f"{POST}Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "TE twice": f"{POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "TE quoted": f'{POST}Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "TE other blank": f"{POST}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "TE in 1.0": f"{POST}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".replace("HTTP/1.1", "HTTP/1.0"),
    "space before the colon": f"{POST}Content-Length : 0\r\n\r\n",
    "tab before the colon": f"{POST}Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "obs-fold": f"{POST}X: a\r\n Content-Length: 0\r\n\r\n",
    "obs-fold of TE": f"{POST}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "bare LF": POST.replace("\r\n", "\n") + "\n",
    "bare LF in a field": f"{POST}X: a\nContent-Length: 0\r\n\r\n",
    "bare CR in a field": f"{POST}X: a\rContent-Length: 0\r\n\r\n",
    "NUL in a field": f"{POST}X: a\0b\r\n\r\n",
    "space first": f" {POST}Content-Length: 0\r\n\r\n",
    "space behind the version": POST.replace("1.1", "1.1 ") + "\r\n",
    "tab in the line": POST.replace(" HTTP", "\tHTTP") + "\r\n",
    "chunk with a sign": f"{POST}Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
    "chunk with 0x": f"{POST}Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "chunk with _": f"{POST}Transfer-Encoding: chunked\r\n\r\n0_0\r\n\r\n",
    "chunk with a blank first": f"{POST}Transfer-Encoding: chunked\r\n\r\n 0\r\n\r\n",
    "chunk with LF": f"{POST}Transfer-Encoding: chunked\r\n\r\n0\n\n",
    "chunk extension with LF": f"{POST}Transfer-Encoding: chunked\r\n\r\n0;a\nb\r\n\r\n",
    "chunk extension with CR": f"{POST}Transfer-Encoding: chunked\r\n\r\n0;a\rb\r\n\r\n",
    "chunk of 17 digits": f"{POST}Transfer-Encoding: chunked\r\n\r\n{'0' * 17}\r\n\r\n",
    "no line behind a chunk": f"{POST}Transfer-Encoding: chunked\r\n\r\n1\r\naXX0\r\n\r\n",
}


@pytest.mark.parametrize("smuggled", SMUGGLED.values(), ids=SMUGGLED)
def test_a_request_in_a_request_is_never_answered(registry: Registry, smuggled: str) -> None:
    """CWE-444 (HTTP request smuggling)."""
    registry.push_image("app:1")
    with raw(registry) as connection:
        connection.send(smuggled.encode("latin-1") + HIDDEN)
        assert connection.read().status in (400, 501)
        assert connection.rest() == b""
    assert get(registry, "/v2/app/manifests/1").status == 200
    assert len(registry.requests.where(method="DELETE")) == 0


def test_a_chunk_extension_and_a_trailer_are_read_over(registry: Registry) -> None:
    """The control: what RFC 9112 §7.1 allows works, and what follows is the next request."""
    body = b'7;a=b;c="d"\r\na layer\r\n0;last\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\n'
    with raw(registry) as connection:
        connection.send(f"{POST}Transfer-Encoding: chunked\r\n\r\n".encode() + body + request("GET", "/v2/"))
        assert connection.read().status == 201
        assert connection.read().body == b"{}"


# Injection into headers and logs

BREAKS = ["%0d%0aEvil:%201", "%0aEvil:%201", "%0d", "%c4%8d%c4%8aEvil:1", "%00", "%1b[2J", "%e2%80%a8", "%7f", '">']


@pytest.mark.parametrize("text", BREAKS)
def test_nothing_of_a_request_breaks_out_of_a_header_or_a_line_of_the_log(registry: Registry, text: str) -> None:
    """CWE-113 (response splitting), CWE-117 (log injection), CWE-150 (terminal escapes)."""
    registry.push_image("app:1")
    registry.push_image("app:2")
    for target in (
        f"/v2/app/blobs/uploads/{text}",
        f"/v2/app{text}/blobs/uploads/",
        f"/v2/app/blobs/uploads/?digest={text}&mount={text}&from={text}",
        f"/v2/app/tags/list?n=1&last={text}",
        f"/v2/_catalog?n=1&last={text}",
        f"/v2/app/referrers/{DIGEST}?artifactType={text}",
        f"/v2/app/manifests/{text}?tag={text}",
        f"/token?scope={text}&account={text}",
    ):
        for method in ("GET", "POST", "PUT", "PATCH"):
            reply = get(registry, target, {"Content-Length": "0"}, method)
            assert reply.status < 500
            assert not {"evil"} & set(reply.headers)
            assert b"\r\nEvil" not in reply.raw
            assert "\x1b" not in reply.raw.decode("latin-1")
    for exchange in registry.requests:
        assert str(exchange).isprintable()
        assert str(exchange).isascii()
    assert registry.requests.table().replace("\n", "").isprintable()


def test_a_manifest_s_media_type_cannot_carry_a_header(registry: Registry) -> None:
    """CWE-113: the type comes from the JSON where the request has none, and stands in the answer of a pull."""
    for bad in ("a/b\r\nEvil: 1", "a/b\n", "ab", "a/b c", "a/\u20ac", "a/b\ud800", "/", "a/" + "b" * 200):
        data = json.dumps({"mediaType": bad}).encode()
        with raw(registry) as connection:
            reply = connection.ask("PUT", "/v2/app/manifests/1", {}, data)
        assert (reply.status, reply.codes) == (400, ["MANIFEST_INVALID"])
    assert get(registry, "/v2/app/manifests/1").status == 404


# Other repositories' content

AUTH = {"ann": "a", "bob": "b"}
GRANTS: Any = {"ann": {"ann/*": "*"}, "bob": {"bob/*": "*"}}


@pytest.mark.parametrize(
    "query", ["mount={}&from=ann/app", "mount={}", "mount={}&from=ann/../ann/app", "mount={}&from="]
)
def test_a_private_blob_is_not_read_by_digest_nor_by_mounting_it(query: str) -> None:
    """CWE-639 (authorization bypass through a user-controlled key), CWE-862."""
    with Registry(auth=Basic(AUTH, grants=GRANTS)) as found:
        ann, bob = basic("ann", "a"), basic("bob", "b")
        push = f"/v2/ann/app/blobs/uploads/?digest={DIGEST}"
        assert ask(found, push, "POST", BLOB, Authorization=ann).status == 201
        assert ask(found, f"/v2/ann/app/blobs/{DIGEST}", Authorization=ann).body == BLOB  # the control
        assert ask(found, f"/v2/ann/app/blobs/{DIGEST}", Authorization=bob).status == 403
        assert ask(found, f"/v2/bob/app/blobs/{DIGEST}", Authorization=bob).status == 404
        mount = f"/v2/bob/app/blobs/uploads/?{query.format(DIGEST)}"
        assert ask(found, mount, "POST", Authorization=bob).status == 202
        assert ask(found, f"/v2/bob/app/blobs/{DIGEST}", Authorization=bob).status == 404


def test_an_upload_session_is_good_in_its_own_repository_only() -> None:
    """CWE-639: an id that was seen in a log is no key to another's upload."""
    with Registry(auth=Basic(AUTH, grants=GRANTS)) as found:
        begun = ask(found, "/v2/ann/app/blobs/uploads/", "POST", Authorization=basic("ann", "a"))
        stolen = begun.headers["Location"].replace("/ann/", "/bob/")
        for method in ("GET", "PATCH", "DELETE", "PUT"):
            target = f"{stolen}?digest={DIGEST}"
            assert ask(found, target, method, b"", Authorization=basic("bob", "b")).status == 404
        again = ask(found, begun.headers["Location"], Authorization=basic("ann", "a"))
        assert (again.status, again.headers["Range"]) == (204, "0-0")


def test_tokens_of_another_registry_are_good_for_nothing() -> None:
    """CWE-345 (insufficient verification of authenticity), CWE-347 (`alg: none`)."""
    with Registry(auth=Token({"ann": "a"})) as one, Registry(auth=Token({"ann": "a"})) as other:
        token = ask(one, "/token?scope=repository:x:pull,push", Authorization=basic("ann", "a")).json["token"]
        assert ask(one, "/v2/", Authorization=f"Bearer {token}").status == 200  # the control
        assert ask(other, "/v2/", Authorization=f"Bearer {token}").status == 401
        for bad in ("eyJhbGciOiJub25lIn0.e30.", "", "..", token[:-2], token.rpartition(".")[0] + ".", "x" * 9000):
            assert ask(one, "/v2/", Authorization=f"Bearer {bad}").status == 401


# Browsers

FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "anything"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://127.0.0.1.evil.example"},
    {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
    {"Origin": "file://"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_what_a_browser_sends_for_another_site_is_refused(method: str, headers: dict[str, str]) -> None:
    """CWE-352 (cross-site request forgery), CWE-346 (origin validation)."""
    with Registry() as found, raw(found) as connection:
        found.push_image("app:1")
        own = [("Host", found.host), ("Content-Length", "0"), *headers.items()]
        lines = "".join(f"{name}: {value}\r\n" for name, value in own)
        connection.send(f"{method} /v2/app/manifests/1 HTTP/1.1\r\n{lines}\r\n".encode())
        reply = connection.read(method)
        assert reply.status == 403
        assert "access-control-allow-origin" not in reply.headers
        assert method == "HEAD" or reply.codes == ["DENIED"]
        assert found.repository("app").tags() == ["1"]
        assert found.requests[-1].status == 403


OWN = [
    ("127.0.0.1:{port}", {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:{port}"}),
    ("localhost:{port}", {"Sec-Fetch-Site": "none", "User-Agent": "Mozilla/5.0"}),
    ("[::1]:{port}", {"Origin": "http://[::1]:{port}"}),
    ("reg.localhost:{port}", {"User-Agent": "Mozilla/5.0"}),
    ("192.168.1.2:{port}", {"User-Agent": "Mozilla/5.0"}),
    ("10.0.0.1", {"Origin": "http://10.0.0.1:80"}),
    ("registry.ci.example:{port}", {}),
    ("host.docker.internal:{port}", {"User-Agent": "docker/28.2.2 go/go1.24 os/linux"}),
    ("evil.example", {"Referer": "http://elsewhere.example/"}),
]


@pytest.mark.parametrize(("host", "headers"), OWN, ids=str)
def test_the_same_origin_and_clients_by_any_name_go_on_working(host: str, headers: dict[str, str]) -> None:
    """The control to CWE-352."""
    assert status_as(host, headers) == 200


@pytest.mark.parametrize(
    "headers",
    [{"User-Agent": "Mozilla/5.0 (X11)"}, {"Origin": "http://evil.example:{port}"}, {"Sec-Fetch-Site": "same-origin"}],
    ids=str,
)
@pytest.mark.parametrize(
    "host", ["evil.example:{port}", "127.0.0.1.evil.example:{port}", "localhost.evil.example", "[x", ""]
)
def test_a_browser_that_was_led_here_by_a_name_is_refused(host: str, headers: dict[str, str]) -> None:
    """CWE-350 (DNS rebinding): to the browser, the page and the registry are of one origin then."""
    assert status_as(host, headers) == 403


def test_a_browser_may_use_the_name_that_the_registry_was_given() -> None:
    """The control to CWE-350."""
    headers = {"User-Agent": "Mozilla/5.0"}
    assert status_as("LocalHost:1", headers, host="localhost") == 200


def status_as(name: str, headers: dict[str, str], **options: Any) -> int:
    with Registry(**options) as found, Raw(found.host.rpartition(":")[0], found.port) as connection:
        lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": name, **headers}.items())
        connection.send(f"GET /v2/ HTTP/1.1\r\n{lines}\r\n".replace("{port}", str(found.port)).encode())
        return connection.read().status


# Bombs

DEEP = 200_000
BOMBS = {
    "deep lists": b'{"a":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep and open": b"[" * DEEP,
    "a huge number": b'{"schemaVersion":' + b"9" * 1_000_000 + b"}",
    "a huge size": b'{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"%s","size":1%s}}'
    % (DIGEST.encode(), b"0" * 6000),
    "a huge exponent": b'{"schemaVersion":1e999999999}',
    "NaN": b'{"schemaVersion":NaN}',
    "not UTF-8": b'{"a":"\xff"}',
    "a BOM": b"\xef\xbb\xbf{}",
    "UTF-16": '{"schemaVersion":2}'.encode("utf-16"),
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("media_type", [OCI_MANIFEST, OCI_INDEX])
def test_json_that_is_a_bomb_is_an_invalid_manifest(registry: Registry, data: bytes, media_type: str) -> None:
    """CWE-674 (uncontrolled recursion), CWE-400, CWE-1333."""
    answer = ask(registry, "/v2/app/manifests/1", "PUT", data, Content_Type=media_type)
    assert (answer.status, answer.json["errors"][0]["code"]) == (400, "MANIFEST_INVALID")
    assert len(answer.body) < 2000


def test_a_layer_that_expands_without_end_is_refused_by_files() -> None:
    """CWE-409 (data amplification: "zip bomb")."""
    with pytest.raises(ValueError, match="more than 1000000 bytes, decompressed"):
        layer.decompress(gzip.compress(bytes(20_000_000)), 1_000_000)
    with Registry() as found:
        found.push_image("app:2", [{"a": b"b"}, {"a": b"c"}])
        assert found.repository("app").files("2", limit=25_000) == {"a": b"c"}
        with pytest.raises(ValueError, match="decompressed"):  # together, not one by one
            found.repository("app").files("2", limit=15_000)


def test_a_sparse_file_in_a_layer_has_no_room_for_its_holes() -> None:
    """CWE-409: GNU tar's sparse files may say that they have any size."""
    info = tarfile.TarInfo("hole")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"77777777777\0"  # the real size: 8 GiB
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header[:512])
    with Registry() as found:
        found.push_image("app:1", [bytes(header) + bytes(1024)])
        with pytest.raises(ValueError, match="more than the layer itself"):
            found.repository("app").files("1")


def test_an_archive_that_expands_without_end_is_refused_by_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CWE-409."""
    monkeypatch.setattr(layout, "ARCHIVE_LIMIT", 1_000_000)
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(bytes(2_000_000)))
    with Registry() as found, pytest.raises(LayoutError, match="more than 1000000 bytes, decompressed"):
        found.load(tmp_path / "x.tar.gz")


def test_json_in_a_layout_is_not_read_into_memory_at_any_size(tmp_path: Path) -> None:
    """CWE-770: an index of a terabyte takes a few blocks on disk."""
    with open(tmp_path / "index.json", "wb") as file:
        file.truncate(10**12)
    with Registry() as found, pytest.raises(LayoutError, match="are the most that are read as JSON"):
        found.load(tmp_path)


def test_indexes_in_indexes_in_a_layout_end_somewhere(tmp_path: Path) -> None:
    """CWE-674."""
    blobs = tmp_path / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    below: list[Any] = []
    for _ in range(2000):
        data = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": below}).encode()
        (blobs / Digest.of(data).encoded).write_bytes(data)
        below = [{"mediaType": OCI_INDEX, "digest": Digest.of(data), "size": len(data)}]
    (tmp_path / "index.json").write_text(json.dumps({"manifests": below}))
    with Registry() as found, pytest.raises(LayoutError, match="deep in one another"):
        found.load(tmp_path)


@pytest.mark.parametrize("data", [b"[]", b'{"rootfs":[]}', b'{"rootfs":{"diff_ids":5}}', b"[" * DEEP], ids=len)
def test_a_docker_archive_s_config_may_be_anything(tmp_path: Path, data: bytes) -> None:
    """CWE-20 (input validation): a LayoutError, or an image without diff_ids, and no other exception."""
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add(archive, "manifest.json", b'[{"Config":"c","RepoTags":["app:1"],"Layers":[]}]')
        add(archive, "c", data)
    with Registry() as found:
        if data.startswith(b"[["):
            with pytest.raises(LayoutError, match="not JSON"):
                found.load(tmp_path / "x.tar")
        else:
            assert found.load(tmp_path / "x.tar") == ["app:1"]


def test_many_ranges_of_one_blob_are_not_multiplied(registry: Registry) -> None:
    """CWE-400: CVE-2011-3192, thousands of overlapping ranges."""
    data = bytes(10_000)
    assert ask(registry, f"/v2/a/blobs/uploads/?digest={Digest.of(data)}", "POST", data).status == 201
    ranges = "bytes=" + ",".join(["0-"] * 5000)
    reply = get(registry, f"/v2/a/blobs/{Digest.of(data)}", {"Range": ranges})
    assert (reply.status, reply.body) == (200, data)


# TLS


def test_a_tls_handshake_that_never_ends_is_cut_and_a_slow_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """CWE-400 (slow handshakes); each byte must not buy another time-out."""
    pytest.importorskip("trustme")
    monkeypatch.setattr(Server.__init__, "__defaults__", ("127.0.0.1", 0, 0.4, None, 100))
    with Registry(tls=True) as found, socket.create_connection(("127.0.0.1", found.port), timeout=10) as slow:
        hello = client_hello()
        slow.settimeout(0.1)
        answered = None
        for byte in hello:  # ten bytes a second: ten time-outs of 0.4 s would not cut it
            try:
                slow.sendall(bytes([byte]))
                answered = slow.recv(1)
                break
            except TimeoutError:
                continue
            except OSError:
                answered = b""
                break
        assert answered == b""
        assert ask(found, "/v2/", context=found.client_context()).status == 200


def client_hello() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="x")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("value", ["Basic \xe9", "Basic /w==", "Basic A", "Basic", "Bearer \xe9.\xff", "Bearer ."])
@pytest.mark.parametrize("auth", [Basic(AUTH), Token(AUTH)], ids=["Basic", "Token"])
def test_credentials_that_are_none_are_401(auth: Any, value: str) -> None:
    """CWE-20, found by `python -m tests.fuzz grammar --seed 1 --first 0`: what is not ASCII was a 500."""
    with Registry(auth=auth) as found:
        for target in ("/v2/", "/token"):
            assert get(found, target, {"Authorization": value}).status in (200, 401, 404)
        assert get(found, "/v2/", {"Authorization": value}).status == 401
        assert found.errors == []
