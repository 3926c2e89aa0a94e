"""What registries do differently where the spec lets them: switches over the Handler and the Store's rules.

The core knows none of them. `Registry(quirks=["no-referrers", page_limit(50)])` takes names of QUIRKS, or Quirks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from .errors import ManifestUnknown, NotFound, Unsupported
from .manifest import INDEX_TYPES
from .refusal import refusal
from .routes import Target
from .store.checked import RULES, Rule, known_type, missing_blobs, missing_children
from .wire import Handler, Request, Response


def _same(inner: Handler) -> Handler:
    return inner


@dataclass(frozen=True)
class Quirk:
    """A difference: a layer `over` the Handler, `rules` on manifests of its own, and those it does `without`."""

    name: str
    over: Callable[[Handler], Handler] = _same
    rules: tuple[Rule, ...] = ()
    without: tuple[Rule, ...] = ()


def _no_referrers(inner: Handler) -> Handler:
    def handle(request: Request) -> Response:
        if Target.cut(request.path).kind == "referrers":
            return refusal(NotFound("the referrers API is not supported"))
        response = inner(request)
        response.headers.pop("OCI-Subject", None)
        return response

    return handle


def _no_delete(inner: Handler) -> Handler:
    def handle(request: Request) -> Response:
        if request.method == "DELETE" and Target.cut(request.path).kind in ("manifest", "blob"):
            return refusal(Unsupported("deleting is not supported", headers={"Allow": "GET, HEAD"}))
        return inner(request)

    return handle


def _strict_accept(inner: Handler) -> Handler:
    def handle(request: Request) -> Response:
        response = inner(request)
        if _is_manifest(request, response) and not _accepts(request, response.headers["Content-Type"]):
            return refusal(ManifestUnknown(f"the manifest is of type {response.headers['Content-Type']}"))
        return response

    return handle


def _list_to_image(inner: Handler) -> Handler:
    def handle(request: Request) -> Response:
        response = inner(request)
        target = Target.cut(request.path)
        media_type = response.headers.get("content-type")
        # Never for a digest: the bytes would not be what it names.
        if ":" in target.reference or not _is_manifest(request, response) or media_type not in INDEX_TYPES:
            return response
        if _accepts(request, media_type):
            return response
        for child in json.loads(bytes(response.body)).get("manifests", ()):  # type: ignore[arg-type]
            platform = child.get("platform") or {}
            if (platform.get("os"), platform.get("architecture")) == ("linux", "amd64"):
                return inner(replace(request, path=f"/v2/{target.name}/manifests/{child['digest']}"))
        return response

    return handle


def page_limit(most: int) -> Quirk:
    """Lists of tags and repositories come in pages of `most` at most, asked for or not (SPEC F5)."""

    def over(inner: Handler) -> Handler:
        def handle(request: Request) -> Response:
            asked = request.first("n") or str(most)
            if Target.cut(request.path).kind in ("tags", "catalog") and asked.isdecimal() and int(asked) >= most:
                request = replace(request, query={**request.query, "n": [str(most)]})
            return inner(request)

        return handle

    return Quirk(f"page-limit={most}", over)


QUIRKS = {
    quirk.name: quirk
    for quirk in (
        Quirk("no-referrers", _no_referrers),  # SPEC G6
        Quirk("no-delete", _no_delete),  # SPEC H4
        Quirk("known-types-only", rules=(known_type,)),  # SPEC E4
        Quirk("strict-accept", _strict_accept),  # SPEC C4: as Docker's registry does for OCI types
        Quirk("list-to-image", _list_to_image),  # SPEC C4: a manifest list's linux/amd64 image, to older clients
        Quirk("sparse-indexes", without=(missing_children,)),  # SPEC E6
        Quirk("unchecked-manifests", without=(missing_blobs, missing_children)),  # SPEC E6
    )
}


def rules(quirks: Iterable[Quirk]) -> list[Rule]:
    """The rules on manifests that a registry with these quirks has."""
    without = {rule for quirk in quirks for rule in quirk.without}
    return [*(rule for rule in RULES if rule not in without), *(rule for quirk in quirks for rule in quirk.rules)]


def find(quirks: Iterable[str | Quirk]) -> list[Quirk]:
    """The Quirks that are meant. Raises ValueError for an unknown name."""
    if isinstance(quirks, str):
        raise TypeError(f"quirks={quirks!r}: a list of names, [{quirks!r}]")
    found = []
    for quirk in quirks:
        if isinstance(quirk, str) and quirk not in QUIRKS:
            raise ValueError(f"quirk {quirk!r} is not known: there are {', '.join(QUIRKS)}")
        found.append(QUIRKS[quirk] if isinstance(quirk, str) else quirk)
    return found


def _is_manifest(request: Request, response: Response) -> bool:
    return response.status == 200 and request.method in ("GET", "HEAD") and Target.cut(request.path).kind == "manifest"


def _accepts(request: Request, media_type: str) -> bool:
    """Whether the Accept header, which must be there, has `media_type` (RFC 9110 §12.5.1)."""
    for item in request.headers.get("accept", "").split(","):
        accepted, *parameters = (part.strip().lower() for part in item.split(";"))
        if any(part.partition("=")[0] == "q" and not part.partition("=")[2].strip("0.") for part in parameters):
            continue
        if accepted in (media_type, "*/*", f"{media_type.partition('/')[0]}/*"):
            return True
    return False
