"""A store that is another registry, spoken to over HTTP; what it answers is kept nowhere."""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlencode, urljoin, urlsplit

from .. import mask
from ..content import CHUNK, Content, FileSlice, OpenFile, chunks
from ..errors import BlobUnknown, ManifestUnknown, NameUnknown, PreconditionFailed, Unavailable
from ..manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Descriptor, Manifest
from ..reference import Digest, Name, Tag
from .memory import SPILL, MemoryUpload

ACCEPT = ", ".join((OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, "*/*;q=0.1"))
TIMEOUT = 60.0
"""Seconds that the other registry may be silent."""
_REDIRECTS = 5
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')


def _parsed(url: str) -> SplitResult:
    """The parts of a registry's URL. Raises ValueError, which does not tell the password."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no port, or no IPv6 address; the error quotes what may be a password
        good = False
    if not good:
        raise ValueError(f"{mask.url(url)!r} is no registry's URL: write http(s)://host[:port]") from None
    return parts


@dataclass
class Reply:
    """What the other registry answered; its body is read by whoever wants it."""

    status: int
    headers: http.client.HTTPMessage
    body: http.client.HTTPResponse = field(repr=False)

    def read(self) -> bytes:
        """All of the body."""
        return self.body.read()


class RemoteStore:
    """The registry at `url`: `http(s)://[user:password@]host[:port]`.

    It logs in with Basic or Bearer as the other side asks. What it refuses with 404 is unknown; whatever else goes
    wrong is Unavailable, with what was said. Uploads are kept here, in memory or a temporary file, until they are
    whole. `clear` raises Unavailable: other people's content is not ours to forget.
    """

    def __init__(self, url: str, *, context: ssl.SSLContext | None = None, spill: int = SPILL) -> None:
        parts = _parsed(url)
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self.spill = spill
        self._context = context
        self._credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
        self._tokens: dict[str, tuple[str, float]] = {}
        self._uploads: set[MemoryUpload] = set()
        self._lock = Lock()

    def reach(self) -> None:
        """Ask whether it is there. Raises Unavailable where it does not answer, or refuses us."""
        with self._ask("GET", "/v2/"):
            pass

    def repositories(self, after: str = "", limit: int | None = None) -> list[Name]:
        return [Name.parse(name) for name in self._pages("/v2/_catalog", "repositories", after, limit)]

    def blob_size(self, name: Name, digest: Digest) -> int:
        with self._ask("HEAD", f"/v2/{name}/blobs/{digest}") as reply:
            if reply.status == 404:
                raise BlobUnknown(detail={"digest": digest})
            return int(reply.headers.get("Content-Length", 0))

    def blob(self, name: Name, digest: Digest) -> Content:
        with self._ask("GET", f"/v2/{name}/blobs/{digest}") as reply:
            if reply.status == 404:
                raise BlobUnknown(detail={"digest": digest})
            return self._keep(reply)

    def upload(self, name: Name, algorithm: str = "sha256") -> MemoryUpload:
        upload = MemoryUpload(self, name, algorithm)
        with self._lock:
            self._uploads.add(upload)
        return upload

    def put_blob(self, name: Name, digest: Digest, content: Content) -> None:
        with self._ask("POST", f"/v2/{name}/blobs/uploads/") as reply:
            location = urljoin(f"{self.url}/", reply.headers.get("Location", ""))
        query = f"{'&' if '?' in location else '?'}digest={quote(digest, safe='')}"
        with self._ask("PUT", location + query, content, {"Content-Type": "application/octet-stream"}):
            pass

    def mount(self, name: Name, digest: Digest, source: Name | None) -> None:
        query = urlencode({"mount": digest, **({"from": source} if source else {})})
        with self._ask("POST", f"/v2/{name}/blobs/uploads/?{query}") as reply:
            if reply.status == 201:
                return
            session = reply.headers.get("Location", "")
        with self._ask("DELETE", session):
            raise BlobUnknown(detail={"digest": digest})

    def delete_blob(self, name: Name, digest: Digest) -> None:
        with self._ask("DELETE", f"/v2/{name}/blobs/{digest}") as reply:
            if reply.status == 404:
                raise BlobUnknown(detail={"digest": digest})

    def manifest(self, name: Name, digest: Digest) -> Manifest:
        with self._manifest("GET", name, digest) as reply:
            return Manifest(reply.read(), digest, reply.headers.get("Content-Type", ""))

    def put_manifest(
        self, name: Name, manifest: Manifest, tags: Sequence[Tag] = (), expected: Collection[Digest] | None = None
    ) -> None:
        if expected is not None and any(self._named(name, tag) not in expected for tag in tags):
            raise PreconditionFailed
        left = list(tags)
        if not tags or manifest.digest.algorithm != "sha256":
            # Under a tag alone the other side would choose the digest (SPEC E2, E9).
            taken = self._put(name, manifest, f"{manifest.digest}?{urlencode([('tag', tag) for tag in tags])}")
            left = [tag for tag in tags if tag not in taken]
        for tag in left:
            self._put(name, manifest, tag)

    def _put(self, name: Name, manifest: Manifest, reference: str) -> set[str]:
        """Push the manifest; the tags that were made besides."""
        path = f"/v2/{name}/manifests/{reference.rstrip('?')}"
        with self._ask("PUT", path, manifest.data, {"Content-Type": manifest.media_type}) as reply:
            return {tag.strip() for tag in reply.headers.get("OCI-Tag", "").split(",")}

    def delete_manifest(self, name: Name, digest: Digest) -> None:
        with self._manifest("DELETE", name, digest):
            pass

    def resolve(self, name: Name, tag: Tag) -> Digest:
        with self._manifest("GET", name, tag) as reply:
            stated = reply.headers.get("Docker-Content-Digest")
            return Digest.parse(stated) if stated else Digest.of(reply.read())

    def tags(self, name: Name, after: str = "", limit: int | None = None) -> list[Tag]:
        return [Tag.parse(tag) for tag in self._pages(f"/v2/{name}/tags/list", "tags", after, limit)]

    def delete_tag(self, name: Name, tag: Tag) -> None:
        with self._manifest("DELETE", name, tag):
            pass

    def referrers(self, name: Name, digest: Digest) -> list[Descriptor]:
        with self._ask("GET", f"/v2/{name}/referrers/{digest}") as reply:
            if reply.status == 404:
                return []
            return [Descriptor.from_json(each) for each in json.loads(reply.read()).get("manifests") or ()]

    def clear(self) -> None:
        raise Unavailable(f"{self.url} is not ours to clear")

    def close(self) -> None:
        with self._lock:
            uploads = list(self._uploads)
        for upload in uploads:
            upload.cancel()

    def forget(self, upload: MemoryUpload) -> None:
        """An upload is over."""
        with self._lock:
            self._uploads.discard(upload)

    def _named(self, name: Name, tag: Tag) -> Digest | None:
        try:
            return self.resolve(name, tag)
        except (ManifestUnknown, NameUnknown):
            return None

    @contextmanager
    def _manifest(self, method: str, name: Name, reference: str) -> Iterator[Reply]:
        with self._ask(method, f"/v2/{name}/manifests/{reference}", headers={"Accept": ACCEPT}) as reply:
            if reply.status == 404:
                raise ManifestUnknown(detail={"reference": reference})
            yield reply

    def _pages(self, path: str, key: str, after: str, limit: int | None) -> list[str]:
        """A paged list, followed to its end or to `limit`."""
        query: dict[str, Any] = {**({"last": after} if after else {}), **({} if limit is None else {"n": limit})}
        found: list[str] = []
        target = f"{path}?{urlencode(query)}" if query else path
        while target and (limit is None or len(found) < limit):
            with self._ask("GET", target) as reply:
                if reply.status == 404:
                    raise NameUnknown
                found += json.loads(reply.read()).get(key) or []
                match = _NEXT.search(reply.headers.get("Link", ""))
                target = urljoin(target, match[1]) if match else ""
        return found[:limit]

    def _keep(self, reply: Reply) -> Content:
        size = int(reply.headers.get("Content-Length", 0))
        if size < self.spill:
            return reply.read()
        file = tempfile.TemporaryFile(prefix="tinyreg-")  # noqa: SIM115 - OpenFile closes it
        while data := reply.body.read(CHUNK):
            file.write(data)
        file.flush()
        return FileSlice(OpenFile(file), 0, file.tell())

    @contextmanager
    def _ask(
        self, method: str, target: str, body: Content = b"", headers: Mapping[str, str] | None = None
    ) -> Iterator[Reply]:
        """The answer to a request, redirects followed and logged in where that is asked. Raises Unavailable."""
        url = urljoin(f"{self.url}/", target)
        scope = self._scope(url)
        with self._send(method, url, body, {**(headers or {}), **self._authorization(scope)}) as reply:
            if reply.status != 401:
                yield self._checked(method, url, reply)
                return
            challenge = reply.headers.get("WWW-Authenticate", "")
        self._log_in(scope, challenge)
        with self._send(method, url, body, {**(headers or {}), **self._authorization(scope)}) as reply:
            yield self._checked(method, url, reply)

    @staticmethod
    def _checked(method: str, url: str, reply: Reply) -> Reply:
        if reply.status < 400 or reply.status == 404:
            return reply
        said = reply.read()[:500].decode(errors="replace")
        raise Unavailable(f"{method} {mask.url(url)} was answered with {reply.status}: {said}")

    @contextmanager
    def _send(self, method: str, url: str, body: Content, headers: Mapping[str, str]) -> Iterator[Reply]:
        origin = urlsplit(url).netloc
        for _ in range(_REDIRECTS):
            parts = urlsplit(url)
            connection: http.client.HTTPConnection
            if parts.scheme == "https":
                connection = http.client.HTTPSConnection(parts.netloc, timeout=TIMEOUT, context=self._context)
            else:
                connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
            fields = {**headers, "Content-Length": str(len(body))}
            if parts.netloc != origin:  # credentials are not for where we are sent (SPEC A9)
                fields.pop("Authorization", None)
            try:
                try:
                    connection.request(method, f"{parts.path}?{parts.query}".rstrip("?"), chunks(body), fields)
                    response = connection.getresponse()
                except (OSError, http.client.HTTPException) as error:
                    raise Unavailable(f"{self.url} does not answer: {error!r}") from error
                if response.status not in (301, 302, 303, 307, 308) or method not in ("GET", "HEAD"):
                    yield Reply(response.status, response.headers, response)
                    return
                url = urljoin(url, response.headers.get("Location", ""))
            finally:
                connection.close()
        raise Unavailable(f"{self.url} redirects without an end")

    @staticmethod
    def _scope(url: str) -> str:
        match = re.match(r"/v2/(.+?)/(?:manifests|blobs|tags|referrers)/", urlsplit(url).path)
        return f"repository:{match[1]}:pull,push,delete" if match else "registry:catalog:*"

    def _authorization(self, scope: str) -> dict[str, str]:
        token, end = self._tokens.get(scope, ("", 0.0))
        return {"Authorization": token} if time.monotonic() < end else {}

    def _log_in(self, scope: str, challenge: str) -> None:
        """Do as a WWW-Authenticate header says (SPEC K2, K3, K6)."""
        scheme, _, rest = challenge.partition(" ")
        basic = "Basic " + base64.b64encode(self._credentials.encode()).decode()
        if scheme.lower() != "bearer":
            self._tokens[scope] = basic, float("inf")
            return
        said = dict(_PARAMETER.findall(rest))
        realm = urlsplit(said.get("realm", ""))
        query = parse_qs(realm.query) | {"service": [said.get("service", "")], "scope": [said.get("scope") or scope]}
        url = realm._replace(query=urlencode(query, doseq=True)).geturl()
        with self._send("GET", url, b"", {"Authorization": basic} if self._credentials else {}) as reply:
            answer = json.loads(self._checked("GET", url, reply).read())
        token = answer.get("token") or answer.get("access_token") or ""
        self._tokens[scope] = f"Bearer {token}", time.monotonic() + answer.get("expires_in", 60) - 5
