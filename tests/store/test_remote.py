"""Stores over other registries: a window, a cache, a prefix; the other side is a tinyreg of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.asking import ask
from tinyreg import Basic, MemoryStore, Registry, Token
from tinyreg.content import FileSlice
from tinyreg.errors import BlobUnknown, DigestInvalid, ManifestUnknown, NameUnknown, PreconditionFailed, Unavailable
from tinyreg.manifest import OCI_MANIFEST, Manifest
from tinyreg.quirks import page_limit
from tinyreg.reference import Digest, Name, Tag
from tinyreg.store.prefixed import Prefixed
from tinyreg.store.pullthrough import PullThrough
from tinyreg.store.remote import RemoteStore

Make = Callable[..., Registry]
APP, OTHER = Name("team/app"), Name("other")
HELLO = Digest.of(b"hello")
ABSENT = Digest.of(b"absent")


@pytest.fixture
def real(registry: Registry) -> Registry:
    """The other side, with an image."""
    registry.push_image("team/app:1")
    return registry


@pytest.fixture(params=["remote", "prefixed", "pullthrough"])
def store(request: pytest.FixtureRequest, make_registry: Make) -> Iterator[Any]:
    """An empty store of each kind over a registry of its own."""
    remote = RemoteStore(make_registry().url)
    made: Any = remote
    if request.param == "prefixed":
        made = Prefixed(remote, "some/where")
    if request.param == "pullthrough":
        made = PullThrough(MemoryStore(), remote)
    yield made
    made.close()


def put(store: Any, name: Name, data: bytes, digest: Digest | None = None) -> Digest:
    upload = store.upload(name)
    upload.write(data)
    upload.commit(digest or Digest.of(data))
    return digest or Digest.of(data)


def image(**more: Any) -> Manifest:
    return Manifest.parse(json.dumps({"schemaVersion": 2, **more}).encode(), OCI_MANIFEST)


def test_blobs_go_in_and_out_and_away(store: Any) -> None:
    put(store, APP, b"hello")
    assert (bytes(store.blob(APP, HELLO)), store.blob_size(APP, HELLO)) == (b"hello", 5)
    store.mount(OTHER, HELLO, APP)
    store.delete_blob(APP, HELLO)
    assert bytes(store.blob(OTHER, HELLO)) == b"hello"
    for missing in (store.blob, store.blob_size, store.delete_blob):
        with pytest.raises(BlobUnknown):
            missing(APP, HELLO)
    for source in (APP, None):
        with pytest.raises(BlobUnknown):
            store.mount(OTHER, ABSENT, source)
    store.put_blob(APP, HELLO, b"hello")
    assert bytes(store.blob(APP, HELLO)) == b"hello"


def test_a_wrong_blob_never_gets_across(store: Any) -> None:
    with pytest.raises(DigestInvalid):
        put(store, APP, b"hello", ABSENT)
    with pytest.raises(BlobUnknown):
        store.blob(APP, ABSENT)


def test_manifests_and_tags_go_in_and_out_and_away(store: Any) -> None:
    first, second = image(), image(annotations={"a": "b"})
    store.put_manifest(APP, first, [Tag("b"), Tag("a")])
    store.put_manifest(APP, second)
    assert (store.tags(APP), store.tags(APP, "a"), store.tags(APP, "", 1)) == (["a", "b"], ["b"], ["a"])
    assert (store.repositories(), store.repositories("z"), store.repositories("", 0)) == ([APP], [], [])
    assert store.resolve(APP, Tag("a")) == first.digest
    assert (store.manifest(APP, second.digest).data, store.manifest(APP, second.digest).media_type) == (
        second.data,
        OCI_MANIFEST,
    )
    with pytest.raises(PreconditionFailed):
        store.put_manifest(APP, second, [Tag("a")], {second.digest})
    with pytest.raises(PreconditionFailed):
        store.put_manifest(APP, second, [Tag("new")], {second.digest})
    store.put_manifest(APP, second, [Tag("a")], {first.digest})
    store.delete_tag(APP, Tag("b"))
    store.delete_manifest(APP, second.digest)
    assert store.tags(APP) == []
    for call in (store.resolve, store.delete_tag):
        with pytest.raises(ManifestUnknown):
            call(APP, Tag("a"))
    for call in (store.manifest, store.delete_manifest):
        with pytest.raises(ManifestUnknown):
            call(APP, second.digest)
    with pytest.raises(NameUnknown):
        store.tags(OTHER)


def test_a_manifest_under_sha512_keeps_its_digest_and_gets_its_tags(store: Any) -> None:
    data = image().data
    manifest = Manifest(data, Digest.of(data, "sha512"), OCI_MANIFEST)
    store.put_manifest(APP, manifest, [Tag("1"), Tag("2")])
    assert store.manifest(APP, manifest.digest).data == data
    assert [store.resolve(APP, Tag(tag)) for tag in "12"] == [manifest.digest] * 2


def test_referrers_come_from_the_other_side(store: Any) -> None:
    subject = image()
    about = image(subject=subject.descriptor.to_json())
    store.put_manifest(APP, about)
    assert [each.digest for each in store.referrers(APP, subject.digest)] == [about.digest]
    assert store.referrers(APP, ABSENT) == []


def test_open_uploads_are_cancelled_on_close(store: Any) -> None:
    upload = store.upload(APP)
    upload.write(b"x")
    store.close()
    with pytest.raises(NameUnknown):
        store.tags(APP)


def test_other_peoples_content_is_not_cleared() -> None:
    with pytest.raises(Unavailable, match="not ours to clear"):
        RemoteStore("http://127.0.0.1:1").clear()


@pytest.mark.parametrize("url", ["ftp://x", "http://", "x:5000"])
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"write http\(s\)://host\[:port\]"):
        RemoteStore(url)


@pytest.mark.parametrize(
    "url",
    ["ftp://u:hidden@x", "http://u:hidden@", "http://u:hid/den@x", "http://u:hidden@x:port", "http://u:hidden@[x"],
)
def test_the_password_in_a_malformed_url_is_not_told(url: str) -> None:
    with pytest.raises(ValueError, match=r"\*\*\*@.* is no registry's URL") as caught:
        Registry(url)
    assert "hid" not in str(caught.value)


def test_no_password_is_in_what_a_store_and_its_errors_show(make_registry: Make) -> None:
    real = make_registry(auth=Basic({"user": "right"}))
    store = RemoteStore(f"http://user:hidden@{real.host}")
    assert (store.url, "hidden" in repr(store)) == (real.url, False)
    with pytest.raises(Unavailable, match=f"GET {real.url}/v2/{APP}/tags/list was answered with 401") as caught:
        store.tags(APP, limit=1)
    assert "hidden" not in str(caught.value)
    with pytest.raises(Unavailable, match="does not answer") as caught:
        RemoteStore("http://user:hidden@127.0.0.1:1").tags(APP)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("kind", [Basic, Token])
def test_it_logs_in_as_the_other_side_asks(make_registry: Make, kind: Any) -> None:
    auth = kind({"user": "p w"})
    real = make_registry(auth=auth)
    store = RemoteStore(f"http://user:p%20w@{real.host}")
    put(store, APP, b"hello")
    assert bytes(store.blob(APP, HELLO)) == b"hello"
    if isinstance(auth, Token):
        auth.expire()
        assert store.repositories() == [APP]
        assert bytes(store.blob(APP, HELLO)) == b"hello"
    stranger = RemoteStore(real.url)
    with pytest.raises(Unavailable, match="401"):
        stranger.blob(APP, HELLO)


def test_pages_are_followed(make_registry: Make) -> None:
    real = make_registry(quirks=[page_limit(2)])
    for tag in "abcde":
        real.push_image(f"app:{tag}")
    store = RemoteStore(real.url)
    assert (store.tags(Name("app")), store.tags(Name("app"), "", 3)) == (list("abcde"), list("abc"))


def test_redirects_are_followed_without_credentials(real: Registry, make_registry: Make) -> None:
    door = make_registry(auth=Basic({"u": "p"}))
    door.faults.add(redirect=real.url, kind="blob")
    store = RemoteStore(f"http://u:p@{door.host}")
    layer = real.repository("team/app").manifest("1").layers[0]
    assert len(store.blob(APP, layer.digest)) == layer.size
    assert "Authorization" not in real.requests[-1].headers
    door.faults.clear()
    door.faults.add(redirect=door.url, kind="blob")
    with pytest.raises(Unavailable, match="redirects without an end"):
        store.blob(APP, layer.digest)


@pytest.mark.parametrize("words", [{"status": 500}, {"garbage": True}, {"empty": True}], ids=str)
def test_what_goes_wrong_over_there_is_unavailable_here(real: Registry, make_registry: Make, words: Any) -> None:
    window = make_registry(real.url)
    real.faults.add(**words)
    answer = ask(window, "/v2/team/app/manifests/1")
    assert (answer.status, answer.json["errors"][0]["code"]) == (503, "UNAVAILABLE")


def test_a_large_blob_goes_through_a_file(real: Registry) -> None:
    put(RemoteStore(real.url), APP, b"hello")
    content = RemoteStore(real.url, spill=2).blob(APP, HELLO)
    assert isinstance(content, FileSlice)
    assert bytes(content) == b"hello"


def test_it_speaks_tls(make_registry: Make) -> None:
    real = make_registry(tls=True)
    store = RemoteStore(real.url, context=real.client_context())
    put(store, APP, b"hello")
    assert bytes(store.blob(APP, HELLO)) == b"hello"


def test_a_registry_that_names_no_digest_is_believed_by_its_bytes(real: Registry) -> None:
    true = real.repository("team/app").manifest("1").digest
    real.faults.add(edit=lambda request, response: response.headers.pop("Docker-Content-Digest", None) and None)
    assert RemoteStore(real.url).resolve(APP, Tag("1")) == true


def test_a_registry_without_referrers_has_none(make_registry: Make) -> None:
    assert RemoteStore(make_registry(quirks=["no-referrers"]).url).referrers(APP, ABSENT) == []


# PullThrough


def test_what_was_pulled_once_is_never_asked_for_again(real: Registry, make_registry: Make) -> None:
    mirror = make_registry(upstream=real.url)
    for _ in range(2):
        assert mirror.repository("team/app").files("1") == {"hello": b"hello\n"}
    assert len(real.requests.where(method="GET", kind="blob")) == 1


def test_a_cassette_is_replayed_without_a_network(real: Registry, make_registry: Make, tmp_path: Path) -> None:
    recorded = make_registry(tmp_path / "app", upstream=real.url)
    true = recorded.repository("team/app").manifest("1").data
    recorded.repository("team/app").files("1")
    real.stop()
    replayed = make_registry(tmp_path / "app")
    assert replayed.repository("team/app").manifest("1").data == true
    assert replayed.repository("team/app").files("1") == {"hello": b"hello\n"}


def test_a_corrupt_answer_from_upstream_is_refused_and_not_kept(real: Registry, make_registry: Make) -> None:
    mirror = make_registry(upstream=real.url)
    layer = mirror.repository("team/app").manifest("1").layers[0].digest
    with real.faults.add(corrupt=True, kind="blob", method="GET"):
        assert ask(mirror, f"/v2/team/app/blobs/{layer}").status == 400
    assert ask(mirror, f"/v2/team/app/blobs/{layer}").status == 200


def test_a_head_downloads_nothing(real: Registry, make_registry: Make) -> None:
    mirror = make_registry(upstream=real.url)
    layer = real.repository("team/app").manifest("1").layers[0]
    answer = ask(mirror, f"/v2/team/app/blobs/{layer.digest}", "HEAD")
    assert int(answer.headers["Content-Length"]) == layer.size
    assert len(real.requests.where(method="GET", kind="blob")) == 0


def test_lists_are_of_both_sides(real: Registry, make_registry: Make) -> None:
    mirror = make_registry(upstream=real.url)
    mirror.push_image("team/app:2")
    mirror.push_image("mine:1")
    assert mirror.repositories() == ["mine", "team/app"]
    assert (mirror.repository("team/app").tags(), mirror.repository("mine").tags()) == (["1", "2"], ["1"])
    assert mirror.repository("team/app").tags(limit=1) == ["1"]
    real.push_image("theirs:1")
    assert mirror.repository("theirs").tags() == ["1"]


def test_a_prefix_hides_the_rest(real: Registry) -> None:
    store = Prefixed(RemoteStore(real.url), "team")
    assert (store.repositories(), store.tags(Name("app"))) == (["app"], ["1"])
