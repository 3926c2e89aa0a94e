"""Each switch changes what SPEC.md says it changes, and nothing without it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tinyreg import Registry
from tinyreg.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tinyreg.quirks import QUIRKS, page_limit
from tinyreg.reference import Digest

Make = Callable[..., Registry]
EMPTY = "sha256:" + "0" * 64


class Answer(NamedTuple):
    status: int
    headers: Any
    body: bytes


def ask(registry: Registry, method: str, path: str, data: Any = None, **headers: str) -> Answer:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(registry.url + path, data, fields, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())


def image(media_type: str = OCI_MANIFEST, **more: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, **more}).encode()


def push(registry: Registry, tag: str, data: bytes) -> Answer:
    media_type = json.loads(data)["mediaType"]
    return ask(registry, "PUT", f"/v2/app/manifests/{tag}", data, Content_Type=media_type)


def refers(digest: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1, **more}


def test_no_referrers_is_a_plain_404_and_no_oci_subject(make_registry: Make) -> None:  # G6
    subject = image(subject=refers(EMPTY))
    without, with_ = make_registry(quirks=["no-referrers"]), make_registry()
    assert push(without, "1", subject).headers["OCI-Subject"] is None
    assert ask(without, "GET", f"/v2/app/referrers/{EMPTY}").status == 404
    assert push(with_, "1", subject).headers["OCI-Subject"] == EMPTY
    assert ask(with_, "GET", f"/v2/app/referrers/{EMPTY}").status == 200


def test_no_delete_answers_405_for_manifests_and_blobs_but_lets_uploads_be_cancelled(make_registry: Make) -> None:  # H4
    registry = make_registry(quirks=["no-delete"])
    push(registry, "1", image())
    for path in ("/v2/app/manifests/1", f"/v2/app/blobs/{EMPTY}"):
        answer = ask(registry, "DELETE", path)
        assert (answer.status, json.loads(answer.body)["errors"][0]["code"]) == (405, "UNSUPPORTED")
        assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    location = ask(registry, "POST", "/v2/app/blobs/uploads/").headers["Location"]
    assert ask(registry, "DELETE", location).status == 204
    assert ask(make_registry(), "DELETE", f"/v2/app/blobs/{EMPTY}").status == 404


def test_known_types_only_refuses_others(make_registry: Make) -> None:  # E4
    strict = make_registry(quirks=["known-types-only"])
    assert push(strict, "1", image("application/x+json")).status == 400
    assert push(strict, "1", image()).status == 201
    assert push(make_registry(), "1", image("application/x+json")).status == 201


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ({}, 404),
        ({"Accept": DOCKER_MANIFEST}, 404),
        ({"Accept": OCI_MANIFEST}, 200),
        ({"Accept": f"{DOCKER_MANIFEST} , {OCI_MANIFEST};q=0.5"}, 200),
        ({"Accept": f"{OCI_MANIFEST};q=0.0"}, 404),
        ({"Accept": "*/*"}, 200),
        ({"Accept": "application/*"}, 200),
        ({"Accept": "text/*"}, 404),
    ],
    ids=str,
)
def test_strict_accept_hides_what_the_client_does_not_take(  # C4
    make_registry: Make, accept: dict[str, str], status: int
) -> None:
    strict, lenient = make_registry(quirks=["strict-accept"]), make_registry()
    for registry in (strict, lenient):
        push(registry, "1", image())
    assert ask(strict, "GET", "/v2/app/manifests/1", **accept).status == status
    assert ask(strict, "HEAD", "/v2/app/manifests/1", **accept).status == status
    assert ask(lenient, "GET", "/v2/app/manifests/1", **accept).status == 200


@pytest.fixture
def multi(make_registry: Make) -> tuple[Registry, bytes, bytes]:
    """A registry with `list-to-image`, its linux/amd64 image, and the list around it, tagged `multi`."""
    registry = make_registry(quirks=["list-to-image"])
    amd, arm = image(DOCKER_MANIFEST, n=1), image(DOCKER_MANIFEST, n=2)
    children = []
    for data, architecture in ((arm, "arm64"), (amd, "amd64")):
        push(registry, Digest.of(data), data)
        platform = {"os": "linux", "architecture": architecture}
        children.append(refers(Digest.of(data), platform=platform))
    whole = image(DOCKER_LIST, manifests=children)
    push(registry, "multi", whole)
    return registry, amd, whole


def test_list_to_image_gives_an_old_client_the_amd64_image(multi: tuple[Registry, bytes, bytes]) -> None:  # C4
    registry, amd, _ = multi
    answer = ask(registry, "GET", "/v2/app/manifests/multi", Accept=DOCKER_MANIFEST)
    assert (answer.body, answer.headers["Docker-Content-Digest"]) == (amd, Digest.of(amd))


def test_list_to_image_gives_the_list_to_who_takes_it_or_asks_by_digest(multi: tuple[Registry, bytes, bytes]) -> None:
    registry, _, whole = multi
    assert ask(registry, "GET", "/v2/app/manifests/multi", Accept=f"{DOCKER_MANIFEST}, {DOCKER_LIST}").body == whole
    assert ask(registry, "GET", f"/v2/app/manifests/{Digest.of(whole)}", Accept=DOCKER_MANIFEST).body == whole


def test_list_to_image_gives_the_list_where_it_has_no_such_image(make_registry: Make) -> None:
    registry = make_registry(quirks=["list-to-image"])
    whole = image(OCI_INDEX, manifests=[])
    push(registry, "multi", whole)
    assert ask(registry, "GET", "/v2/app/manifests/multi", Accept=DOCKER_MANIFEST).body == whole


@pytest.mark.parametrize(
    ("quirks", "image_status", "index_status"),
    [([], 400, 400), (["sparse-indexes"], 400, 201), (["unchecked-manifests"], 201, 201)],
    ids=["none", "sparse-indexes", "unchecked-manifests"],
)
def test_what_must_be_pushed_first_is_a_switch(  # E6
    make_registry: Make, quirks: list[str], image_status: int, index_status: int
) -> None:
    registry = make_registry(quirks=quirks)
    answer = push(registry, "image", image(layers=[refers(EMPTY)]))
    assert answer.status == image_status
    if image_status == 400:
        error = json.loads(answer.body)["errors"][0]
        assert (error["code"], error["detail"]) == ("MANIFEST_BLOB_UNKNOWN", {"digest": EMPTY})
    assert push(registry, "index", image(OCI_INDEX, manifests=[refers(EMPTY)])).status == index_status


def test_page_limit_pages_lists_that_nobody_asked_to_be_paged(make_registry: Make) -> None:  # F5
    registry = make_registry(quirks=[page_limit(2)])
    for tag in "abc":
        push(registry, tag, image())
    first = ask(registry, "GET", "/v2/app/tags/list")
    assert (json.loads(first.body)["tags"], first.headers["Link"]) == (
        ["a", "b"],
        '</v2/app/tags/list?n=2&last=b>; rel="next"',
    )
    assert json.loads(ask(registry, "GET", "/v2/app/tags/list?n=1").body)["tags"] == ["a"]
    assert json.loads(ask(registry, "GET", "/v2/app/tags/list?n=2&last=b").body)["tags"] == ["c"]
    assert ask(registry, "GET", "/v2/app/tags/list?n=-1").status == 400
    assert ask(registry, "GET", "/v2/app/manifests/a").status == 200


def test_quirks_go_together_and_have_their_names() -> None:
    assert all(name == quirk.name for name, quirk in QUIRKS.items())
    assert Registry(quirks=[*QUIRKS, page_limit(1)])
