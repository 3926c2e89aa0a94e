"""Paths cut from the right, and back."""

from __future__ import annotations

import pytest

from tinyreg.errors import DigestInvalid, NameInvalid, NotFound, TagInvalid
from tinyreg.reference import Digest, Name, Tag
from tinyreg.routes import KINDS, Kind, Route, Target

SHA = "sha256:" + "a" * 64
LONG = "sha512:" + "b" * 128


@pytest.mark.parametrize(
    ("path", "kind", "name", "reference"),
    [
        ("/", "base", "", ""),
        ("/v2", "base", "", ""),
        ("/v2/", "base", "", ""),
        ("/v2/_catalog", "catalog", "", ""),
        ("/token", "token", "", ""),
        ("/v2/a/tags/list", "tags", "a", ""),
        ("/v2/a/b/c/tags/list", "tags", "a/b/c", ""),
        ("/v2/a/manifests/1.0", "manifest", "a", "1.0"),
        (f"/v2/a/manifests/{SHA}", "manifest", "a", SHA),
        (f"/v2/a/blobs/{SHA}", "blob", "a", SHA),
        (f"/v2/a/referrers/{SHA}", "referrers", "a", SHA),
        ("/v2/a/blobs/uploads/", "uploads", "a", ""),
        ("/v2/a/blobs/uploads", "uploads", "a", ""),
        ("/v2/a/blobs/uploads/id", "upload", "a", "id"),
        # A1: a segment may be one of the words.
        ("/v2/blobs/blobs/uploads/", "uploads", "blobs", ""),
        ("/v2/blobs/uploads/blobs/uploads/id", "upload", "blobs/uploads", "id"),
        ("/v2/a/blobs/uploads/manifests/latest", "manifest", "a/blobs/uploads", "latest"),
        ("/v2/manifests/manifests/manifests", "manifest", "manifests", "manifests"),
        ("/v2/tags/list/tags/list", "tags", "tags/list", ""),
        ("/v2/tags/manifests/list", "manifest", "tags", "list"),
        ("/v2/referrers/referrers/x", "referrers", "referrers", "x"),
        ("/v2/uploads/blobs/uploads/blobs/uploads", "uploads", "uploads/blobs/uploads", ""),
        # Nothing of the parts is looked at.
        ("/v2/UPPER/../manifests/a b", "manifest", "UPPER/..", "a b"),
        ("/v2/a/manifests/", "manifest", "a", ""),
    ],
)
def test_a_path_is_cut_from_the_right(path: str, kind: Kind, name: str, reference: str) -> None:
    assert Target.cut(path) == Target(kind, name, reference)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "*",
        "/v1/",
        "/v2x",
        "/token/",
        "/v2/a",
        "/v2//",
        "/v2/a/",
        "/v2/a/tags",
        "/v2/a/tags/",
        "/v2/a/tags/list/",
        "/v2/a/list",
        "/v2/tags/list",
        "/v2/manifests/latest",
        "/v2/blobs/uploads/",
        "/v2/_catalog/",
        "/v2/_oci/ext/discover",
        "/v2/a/_ext/x",
    ],
)
def test_what_is_no_endpoints_path_is_other_and_not_found(path: str) -> None:
    assert Target.cut(path) == Target("other")
    with pytest.raises(NotFound):
        Route.parse(path)


@pytest.mark.parametrize(
    ("route", "path"),
    [
        (Route("base"), "/v2/"),
        (Route("catalog"), "/v2/_catalog"),
        (Route("token"), "/token"),
        (Route("tags", Name("a/b")), "/v2/a/b/tags/list"),
        (Route("manifest", Name("a"), Tag("1.0")), "/v2/a/manifests/1.0"),
        (Route("manifest", Name("a"), Digest(LONG)), f"/v2/a/manifests/{LONG}"),
        (Route("blob", Name("a/blobs/uploads"), Digest(SHA)), f"/v2/a/blobs/uploads/blobs/{SHA}"),
        (Route("referrers", Name("a"), Digest(SHA)), f"/v2/a/referrers/{SHA}"),
        (Route("uploads", Name("a")), "/v2/a/blobs/uploads/"),
        (Route("upload", Name("a"), session="0123abcd"), "/v2/a/blobs/uploads/0123abcd"),
    ],
)
def test_parsing_a_route_is_the_inverse_of_writing_its_path(route: Route, path: str) -> None:
    assert route.path == path
    assert Route.parse(path) == route


def test_every_kind_but_other_has_a_path_that_gives_it_back() -> None:
    made: dict[Kind, Route] = {
        kind: Route(kind) if kind in ("base", "catalog", "token") else Route(kind, Name("a"), Digest(SHA), "s")
        for kind in KINDS
        if kind != "other"
    }
    assert {kind: Route.parse(route.path).kind for kind, route in made.items()} == {kind: kind for kind in made}


def test_the_parts_of_a_route_are_typed() -> None:
    tagged, named = Route.parse("/v2/a/manifests/x"), Route.parse(f"/v2/a/manifests/{SHA}")
    assert (type(tagged.name), type(tagged.reference), type(named.reference)) == (Name, Tag, Digest)
    assert Route.parse(f"/v2/a/blobs/{SHA}").digest.algorithm == "sha256"


def test_a_sessions_id_is_quoted_in_a_path() -> None:
    assert Route("upload", Name("a"), session="x/y\r\n").path == "/v2/a/blobs/uploads/x%2Fy%0D%0A"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v2/UPPER/manifests/latest", NameInvalid),
        ("/v2/a/../b/manifests/latest", NameInvalid),
        ("/v2//manifests/latest", NameInvalid),
        ("/v2/a\n/tags/list", NameInvalid),
        (f"/v2/A/blobs/{SHA}", NameInvalid),
        ("/v2/A/blobs/uploads/", NameInvalid),
        ("/v2/A/blobs/uploads/id", NameInvalid),
        (f"/v2/A/referrers/{SHA}", NameInvalid),
        ("/v2/a/manifests/", TagInvalid),
        ("/v2/a/manifests/-x", TagInvalid),
        ("/v2/a/manifests/latest\n", TagInvalid),
        ("/v2/a/manifests/sha256:x", DigestInvalid),
        ("/v2/a/blobs/latest", DigestInvalid),
        (f"/v2/a/blobs/{SHA.upper()}", DigestInvalid),
        ("/v2/a/referrers/sha256:", DigestInvalid),
    ],
)
def test_a_malformed_part_is_named(path: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        Route.parse(path)
