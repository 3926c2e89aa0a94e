"""The endpoints end-1 … end-14 and `_catalog`: Request to Response; what an operation does stands in `repository`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from .content import Content
from .errors import (
    Denied,
    DigestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    NotFound,
    PaginationNumberInvalid,
    RangeInvalid,
    RegistryError,
    SizeInvalid,
    Unauthorized,
    Unsupported,
    of_system,
)
from .manifest import OCI_INDEX
from .ranges import Span, parse_content_range, parse_range
from .reference import Digest, Name, Tag
from .refusal import API_VERSION, answer, refusal
from .repository import Repository, Sessions
from .routes import Route, Target
from .scope import needed, pulling
from .store import Store
from .wire import Abort, Disconnected, Headers, ProtocolError, Request, Response

if TYPE_CHECKING:
    from .auth import Authorizer

MANIFEST_LIMIT = 8 * 1024 * 1024
"""Bytes a manifest may have; the spec asks for 4 MB at least (SPEC E7)."""
CATALOG_LIMIT = 1000
"""The most repositories one may ask for at once, as in Docker's registry (SPEC F6)."""

_COUNT = re.compile(r"[0-9]{1,18}")

Endpoint = Callable[["Api", Request, Route], Response]


class Api:
    """The Handler that answers as the specification says.

    What the operating system refuses the store, such as a full disk, is answered with 507, 503 or 500. Whatever else
    a Store raises beyond the spec's errors is answered with 500 and kept in `errors`: it is a bug of ours.
    """

    def __init__(
        self, store: Store, sessions: Sessions, errors: list[Exception], auth: Authorizer | None = None
    ) -> None:
        self.store = store
        self.auth = auth
        self.sessions = sessions
        self.errors = errors

    def __call__(self, request: Request) -> Response:
        """The answer; never raises but for what ends the connection."""
        try:
            response = self._answer(request)
            response.headers[API_VERSION[0]] = API_VERSION[1]
        except RegistryError as error:
            response = refusal(error)
        except (Abort, Disconnected, ProtocolError):
            raise
        except OSError as error:
            refused = of_system(error)
            response = refusal(refused) if refused else self._failed(error)
        except Exception as error:
            response = self._failed(error)
        return response

    def _failed(self, error: Exception) -> Response:
        """Whatever it is, the client is told and the test will be."""
        self.errors.append(error)
        return refusal(RegistryError(f"tinyreg failed: {error!r}"))

    def _answer(self, request: Request) -> Response:
        target = Target.cut(request.path)
        endpoints = ENDPOINTS.get(target.kind)
        if endpoints is None:
            raise NotFound()
        endpoint = endpoints.get(request.method)
        if endpoint is None:
            allow = ", ".join(sorted(endpoints))
            raise Unsupported(f"{request.method[:20]} is not for this endpoint", headers={"Allow": allow})
        route = Route.of(target)
        if self.auth is not None:
            self.auth.authorize(request, needed(request.method, route))
        return endpoint(self, request, route)

    def _repository(self, route: Route) -> Repository:
        return Repository(self.store, self.sessions, route.name)

    # end-1, end-8 and the catalog

    def base(self, request: Request, route: Route) -> Response:
        """end-1: whether this is a registry."""
        return Response(200, Headers([("Content-Type", "application/json")]), b"{}")

    def catalog(self, request: Request, route: Route) -> Response:
        """`_catalog`: which repositories there are (SPEC F6)."""
        count = _count(request)
        if count is not None and count > CATALOG_LIMIT:
            raise PaginationNumberInvalid(f"n is {CATALOG_LIMIT} at most")
        last = request.first("last") or ""
        names, headers = _page(lambda limit: self.store.repositories(last, limit), count, route)
        return answer({"repositories": names}, headers)

    def list_tags(self, request: Request, route: Route) -> Response:
        """end-8: a repository's tags."""
        repository, last = self._repository(route), request.first("last") or ""
        names, headers = _page(lambda limit: repository.tags(last, limit), _count(request), route)
        return answer({"name": route.name, "tags": names}, headers)

    # end-3, end-7, end-9: manifests

    def get_manifest(self, request: Request, route: Route) -> Response:
        """end-3: the manifest, as it was pushed."""
        manifest = self._repository(route).pull_manifest(route.reference)
        headers = Headers([("Content-Type", manifest.media_type), *_identity(manifest.digest)])
        if _unchanged(request, manifest.digest):
            return Response(304, headers)
        return Response(200, headers, manifest.data)

    def put_manifest(self, request: Request, route: Route) -> Response:
        """end-7: push a manifest under a tag, or under its digest and any number of tags."""
        tags = [Tag.parse(tag) for tag in request.query.get("tag", ())] if isinstance(route.reference, Digest) else []
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower() or None
        data = request.body.read(MANIFEST_LIMIT)
        if data is None:
            raise ManifestTooLarge(f"a manifest may have {MANIFEST_LIMIT} bytes")
        repository = self._repository(route)
        expected = _expected(request, repository, route)
        manifest = repository.push_manifest(route.reference, data, media_type, tags, expected)
        headers = Headers([("Location", Route("manifest", route.name, manifest.digest).path)])
        headers["Docker-Content-Digest"] = manifest.digest
        if tags:
            headers["OCI-Tag"] = ", ".join(tags)
        if manifest.is_known and manifest.subject:
            headers["OCI-Subject"] = manifest.subject.digest
        return Response(201, headers)

    def delete_manifest(self, request: Request, route: Route) -> Response:
        """end-9: delete a tag, or a manifest with all its tags."""
        repository, reference = self._repository(route), route.reference
        if isinstance(reference, Digest):
            repository.delete_manifest(reference)
        else:
            repository.delete_tag(reference)
        return Response(202)

    # end-2, end-10: blobs

    def get_blob(self, request: Request, route: Route) -> Response:
        """end-2: the blob, or the parts of it that a Range asks for (SPEC C6, C7)."""
        repository, digest = self._repository(route), route.digest
        headers = Headers(
            [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes"), *_identity(digest)]
        )
        if request.method == "HEAD" or "if-none-match" in request.headers:
            size = repository.blob_size(digest)
            if _unchanged(request, digest):
                return Response(304, headers)
            if request.method == "HEAD":
                headers["Content-Length"] = str(size)
                return Response(200, headers)
        content, wanted = repository.pull_blob(digest), request.headers.get("range")
        if wanted is not None and request.headers.get("if-range", _quoted(digest)) == _quoted(digest):
            spans = parse_range(wanted, len(content))
            if spans:
                return _partial(content, spans, headers)
        return Response(200, headers, content)

    def delete_blob(self, request: Request, route: Route) -> Response:
        """end-10."""
        self._repository(route).delete_blob(route.digest)
        return Response(202)

    # end-4, end-5, end-6, end-11, end-13, end-14: uploads

    def post_upload(self, request: Request, route: Route) -> Response:
        """end-4 and end-11: start a session, push a blob at once, or mount one from elsewhere."""
        repository = self._repository(route)
        mount, digest = request.first("mount"), request.first("digest")
        if mount is not None and self._mount(request, repository, Digest.parse(mount)):
            return _created(Route("blob", route.name, Digest(mount)))
        if mount is None and digest is not None:
            repository.push_blob(Digest.parse(digest), request.body)
            return _created(Route("blob", route.name, Digest(digest)))
        session = repository.start_upload(request.first("digest-algorithm") or "sha256")
        return _progress(202, Route("upload", route.name, session=session.upload.id), 0)

    def _mount(self, request: Request, repository: Repository, digest: Digest) -> bool:
        """Whether it worked; whatever the reason it does not, the client is to push instead (SPEC D12)."""
        source = request.first("from")
        try:
            sources = self.store.repositories() if source is None else [Name.parse(source)]
        except NameInvalid:
            return False
        return any(self._may_read(request, name) and repository.mount_blob(digest, name) for name in sources)

    def _may_read(self, request: Request, name: Name) -> bool:
        if self.auth is None:
            return True
        try:
            self.auth.authorize(request, pulling(name))
        except (Unauthorized, Denied):
            return False
        return True

    def patch_upload(self, request: Request, route: Route) -> Response:
        """end-5: the next chunk."""
        repository = self._repository(route)
        try:
            start, size = _chunk(request)
            return _progress(202, route, repository.append(route.session, request.body, start, size))
        except RangeInvalid as error:
            raise _standing_there(error, repository, route) from None

    def put_upload(self, request: Request, route: Route) -> Response:
        """end-6: the last chunk, which may be none or all, and the digest of the whole."""
        digest = request.first("digest")
        if digest is None:
            raise DigestInvalid("the query has no digest")
        repository = self._repository(route)
        try:
            start, size = _chunk(request)
            repository.finish_upload(route.session, Digest.parse(digest), request.body, start, size)
        except RangeInvalid as error:
            raise _standing_there(error, repository, route) from None
        return _created(Route("blob", route.name, Digest(digest)))

    def get_upload(self, request: Request, route: Route) -> Response:
        """end-13: how far a session is."""
        return _progress(204, route, self._repository(route).upload_size(route.session))

    def delete_upload(self, request: Request, route: Route) -> Response:
        """end-14."""
        self._repository(route).cancel_upload(route.session)
        return Response(204)

    # end-12

    def get_referrers(self, request: Request, route: Route) -> Response:
        """end-12: what is said about a manifest, whether or not it is there."""
        wanted = request.first("artifactType") or None
        found = self._repository(route).referrers(route.digest, wanted)
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [each.to_json() for each in found]}
        response = answer(index)
        response.headers["Content-Type"] = OCI_INDEX
        if wanted:
            response.headers["OCI-Filters-Applied"] = "artifactType"
        return response


def _reading(endpoint: Endpoint) -> dict[str, Endpoint]:
    return {"GET": endpoint, "HEAD": endpoint}


ENDPOINTS: dict[str, dict[str, Endpoint]] = {
    "base": _reading(Api.base),  # end-1
    "catalog": _reading(Api.catalog),
    "tags": _reading(Api.list_tags),  # end-8a, end-8b
    "manifest": {
        **_reading(Api.get_manifest),  # end-3
        "PUT": Api.put_manifest,  # end-7a, end-7b
        "DELETE": Api.delete_manifest,  # end-9
    },
    "blob": {**_reading(Api.get_blob), "DELETE": Api.delete_blob},  # end-2, end-10
    "uploads": {"POST": Api.post_upload},  # end-4a, end-4b, end-4c, end-11
    "upload": {
        **_reading(Api.get_upload),  # end-13
        "PATCH": Api.patch_upload,  # end-5
        "PUT": Api.put_upload,  # end-6
        "DELETE": Api.delete_upload,  # end-14
    },
    "referrers": _reading(Api.get_referrers),  # end-12a, end-12b
}


def _quoted(digest: Digest) -> str:
    return f'"{digest}"'


def _identity(digest: Digest) -> list[tuple[str, str]]:
    return [("Docker-Content-Digest", digest), ("ETag", _quoted(digest))]


def _entity_tags(value: str) -> set[str]:
    """The tags in If-Match or If-None-Match, whether or not they are quoted or weak (SPEC C5)."""
    return {tag.strip().removeprefix("W/").strip('"') for tag in value.split(",")}


def _unchanged(request: Request, digest: Digest) -> bool:
    value = request.headers.get("if-none-match")
    return value is not None and not _entity_tags(value).isdisjoint({digest, "*"})


def _expected(request: Request, repository: Repository, route: Route) -> set[Digest] | None:
    """What If-Match says the tag should still hold (SPEC C5); None where it says nothing."""
    value = request.headers.get("if-match")
    if value is None:
        return None
    tags = _entity_tags(value)
    if "*" not in tags:
        return {Digest(tag) for tag in tags}
    try:
        return {repository.pull_manifest(route.reference).digest}
    except (ManifestUnknown, NameUnknown):
        return set()


def _count(request: Request) -> int | None:
    """The `n` of a paged list; None where it is to be whole. Raises PaginationNumberInvalid."""
    value = request.first("n")
    if value is None:
        return None
    if not _COUNT.fullmatch(value):
        raise PaginationNumberInvalid("n is a whole number, 0 or more")
    return int(value)


def _page(
    fetch: Callable[[int | None], Sequence[str]], count: int | None, route: Route
) -> tuple[list[str], dict[str, str]]:
    """A page of a list and its Link header, which is there only when more follow (SPEC F3, F5)."""
    found = list(fetch(None if count is None else count + 1))
    if not count or len(found) <= count:
        return found[:count], {}
    query = urlencode({"n": count, "last": found[count - 1]})
    return found[:count], {"Link": f'<{route.path}?{query}>; rel="next"'}


def _created(route: Route) -> Response:
    return Response(201, Headers([("Location", route.path), ("Docker-Content-Digest", route.reference)]))


def _progress(status: int, route: Route, size: int) -> Response:
    """How far an upload is; `0-0` for nothing, too: docker can't read an end before the start (SPEC D5)."""
    return Response(status, Headers(_standing(route, size).items()))


def _standing(route: Route, size: int) -> dict[str, str]:
    return {"Location": route.path, "Range": f"0-{max(0, size - 1)}", "Docker-Upload-UUID": route.session}


def _standing_there(error: RangeInvalid, repository: Repository, route: Route) -> RangeInvalid:
    """The refusal of a chunk, with where the session stands, so that the client can go on (SPEC D7)."""
    error.headers.update(_standing(route, repository.upload_size(route.session)))
    return error


def _chunk(request: Request) -> tuple[int | None, int | None]:
    """Where a chunk starts and its bytes, as far as the client says (SPEC D6). Raises RangeInvalid, SizeInvalid."""
    span = parse_content_range(request.headers.get("content-range"))
    if span is None:
        return None, None
    size = span[1] - span[0]
    if request.body.size not in (None, size):
        raise SizeInvalid(f"Content-Range says {size} bytes, Content-Length {request.body.size}")
    return span[0], size


def _partial(content: Content, spans: list[Span], headers: Headers) -> Response:
    """206 with one part, or with several as RFC 9110 §14.6 frames them."""
    total = len(content)
    if len(spans) == 1:
        start, stop = spans[0]
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{total}"
        return Response(206, headers, content[start:stop])
    boundary = os.urandom(16).hex()
    inner = headers["Content-Type"]
    heads = [
        f"\r\n--{boundary}\r\nContent-Type: {inner}\r\nContent-Range: bytes {start}-{stop - 1}/{total}\r\n\r\n".encode()
        for start, stop in spans
    ]
    end = f"\r\n--{boundary}--\r\n".encode()
    headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    headers["Content-Length"] = str(sum(map(len, heads)) + sum(stop - start for start, stop in spans) + len(end))
    return Response(206, headers, _parts(content, spans, heads, end))


def _parts(content: Content, spans: list[Span], heads: list[bytes], end: bytes) -> Iterator[Content]:
    for head, (start, stop) in zip(heads, spans, strict=True):
        yield head
        yield content[start:stop]
    yield end
