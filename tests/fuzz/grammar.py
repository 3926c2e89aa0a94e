"""Requests from a grammar against the whole: names, digests, ranges, queries, manifests, chunks; right, or nearly so.

Each is answered in time, in the spec's form, and never with 5xx; a pool of what has been pushed makes that many of
them find something. Behind it no thread, file or upload is left, and the store is consistent.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tests.raw import Raw, Reply
from tinyreg import Basic, ReadOnly, Registry, Token
from tinyreg.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tinyreg.reference import Digest

from .run import Run
from .target import attacked

CODES = {
    *("BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN"),
    *("MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED"),
    *("UNSUPPORTED", "TOOMANYREQUESTS", "TAG_INVALID", "RANGE_INVALID", "PAGINATION_NUMBER_INVALID"),
}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO"]
NAMES = [
    "a",
    "a/b",
    "blobs",
    "a/blobs/uploads",
    "manifests/tags",
    "x__y/z-.w",
    "A",
    "a//b",
    "..",
    "a" * 256,
    "",
    "%ff",
    "con",
]
TAGS = ["latest", "1.0", "_", "a" * 128, "a" * 129, ".x", "%00", "a b", "é", "sha256-" + "a" * 64]
NUMBERS = ["0", "1", "2", "999", "1000", "1001", "-1", "x", "", "9" * 18, "9" * 19, "1e3", "0x1", " 1", "%31"]
TYPES = [
    OCI_MANIFEST,
    OCI_INDEX,
    DOCKER_MANIFEST,
    DOCKER_LIST,
    "a/b",
    "",
    "text",
    OCI_MANIFEST + "; charset=utf-8",
    "A/B",
]
RANGES = [
    "bytes={}-{}",
    "bytes={}-",
    "bytes=-{}",
    "bytes={}-{},{}-{}",
    "bytes={}",
    "{}-{}",
    "items={}-{}",
    "bytes=,",
    "bytes",
]
MUTANTS: list[Any] = [None, True, -1, 0, 1.5, 10**30, "", "x", [], {}, [[]], {"a": {}}, "\ud800", "a\r\nb"]
USERS = {"ann": "secret"}
AUTHORIZERS: list[Callable[[], Any]] = [
    *[lambda: None] * 6,
    lambda: Basic(USERS, anonymous="*"),
    lambda: Basic(USERS, anonymous={"a*": "pull,push"}),
    lambda: Token(USERS, anonymous="*"),
    ReadOnly,
]
CREDENTIALS = [
    *(
        "Basic",
        "Basic ",
        "Basic Og==",
        "Basic YW5uOnNlY3JldA==",
        "Basic YW5uOndyb25n",
        "Basic \xe9",
        "Basic /w==",
        "Basic A",
    ),
    *("Bearer", "Bearer ", "Bearer x", "Bearer .", "Bearer \xe9.\xff", "Bearer e30.e30", "Bearer " + "W1" * 20_000),
    *("Negotiate x", "", "basic YW5uOnNlY3JldA==", "Basic YW5uOnNlY3JldA== x", "Digest username=x", "Basic YW5u"),
]
SCOPES = ["repository:a:pull,push", "x", "a:b:c:d", "repository:*:*", "%ff", "registry:catalog:*", ":::", "a" * 2000]
FORMS = [
    *(b"", b"grant_type=password&username=ann&password=secret", b"grant_type=password", b"\xff=&;"),
    *(b"grant_type=refresh_token&refresh_token=%ED%A0%80.x", b"grant_type=refresh_token&refresh_token=" + b"a" * 9000),
]
BATCH = 200
"""Requests a connection, and a case, has."""
STORES = ["memory", "directory", "spill"]


class Pool:
    """What has been pushed, or not, and can be asked for."""

    def __init__(self, random: random.Random) -> None:
        self.random = random
        self.digests = [Digest.of(b"never"), Digest.of(b"")]
        self.sessions = ["x", "0" * 32, "..", "%2e%2e"]

    def pick(self, items: list[Any], odds: float = 0.75) -> Any:
        """One of `items`, mostly of the first few."""
        few = items[: 1 + len(items) // 3]
        return self.random.choice(few if self.random.random() < odds else items)

    def digest(self) -> str:
        """A digest, mostly of something that has been pushed."""
        if self.random.random() < 0.85:
            return self.random.choice(self.digests[-20:])
        good = self.random.choice(self.digests)
        return self.random.choice(
            [
                good.upper(),
                good[:-1],
                good + "0",
                "sha256:",
                "md5:" + "a" * 32,
                good.replace(":", "%3A"),
                "sha512:" + "a" * 128,
                "sha256:../../x",
                "",
                ":",
                "blake3:" + "a" * 64,
            ]
        )

    def number(self) -> str:
        """A number, or what is nearly one."""
        return str(self.random.choice([*NUMBERS, *map(str, range(20))]))

    def query(self, **values: str) -> str:
        """Some of `values`, and something odd at times, as a query string."""
        parts = [f"{key}={value}" for key, value in values.items() if self.random.random() < 0.7]
        if self.random.random() < 0.1:
            parts.append(
                self.random.choice(["&", "=", "n", "%", "a=%zz", "last=" + "z" * 500, "digest=", "ns=x", "n=1&n=2"])
            )
        self.random.shuffle(parts)
        return "?" + "&".join(parts) if parts else ""

    def descriptor(self, media_type: str = "a/layer") -> dict[str, Any]:
        """Of something, with a size that may be wrong."""
        return {"mediaType": media_type, "digest": self.digest(), "size": self.random.choice([0, 5, 7, 10**12])}

    def manifest(self) -> bytes:
        """An image, index or artifact, at times with something in it that should not be."""
        table: dict[str, Any] = {"schemaVersion": 2}
        if self.random.random() < 0.6:
            table["config"] = self.descriptor("application/vnd.oci.empty.v1+json")
            table["layers"] = [self.descriptor() for _ in range(self.random.randrange(3))]
        else:
            table["manifests"] = [self.descriptor(OCI_MANIFEST) for _ in range(self.random.randrange(3))]
        for key, value in (
            ("mediaType", OCI_MANIFEST if "config" in table else OCI_INDEX),
            ("subject", self.descriptor(OCI_MANIFEST)),
            ("artifactType", "a/artifact"),
            ("annotations", {"a": "b" * self.random.randrange(50)}),
        ):
            if self.random.random() < 0.5:
                table[key] = value
        if self.random.random() < 0.3:
            self._spoil(table)
        data = json.dumps(table).encode()
        if self.random.random() < 0.05:
            data = self.random.choice(
                [data[:-1], b"", b"\xff", data * 2, b"[" * 5000, b'{"a":' + b"9" * 5000 + b"}", b"null"]
            )
        return data

    def _spoil(self, table: dict[str, Any]) -> None:
        value: Any = table
        while isinstance(value, (dict, list)) and value:
            key: Any = self.random.choice(list(value) if isinstance(value, dict) else list(range(len(value))))
            if not isinstance(value[key], (dict, list)) or self.random.random() < 0.4:
                value[key] = self.random.choice(MUTANTS)
                return
            value = value[key]


Asked = tuple[str, str, dict[str, str], Any]


def asked(pool: Pool) -> Asked:
    """A request: method, target, headers, body."""
    make = pool.random.choice([_blob, _blob, _manifest, _manifest, _upload, _upload, _push, _push, _list, _other])
    method, path, headers, body = make(pool)
    if pool.random.random() < 0.08:
        method = pool.random.choice(METHODS)
    if pool.random.random() < 0.05:
        path = path.replace("/v2/", pool.random.choice(["/v2//", "//v2/", "/v1/", "/v2/%2e%2e/", "/V2/", "/v2/./"]))
    if pool.random.random() < 0.1:
        headers = {**headers, "Authorization": pool.random.choice(CREDENTIALS)}
    if body is not None and pool.random.random() < 0.3:
        body = [body[at : at + 3000] for at in range(0, len(body), 3000)]  # chunked
    return method, path.encode("ascii", "replace").decode().replace(" ", "%20"), headers, body


def _name(pool: Pool) -> str:
    return "a" if pool.random.random() < 0.7 else quote(pool.pick(NAMES), safe="/%")


def _blob(pool: Pool) -> Asked:
    headers = {}
    if pool.random.random() < 0.5:
        headers["Range"] = pool.pick(RANGES).format(*(pool.number() for _ in range(4)))
    if pool.random.random() < 0.2:
        headers[pool.random.choice(["If-None-Match", "If-Range", "If-Match"])] = pool.random.choice(
            ['"x"', "*", pool.digest(), ","]
        )
    return pool.pick(["GET", "HEAD", "GET", "DELETE"]), f"/v2/{_name(pool)}/blobs/{pool.digest()}", headers, None


def _manifest(pool: Pool) -> Asked:
    name, body = _name(pool), pool.manifest()
    tag = pool.pick(TAGS)
    kind = pool.random.random()
    if kind < 0.5:
        reference = quote(tag, safe="%") if pool.random.random() < 0.6 else Digest.of(body)
        pool.digests.append(Digest.of(body))
        headers = {"Content-Type": pool.pick(TYPES)} if pool.random.random() < 0.8 else {}
        if pool.random.random() < 0.1:
            headers["If-Match"] = pool.random.choice(["*", f'"{pool.digest()}"', '"', "W/x"])
        return "PUT", f"/v2/{name}/manifests/{reference}{pool.query(tag=quote(pool.pick(TAGS)))}", headers, body
    reference = quote(tag, safe="%") if kind < 0.75 else pool.digest()
    return (
        pool.random.choice(["GET", "HEAD", "GET", "DELETE"]),
        f"/v2/{name}/manifests/{reference}",
        {"Accept": pool.pick(TYPES)},
        None,
    )


def _push(pool: Pool) -> Asked:
    body = bytes([pool.random.randrange(256)]) * pool.random.choice(
        [0, 1, 5, 60, 5000, 100_000 if pool.random.random() < 0.05 else 7]
    )
    digest = Digest.of(body, pool.random.choice(["sha256", "sha256", "sha512"]))
    pool.digests.append(digest)
    kind = pool.random.random()
    if kind < 0.5:
        named = digest if pool.random.random() < 0.9 else pool.digest()
        return "POST", f"/v2/{_name(pool)}/blobs/uploads/?digest={named}", {}, body
    more = {"digest-algorithm": pool.random.choice(["sha256", "sha512", "md5", ""])}
    if kind < 0.75:
        more = {"mount": pool.digest(), "from": _name(pool)}
    return "POST", f"/v2/{_name(pool)}/blobs/uploads/{pool.query(**more)}", {}, b""


def _upload(pool: Pool) -> Asked:
    body = b"x" * pool.random.choice([0, 1, 5, 60, 4000])
    headers = {}
    if pool.random.random() < 0.5:
        headers["Content-Range"] = pool.pick(["{}-{}", "0-4", "0-0", "5-9", "{}", "bytes 0-4/5", "4-0"]).format(
            pool.number(), pool.number()
        )
    session, name = pool.random.choice(pool.sessions[-8:]), "a" if pool.random.random() < 0.8 else _name(pool)
    method = pool.random.choice(["PATCH", "PATCH", "PUT", "GET", "HEAD", "DELETE"])
    query = (
        pool.query(digest=pool.digest() if pool.random.random() < 0.5 else Digest.of(body)) if method == "PUT" else ""
    )
    return method, f"/v2/{name}/blobs/uploads/{session}{query}", headers, body if method in ("PATCH", "PUT") else None


def _list(pool: Pool) -> Asked:
    page = pool.query(n=pool.number(), last=quote(pool.pick(TAGS)))
    tail = pool.random.choice(["tags/list" + page, f"referrers/{pool.digest()}{pool.query(artifactType='a/artifact')}"])
    path = f"/v2/{_name(pool)}/{tail}" if pool.random.random() < 0.8 else f"/v2/_catalog{page}"
    return pool.random.choice(["GET", "GET", "HEAD"]), path, {}, None


def _other(pool: Pool) -> Asked:
    if pool.random.random() < 0.3:
        query = pool.query(scope=pool.random.choice(SCOPES), account="ann", offline_token="true")
        return pool.random.choice(["GET", "POST"]), f"/token{query}", {}, pool.random.choice(FORMS)
    path = pool.random.choice(
        ["/", "/v2/", "/v2", "/token", "/v2/_oci/ext/discover", "/favicon.ico", "/v2/a", "/v2/a/tags/"]
    )
    return pool.random.choice(METHODS), path, {}, None


def check(method: str, reply: Reply, registry: Registry) -> None:
    """That the answer is in the spec's form."""
    assert reply.status < 500, (reply, registry.errors)
    assert reply.headers.get("docker-distribution-api-version") == "registry/2.0"
    if reply.status >= 400 and method != "HEAD":
        assert reply.headers["content-type"] == "application/json", reply
        assert reply.json["errors"], reply
        assert set(reply.codes) <= CODES, reply
    if method == "HEAD" or reply.status in (204, 304):
        assert reply.body == b""


def case(random: random.Random, run: Run) -> None:
    """A new registry, some connections, and BATCH requests for each."""
    log: list[Asked] = []
    store, auth = random.choice(STORES), random.choice(AUTHORIZERS)
    with run.guarded("grammar", lambda: repr(log[-3:])[:3000]), attacked(store, auth=auth()) as registry:
        pool = Pool(random)
        for _ in range(random.choice([1, 2, 5])):
            _converse(registry, pool, run, log)


def _converse(registry: Registry, pool: Pool, run: Run, log: list[Asked]) -> None:
    raw = Raw("127.0.0.1", registry.port)
    try:
        for _ in range(BATCH):
            log.append(asked(pool))
            method, target, headers, body = log[-1]
            reply = raw.ask(method, target, headers, body)
            check(method, reply, registry)
            run.count(reply.status)
            if session := reply.headers.get("docker-upload-uuid"):
                pool.sessions.append(session)
            if not reply.keeps:
                raw.close()
                raw = Raw("127.0.0.1", registry.port)
    finally:
        raw.close()


def main(run: Run) -> None:
    """Case after case."""
    for each in run.cases():
        case(each, run)
