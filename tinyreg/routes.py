"""Method and path to Route, and back; what an endpoint does with it stands in `api`.

Paths are cut from the right: a repository's name may have any number of segments, and a segment may itself be
`blobs` or `manifests` (SPEC A1).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple, get_args
from urllib.parse import quote

from .errors import NotFound
from .reference import Digest, Name, Reference, Tag, parse_reference

Kind = Literal["base", "catalog", "tags", "manifest", "blob", "uploads", "upload", "referrers", "token", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Target(NamedTuple):
    """A path cut into its parts, nothing of it looked at: what faults and the log go by."""

    kind: Kind
    name: str = ""
    reference: str = ""

    @classmethod
    @lru_cache(maxsize=256)  # who faults, answers and writes down one request: each asks
    def cut(cls, path: str) -> Target:
        """The parts of a path, percent-decoded; every path has some."""
        if path in ("/v2/", "/v2", "/"):
            return cls("base")
        if path[:4] != "/v2/":
            return cls("token" if path == "/token" else "other")
        rest = path[4:]
        if rest == "_catalog":
            return cls("catalog")
        head, slash, last = rest.rpartition("/")
        if head.endswith("/blobs/uploads"):
            return cls("upload", head[:-14], last) if last else cls("uploads", head[:-14])
        if head.endswith("/blobs") and last == "uploads":
            return cls("uploads", head[:-6])
        for suffix, kind in _SUFFIXES:
            if head.endswith(suffix):
                return cls(kind, head[: -len(suffix)], last)
        return cls("tags", head[:-5]) if slash and last == "list" and head.endswith("/tags") else cls("other")


_SUFFIXES: tuple[tuple[str, Kind], ...] = (
    ("/manifests", "manifest"),
    ("/blobs", "blob"),
    ("/referrers", "referrers"),
)


NO_NAME, NO_REFERENCE = Name(""), Tag("")


class Route(NamedTuple):
    """An endpoint and what it is about, each part parsed; `session` is an upload's id."""

    kind: Kind
    name: Name = NO_NAME
    reference: Reference = NO_REFERENCE
    session: str = ""

    @classmethod
    def parse(cls, path: str) -> Route:
        """Raises NotFound for what is no endpoint's path; NameInvalid, TagInvalid, DigestInvalid for its parts."""
        return cls.of(Target.cut(path))

    @classmethod
    @lru_cache(maxsize=256)
    def of(cls, target: Target) -> Route:
        """The Route that a path's parts mean. Raises what `parse` raises."""
        kind, last = target.kind, target.reference
        if kind in ("base", "catalog", "token"):
            return cls(kind)
        if kind == "other":
            raise NotFound()
        name = Name.parse(target.name)
        if kind == "manifest":
            return cls(kind, name, parse_reference(last))
        if kind in ("blob", "referrers"):
            return cls(kind, name, Digest.parse(last))
        return cls(kind, name, session=last)

    @property
    def digest(self) -> Digest:
        """The reference of a blob or of a referrers list."""
        return Digest(self.reference)

    @property
    def path(self) -> str:
        """The path that `parse` makes this Route of."""
        if self.kind in _FIXED:
            return _FIXED[self.kind]
        last = quote(self.session, safe="") if self.kind == "upload" else self.reference
        return f"/v2/{self.name}/{_WITHIN[self.kind].format(last)}"


_WITHIN = {
    "tags": "tags/list",
    "manifest": "manifests/{}",
    "blob": "blobs/{}",
    "referrers": "referrers/{}",
    "uploads": "blobs/uploads/",
    "upload": "blobs/uploads/{}",
}
_FIXED = {"base": "/v2/", "catalog": "/v2/_catalog", "token": "/token"}
