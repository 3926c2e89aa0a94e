"""The contract of every store: what holds for one holds for all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinyreg.content import FileSlice
from tinyreg.errors import (
    BlobUnknown,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestUnknown,
    NameUnknown,
    PreconditionFailed,
)
from tinyreg.manifest import Descriptor, Manifest
from tinyreg.reference import Digest, Name, Tag, hasher
from tinyreg.store import Layer, Store, page, verify
from tinyreg.store.checked import Checked
from tinyreg.store.directory import DirectoryStore
from tinyreg.store.memory import MemoryStore

from . import APP, DATA, DIGEST, MISSING, OTHER, V1, V2, V3, has_blob, image, index, push, running

STORES: dict[str, Callable[[Path], Store]] = {
    "memory": lambda path: MemoryStore(),
    "memory, spilling": lambda path: MemoryStore(spill=1),
    "directory": lambda path: DirectoryStore(path / "store"),
    "checked": lambda path: Checked(MemoryStore(), []),
}


@pytest.fixture(params=list(STORES.values()), ids=list(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    made: Store = request.param(tmp_path)
    return made


# Blobs


@pytest.mark.parametrize("data", [b"", b"x", DATA, b"0123456789" * 100_000], ids=["empty", "one", "some", "1 MB"])
def test_a_committed_blob_is_what_was_written(store: Store, data: bytes) -> None:
    content = store.blob(APP, push(store, data=data))
    assert len(content) == len(data)
    assert bytes(content) == data


def test_a_blob_is_cut_without_being_copied_first(store: Store) -> None:
    content = store.blob(APP, push(store))
    assert bytes(content[3:9]) == DATA[3:9]
    assert type(content[3:9]) is type(content)
    assert bytes(content[9:9]) == b""


def test_a_blob_cannot_be_changed_by_who_reads_it(store: Store) -> None:
    content = store.blob(APP, push(store))
    if isinstance(content, memoryview):
        assert content.readonly
    assert isinstance(content, bytes | memoryview | FileSlice)


def test_a_buffer_may_be_used_again_after_write(store: Store) -> None:
    buffer = bytearray(DATA)
    upload = store.upload(APP)
    upload.write(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    upload.commit(DIGEST)
    assert bytes(store.blob(APP, DIGEST)) == DATA


@pytest.mark.parametrize("hint", ["sha256", "sha512"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_blob_s_algorithm_is_the_one_named_at_commit(store: Store, hint: str, algorithm: str) -> None:  # A6, A7
    digest = Digest.of(DATA, algorithm)
    upload = store.upload(APP, hint)
    upload.write(DATA)
    upload.commit(digest)
    assert bytes(store.blob(APP, digest)) == DATA
    other = Digest.of(DATA, "sha512" if algorithm == "sha256" else "sha256")
    assert not has_blob(store, APP, other)


def test_an_algorithm_we_cannot_compute_is_refused_at_once(store: Store) -> None:  # D3
    with pytest.raises(DigestInvalid, match="blake3"):
        store.upload(APP, "blake3")
    assert list(store.repositories()) == []


def test_an_upload_counts_its_bytes_and_has_an_id_for_a_url(store: Store) -> None:  # D1
    first, second = store.upload(APP), store.upload(APP)
    first.write(b"123")
    first.write(b"")
    first.write(b"45")
    assert (first.size, second.size) == (5, 0)
    assert first.id != second.id
    assert first.id.isalnum()
    assert len(first.id) == 32
    first.cancel()
    second.cancel()


def test_nothing_is_visible_before_commit(store: Store) -> None:
    upload = store.upload(APP)
    upload.write(DATA)
    assert not has_blob(store, APP, DIGEST)
    assert list(store.repositories()) == []
    upload.commit(DIGEST)
    assert has_blob(store, APP, DIGEST)
    assert list(store.repositories()) == [APP]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_digest_mismatch_stores_nothing(store: Store, algorithm: str) -> None:  # D9
    upload = store.upload(APP)
    upload.write(DATA)
    with pytest.raises(DigestInvalid) as caught:
        upload.commit(Digest.of(b"something else", algorithm))
    assert caught.value.detail == {"digest": Digest.of(b"something else", algorithm)}
    assert not has_blob(store, APP, Digest.of(b"something else", algorithm))
    assert not has_blob(store, APP, DIGEST)
    assert list(store.repositories()) == []


def test_a_cancelled_upload_may_be_cancelled_again_and_leaves_nothing(store: Store) -> None:
    upload = store.upload(APP)
    upload.write(DATA)
    upload.cancel()
    upload.cancel()
    assert list(store.repositories()) == []
    assert not has_blob(store, APP, DIGEST)


@pytest.mark.parametrize("size", [10, 100_000])
def test_an_upload_that_another_thread_cancelled_takes_no_more_and_becomes_no_blob(store: Store, size: int) -> None:
    data = bytes(range(256)) * size
    upload = store.upload(APP)
    upload.write(data)
    store.close()
    with pytest.raises(BlobUploadUnknown):
        upload.write(data)
    with pytest.raises(BlobUploadUnknown):
        upload.commit(Digest.of(data))
    assert not has_blob(store, APP, Digest.of(data))


def test_cancelling_what_was_committed_keeps_the_blob(store: Store) -> None:
    upload = store.upload(APP)
    upload.write(DATA)
    upload.commit(DIGEST)
    upload.cancel()
    assert bytes(store.blob(APP, DIGEST)) == DATA


def test_a_blob_may_be_pushed_again(store: Store) -> None:
    push(store)
    content = store.blob(APP, DIGEST)
    push(store)
    assert bytes(store.blob(APP, DIGEST)) == bytes(content) == DATA


def test_uploads_of_one_blob_at_once_all_succeed(store: Store) -> None:  # D13
    start, failed = Barrier(8), list[BaseException]()

    def work() -> None:
        try:
            start.wait(10)
            for _ in range(5):
                push(store, data=DATA * 1000)
        except BaseException as error:
            failed.append(error)

    with running(*(Thread(target=work) for _ in range(8))):
        pass
    assert failed == []
    assert bytes(store.blob(APP, Digest.of(DATA * 1000))) == DATA * 1000
    assert list(store.repositories()) == [APP]


def test_pushes_to_many_repositories_at_once_all_arrive(store: Store) -> None:
    names = [Name.parse(f"team/app{number}") for number in range(8)]

    def work(name: Name) -> None:
        push(store, name)
        for number in range(5):
            store.put_manifest(name, image(str(number)), [Tag.parse(f"t{number}")])

    with running(*(Thread(target=work, args=(name,)) for name in names)):
        pass
    assert list(store.repositories()) == names
    assert [list(store.tags(name)) for name in names] == [["t0", "t1", "t2", "t3", "t4"]] * 8


def test_tags_pushed_at_once_to_one_repository_all_arrive(store: Store) -> None:
    tags = [Tag.parse(f"t{number}") for number in range(8)]
    manifests = [image(tag) for tag in tags]

    def work(tag: Tag, manifest: Manifest) -> None:
        store.put_manifest(APP, manifest, [tag])

    with running(*(Thread(target=work, args=pair) for pair in zip(tags, manifests, strict=True))):
        pass
    assert [store.resolve(APP, tag) for tag in store.tags(APP)] == [manifest.digest for manifest in manifests]


def test_a_blob_belongs_to_its_repository_alone(store: Store) -> None:  # C6
    push(store, APP)
    push(store, OTHER, b"other")
    with pytest.raises(BlobUnknown) as caught:
        store.blob(OTHER, DIGEST)
    assert caught.value.detail == {"digest": DIGEST}
    with pytest.raises(BlobUnknown):
        store.blob(Name.parse("nowhere"), DIGEST)


def test_a_deleted_blob_is_gone_here_and_stays_elsewhere(store: Store) -> None:  # H3
    push(store, APP)
    push(store, OTHER)
    store.delete_blob(APP, DIGEST)
    assert not has_blob(store, APP, DIGEST)
    assert bytes(store.blob(OTHER, DIGEST)) == DATA
    with pytest.raises(BlobUnknown):
        store.delete_blob(APP, DIGEST)
    with pytest.raises(BlobUnknown):
        store.delete_blob(Name.parse("nowhere"), DIGEST)
    assert list(store.repositories()) == [OTHER, APP]


def test_a_blob_deleted_while_it_is_read_is_read_to_its_end(store: Store) -> None:
    content = store.blob(APP, push(store))
    store.delete_blob(APP, DIGEST)
    assert bytes(content) == DATA


# Mount (D12)


@pytest.mark.parametrize("source", [OTHER, None], ids=["from a repository", "from anywhere"])
def test_a_mounted_blob_is_the_source_s_and_outlives_it(store: Store, source: Name | None) -> None:
    push(store, Name.parse("first"), b"not this one")
    push(store, OTHER)
    store.mount(APP, DIGEST, source)
    assert bytes(store.blob(APP, DIGEST)) == DATA
    store.delete_blob(OTHER, DIGEST)
    assert bytes(store.blob(APP, DIGEST)) == DATA
    assert APP in store.repositories()


@pytest.mark.parametrize("source", [OTHER, Name.parse("nowhere"), None], ids=["no blob", "no repository", "anywhere"])
def test_what_cannot_be_mounted_is_unknown_and_leaves_nothing(store: Store, source: Name | None) -> None:
    push(store, OTHER, b"other")
    push(store, Name.parse("third")) if source else None
    with pytest.raises(BlobUnknown):
        store.mount(APP, DIGEST, source)
    assert APP not in store.repositories()


def test_mounting_what_is_there_already_changes_nothing(store: Store) -> None:
    push(store, OTHER)
    store.mount(APP, DIGEST, OTHER)
    store.mount(APP, DIGEST, OTHER)
    store.mount(APP, DIGEST, APP)
    assert bytes(store.blob(APP, DIGEST)) == DATA


def test_a_manifest_is_not_mounted_as_a_blob(store: Store) -> None:
    manifest = image()
    store.put_manifest(OTHER, manifest)
    for source in (OTHER, None):
        with pytest.raises(BlobUnknown):
            store.mount(APP, manifest.digest, source)


# Manifests


def test_a_manifest_comes_back_as_it_was_pushed(store: Store) -> None:  # C1
    manifest = image("x")
    store.put_manifest(APP, manifest)
    found = store.manifest(APP, manifest.digest)
    assert (found.data, found.digest, found.media_type) == (manifest.data, manifest.digest, manifest.media_type)
    assert list(store.tags(APP)) == []
    assert list(store.repositories()) == [APP]


def test_a_manifest_under_sha512_is_found_under_it_alone(store: Store) -> None:  # A7
    data = image().data
    digest = Digest.of(data, "sha512")
    store.put_manifest(APP, Manifest.parse(data, None, digest), [V1])
    assert store.manifest(APP, store.resolve(APP, V1)).digest == digest
    with pytest.raises(ManifestUnknown):
        store.manifest(APP, Digest.of(data))


def test_what_is_asked_of_an_unknown_repository_says_so(store: Store) -> None:
    for ask in (
        lambda: store.manifest(APP, MISSING),
        lambda: store.delete_manifest(APP, MISSING),
        lambda: store.resolve(APP, V1),
        lambda: store.tags(APP),
        lambda: store.delete_tag(APP, V1),
    ):
        with pytest.raises(NameUnknown) as caught:
            ask()
        assert caught.value.detail == {"name": APP}
    assert list(store.repositories()) == []


def test_what_a_known_repository_does_not_have_is_unknown(store: Store) -> None:
    push(store)
    for ask in (
        lambda: store.manifest(APP, MISSING),
        lambda: store.manifest(APP, DIGEST),
        lambda: store.delete_manifest(APP, MISSING),
        lambda: store.delete_manifest(APP, DIGEST),
        lambda: store.resolve(APP, V1),
        lambda: store.delete_tag(APP, V1),
    ):
        with pytest.raises(ManifestUnknown):
            ask()
    assert bytes(store.blob(APP, DIGEST)) == DATA


def test_a_manifest_alone_is_no_blob(store: Store) -> None:  # C6
    manifest = image()
    store.put_manifest(APP, manifest)
    with pytest.raises(BlobUnknown):
        store.blob(APP, manifest.digest)
    with pytest.raises(BlobUnknown):
        store.delete_blob(APP, manifest.digest)
    assert store.manifest(APP, manifest.digest).data == manifest.data


@pytest.mark.parametrize("blob_first", [True, False], ids=["blob first", "manifest first"])
@pytest.mark.parametrize("blob_goes", [True, False], ids=["blob goes", "manifest goes"])
def test_a_digest_that_is_both_is_deleted_one_at_a_time(store: Store, blob_first: bool, blob_goes: bool) -> None:
    manifest = image()
    if blob_first:
        push(store, data=manifest.data)
    store.put_manifest(APP, manifest, [V1])
    if not blob_first:
        push(store, data=manifest.data)
    assert bytes(store.blob(APP, manifest.digest)) == manifest.data
    if blob_goes:
        store.delete_blob(APP, manifest.digest)
        assert not has_blob(store, APP, manifest.digest)
        assert store.manifest(APP, store.resolve(APP, V1)).data == manifest.data
        store.delete_manifest(APP, manifest.digest)
    else:
        store.delete_manifest(APP, manifest.digest)
        with pytest.raises(ManifestUnknown):
            store.manifest(APP, manifest.digest)
        assert bytes(store.blob(APP, manifest.digest)) == manifest.data
        store.delete_blob(APP, manifest.digest)
    assert not has_blob(store, APP, manifest.digest)
    with pytest.raises(ManifestUnknown):
        store.manifest(APP, manifest.digest)


def test_a_digest_that_is_both_stays_both_when_the_manifest_is_pushed_again(store: Store) -> None:
    manifest = image()
    push(store, data=manifest.data)
    store.put_manifest(APP, manifest, [V1])
    store.put_manifest(APP, manifest, [V2])
    assert bytes(store.blob(APP, manifest.digest)) == manifest.data
    store.delete_blob(APP, manifest.digest)
    store.put_manifest(APP, manifest, [V3])
    assert not has_blob(store, APP, manifest.digest)


def test_a_repository_stays_known_when_all_in_it_is_deleted(store: Store) -> None:  # F1
    store.put_manifest(APP, image(), [V1])
    store.delete_manifest(APP, image().digest)
    assert list(store.tags(APP)) == []
    assert list(store.repositories()) == [APP]


# Tags


def test_a_manifest_pushed_with_tags_is_named_by_all_of_them(store: Store) -> None:  # E9
    store.put_manifest(APP, image(), [V2, V1])
    assert list(store.tags(APP)) == [V1, V2]
    assert store.resolve(APP, V1) == store.resolve(APP, V2) == image().digest


def test_a_tag_pushed_again_moves_and_the_old_manifest_stays(store: Store) -> None:  # E10
    old, new = image("old"), image("new")
    store.put_manifest(APP, old, [V1, V2])
    store.put_manifest(APP, new, [V1])
    assert store.resolve(APP, V1) == new.digest
    assert store.resolve(APP, V2) == old.digest
    assert store.manifest(APP, old.digest).data == old.data
    store.delete_manifest(APP, old.digest)  # takes only the tag that still names it
    assert list(store.tags(APP)) == [V1]


def test_a_manifest_pushed_again_without_a_tag_keeps_its_tags(store: Store) -> None:
    store.put_manifest(APP, image(), [V1])
    store.put_manifest(APP, image())
    store.put_manifest(APP, image(), [V1])
    assert list(store.tags(APP)) == [V1]


def test_a_deleted_tag_is_gone_and_its_manifest_stays(store: Store) -> None:  # H1
    store.put_manifest(APP, image(), [V1, V2])
    store.delete_tag(APP, V1)
    with pytest.raises(ManifestUnknown) as caught:
        store.resolve(APP, V1)
    assert caught.value.detail == {"tag": V1}
    with pytest.raises(ManifestUnknown):
        store.delete_tag(APP, V1)
    assert store.resolve(APP, V2) == image().digest
    store.delete_tag(APP, V2)
    assert store.manifest(APP, image().digest).data == image().data


def test_deleting_a_manifest_takes_all_its_tags_and_no_other(store: Store) -> None:  # H2
    store.put_manifest(APP, image("a"), [V1, V3])
    store.put_manifest(APP, image("b"), [V2])
    store.delete_manifest(APP, image("a").digest)
    assert list(store.tags(APP)) == [V2]
    with pytest.raises(ManifestUnknown):
        store.manifest(APP, image("a").digest)
    store.put_manifest(APP, image("a"))
    assert list(store.tags(APP)) == [V2]


def test_tags_and_repositories_are_in_ascii_order_and_paged(store: Store) -> None:  # F2, F3, F4
    tags = [Tag.parse(text) for text in ("B", "a", "10", "9", "_", "b")]
    store.put_manifest(APP, image(), tags)
    assert list(store.tags(APP)) == ["10", "9", "B", "_", "a", "b"]
    assert list(store.tags(APP, "", 2)) == ["10", "9"]
    assert list(store.tags(APP, "9", 2)) == ["B", "_"]
    assert list(store.tags(APP, "Z", 2)) == ["_", "a"]  # need not be a tag
    assert list(store.tags(APP, "b")) == []
    assert list(store.tags(APP, "", 0)) == []
    for text in ("b", "a/b", "a", "a-b"):
        push(store, Name.parse(text))
    assert list(store.repositories()) == ["a", "a-b", "a/b", "b", "team/app"]
    assert list(store.repositories("a", 2)) == ["a-b", "a/b"]


@pytest.mark.parametrize(
    ("expected", "taken"),
    [
        (None, True),
        ([image("old").digest], True),
        ([MISSING, image("old").digest], True),
        ([MISSING], False),
        ([], False),
    ],
    ids=["nothing expected", "what is there", "one of two", "another", "none"],
)
def test_a_push_that_expects_another_manifest_changes_nothing(
    store: Store, expected: list[Digest] | None, taken: bool
) -> None:  # C5
    store.put_manifest(APP, image("old"), [V1])
    if taken:
        store.put_manifest(APP, image("new"), [V1], expected)
        assert store.resolve(APP, V1) == image("new").digest
        return
    with pytest.raises(PreconditionFailed):
        store.put_manifest(APP, image("new"), [V1], expected)
    assert store.resolve(APP, V1) == image("old").digest
    with pytest.raises(ManifestUnknown):
        store.manifest(APP, image("new").digest)


def test_a_refused_expectation_makes_no_repository_known(store: Store) -> None:
    with pytest.raises(PreconditionFailed):
        store.put_manifest(APP, image(), [V1], [MISSING])
    assert list(store.repositories()) == []


# Referrers


def test_a_referrer_is_listed_at_once_and_before_its_subject_exists(store: Store) -> None:  # G3, E6
    subject = image("subject")
    first, second = (
        image(note, subject.descriptor, artifactType=f"a/{note}", config=Descriptor("c/t", DIGEST, 1).to_json())
        for note in ("one", "two")
    )
    store.put_manifest(APP, first)
    assert list(store.referrers(APP, subject.digest)) == [first.as_referrer]
    store.put_manifest(APP, subject)
    store.put_manifest(APP, second)
    store.put_manifest(APP, first, [V1])  # again
    assert list(store.referrers(APP, subject.digest)) == [first.as_referrer, second.as_referrer]
    assert store.referrers(APP, subject.digest)[0].artifact_type == "a/one"
    assert store.referrers(APP, subject.digest)[0].annotations == {"note": "one"}


def test_an_index_may_refer_too(store: Store) -> None:
    referrer = index(subject=image().descriptor.to_json(), annotations={"k": "v"})
    store.put_manifest(APP, referrer)
    assert list(store.referrers(APP, image().digest)) == [referrer.as_referrer]


def test_a_deleted_referrer_is_gone_and_a_deleted_subject_leaves_its_referrers(store: Store) -> None:  # H5
    subject = image("subject")
    one, two = image("one", subject.descriptor), image("two", subject.descriptor)
    for manifest in (subject, one, two):
        store.put_manifest(APP, manifest)
    store.delete_manifest(APP, one.digest)
    assert [each.digest for each in store.referrers(APP, subject.digest)] == [two.digest]
    store.delete_manifest(APP, subject.digest)
    assert [each.digest for each in store.referrers(APP, subject.digest)] == [two.digest]
    store.delete_manifest(APP, two.digest)
    assert list(store.referrers(APP, subject.digest)) == []


def test_nobody_refers_to_what_is_unknown_or_elsewhere(store: Store) -> None:  # G1
    assert list(store.referrers(APP, MISSING)) == []
    assert list(store.repositories()) == []
    store.put_manifest(OTHER, image("one", image().descriptor))
    push(store)
    assert list(store.referrers(APP, image().digest)) == []


def test_a_subject_in_a_manifest_of_unknown_type_refers_to_nothing(store: Store) -> None:
    data = json.dumps({"subject": image().descriptor.to_json()}).encode()
    store.put_manifest(APP, Manifest.parse(data, "application/x-mine"))
    assert list(store.referrers(APP, image().digest)) == []


def test_a_manifest_that_lies_is_kept_as_told(store: Store) -> None:
    lie = Manifest(b"not json", Digest.of(b"not json"), image().media_type)
    store.put_manifest(APP, lie, [V1])
    found = store.manifest(APP, store.resolve(APP, V1))
    assert (found.data, found.media_type) == (b"not json", image().media_type)
    assert list(store.referrers(APP, image().digest)) == []


# Clear and close


def test_clear_forgets_everything_and_the_store_goes_on(store: Store) -> None:
    upload = store.upload(APP)
    upload.write(DATA)
    push(store)
    store.put_manifest(APP, image(), [V1])
    store.put_manifest(OTHER, image("x", image().descriptor))
    store.clear()
    assert list(store.repositories()) == []
    assert not has_blob(store, APP, DIGEST)
    assert list(store.referrers(OTHER, image().digest)) == []
    with pytest.raises(NameUnknown):
        store.resolve(APP, V1)
    push(store)
    store.put_manifest(APP, image("after"), [V2])
    assert list(store.tags(APP)) == [V2]
    assert bytes(store.blob(APP, DIGEST)) == DATA


def test_close_forgets_open_uploads_and_keeps_content(store: Store) -> None:
    push(store)
    upload = store.upload(OTHER)
    upload.write(b"half")
    store.close()
    store.close()
    upload.cancel()
    assert list(store.repositories()) == [APP]
    assert bytes(store.blob(APP, DIGEST)) == DATA
    push(store, OTHER)
    assert bytes(store.blob(OTHER, DIGEST)) == DATA


# What all stores are made of


@given(
    st.lists(st.text("abc", min_size=1, max_size=3), unique=True),
    st.text("abc", max_size=3),
    st.none() | st.integers(0, 9),
)
def test_a_page_is_what_comes_behind_and_no_more_than_asked(items: list[str], after: str, limit: int | None) -> None:
    expected = [item for item in sorted(items) if item > after][:limit]
    assert page(sorted(items), after, limit) == expected


@given(st.sets(st.text("abcdef", min_size=1, max_size=3)), st.integers(1, 5))
def test_pages_in_a_row_give_every_item_once(items: set[str], limit: int) -> None:
    found: list[str] = []
    while part := page(sorted(items), found[-1] if found else "", limit):
        found += part
    assert found == sorted(items)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_content_is_verified_under_the_digest_s_algorithm(algorithm: str) -> None:
    state = hasher("sha256", DATA)
    verify(Digest.of(DATA, algorithm), state, DATA)
    with pytest.raises(DigestInvalid):
        verify(Digest.of(b"x", algorithm), state, DATA)


def test_content_is_not_read_again_where_it_was_hashed_already() -> None:
    verify(DIGEST, hasher("sha256", DATA), b"not looked at")


def test_every_layer_has_every_method_of_a_store() -> None:
    methods = {name for name in vars(Store) if not name.startswith("_")}
    assert methods == {name for name in vars(Layer) if not name.startswith("_")}
