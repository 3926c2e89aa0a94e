from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.store import APP, DATA, DIGEST, MISSING, OTHER, V1, V2, V3, files, has_blob, image, index, push, running
from tinyreg.errors import (
    BlobUnknown,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestInvalid,
    ManifestUnknown,
    NameUnknown,
    PreconditionFailed,
    RangeInvalid,
    SizeInvalid,
)
from tinyreg.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor
from tinyreg.reference import Digest, Name
from tinyreg.repository import Repository, Sessions
from tinyreg.store.directory import DirectoryStore
from tinyreg.store.memory import MemoryStore


@pytest.fixture
def app() -> Repository:
    return Repository(MemoryStore(), Sessions(), APP)


def start(repository: Repository) -> str:
    return repository.start_upload().upload.id


# Uploads (D)


def test_chunks_add_up_to_the_blob(app: Repository) -> None:
    session = start(app)
    assert app.upload_size(session) == 0
    assert app.append(session, [DATA[:3], memoryview(DATA)[3:5]], 0, 5) == 5
    assert app.append(session, [DATA[5:7]]) == 7  # without a range: where it stands (D6)
    assert app.upload_size(session) == 7
    assert not has_blob(app.store, APP, DIGEST)
    app.finish_upload(session, DIGEST, [DATA[7:]], 7, len(DATA) - 7)
    assert bytes(app.pull_blob(DIGEST)) == DATA
    assert app.blob_size(DIGEST) == len(DATA)


def test_an_upload_may_be_finished_with_nothing_more_or_with_all_at_once(app: Repository) -> None:  # D9
    session = start(app)
    app.append(session, [DATA])
    app.finish_upload(session, DIGEST)
    app.finish_upload(start(app), Digest.of(b"all"), [b"all"])
    app.finish_upload(start(app), Digest.of(b""))
    assert [bytes(app.pull_blob(Digest.of(data))) for data in (DATA, b"all", b"")] == [DATA, b"all", b""]


def test_an_upload_hashed_otherwise_ends_under_the_digest_named_last(app: Repository) -> None:  # A6, D3
    session = app.start_upload("sha512").upload.id
    app.finish_upload(session, DIGEST, [DATA])
    app.finish_upload(start(app), Digest.of(DATA, "sha512"), [DATA])
    assert bytes(app.pull_blob(DIGEST)) == bytes(app.pull_blob(Digest.of(DATA, "sha512"))) == DATA


def test_an_algorithm_we_cannot_compute_opens_no_session(app: Repository) -> None:
    with pytest.raises(DigestInvalid):
        app.start_upload("blake3")
    assert len(app.sessions) == 0


@pytest.mark.parametrize("at", [0, 4, 6, 10**17], ids=["again", "overlapping", "with a gap", "far away"])
@pytest.mark.parametrize("finishing", [False, True], ids=["append", "finish"])
def test_a_chunk_from_elsewhere_leaves_the_session_as_it_was(app: Repository, at: int, finishing: bool) -> None:  # D7
    session = start(app)
    app.append(session, [DATA[:5]], 0, 5)
    unread = iter([DATA])
    with pytest.raises(RangeInvalid, match=f"starts at {at}, but the upload stands at 5"):
        app.finish_upload(session, DIGEST, unread, at) if finishing else app.append(session, unread, at)
    assert next(unread) == DATA
    assert app.upload_size(session) == 5
    app.append(session, [DATA[5:]], 5)
    app.finish_upload(session, DIGEST)
    assert bytes(app.pull_blob(DIGEST)) == DATA


@pytest.mark.parametrize("size", [0, 4, 6], ids=["none", "too little", "too much"])
@pytest.mark.parametrize("finishing", [False, True], ids=["append", "finish"])
def test_a_chunk_of_another_size_than_announced_ends_the_session(app: Repository, size: int, finishing: bool) -> None:
    session, digest = start(app), Digest.of(b"12345")
    with pytest.raises(SizeInvalid, match=f"with {size} bytes and came with 5"):
        app.finish_upload(session, digest, [b"12345"], 0, size) if finishing else app.append(
            session, [b"12345"], 0, size
        )
    with pytest.raises(BlobUploadUnknown):
        app.upload_size(session)
    assert len(app.sessions) == 0
    assert not has_blob(app.store, APP, digest)


def test_a_digest_mismatch_ends_the_session_and_stores_nothing(tmp_path: Path) -> None:  # D9
    app = Repository(DirectoryStore(tmp_path), Sessions(), APP)
    session = start(app)
    with pytest.raises(DigestInvalid):
        app.finish_upload(session, MISSING, [DATA])
    with pytest.raises(BlobUploadUnknown):
        app.finish_upload(session, DIGEST, [DATA])
    assert files(tmp_path) == {}
    assert len(app.sessions) == 0


def test_a_finished_or_cancelled_session_is_unknown(app: Repository) -> None:  # D11
    finished, cancelled = start(app), start(app)
    app.finish_upload(finished, DIGEST, [DATA])
    app.cancel_upload(cancelled)
    for session in (finished, cancelled, "never-opened", ""):
        for ask in (app.upload_size, app.cancel_upload):
            with pytest.raises(BlobUploadUnknown):
                ask(session)
        with pytest.raises(BlobUploadUnknown):
            app.append(session, [b"x"])
        with pytest.raises(BlobUploadUnknown):
            app.finish_upload(session, DIGEST)
    assert bytes(app.pull_blob(DIGEST)) == DATA


def test_a_session_belongs_to_one_repository(app: Repository) -> None:  # D13
    other, session = Repository(app.store, app.sessions, OTHER), start(app)
    with pytest.raises(BlobUploadUnknown):
        other.append(session, [DATA])
    with pytest.raises(BlobUploadUnknown):
        other.cancel_upload(session)
    app.finish_upload(session, DIGEST, [DATA])
    assert not has_blob(app.store, OTHER, DIGEST)


def test_a_client_that_vanishes_leaves_what_it_sent_in_the_session(app: Repository) -> None:
    def vanishing() -> Iterator[bytes]:
        yield DATA[:5]
        raise ConnectionResetError

    session = start(app)
    with pytest.raises(ConnectionResetError):
        app.append(session, vanishing())
    assert app.append(session, [DATA[5:]], 5) == len(DATA)
    app.finish_upload(session, DIGEST)
    assert bytes(app.pull_blob(DIGEST)) == DATA


def test_a_blob_in_one_go_is_kept_or_leaves_nothing(tmp_path: Path) -> None:  # D2
    def vanishing() -> Iterator[bytes]:
        yield DATA
        raise ConnectionResetError

    app = Repository(DirectoryStore(tmp_path), Sessions(), APP)
    with pytest.raises(ConnectionResetError):
        app.push_blob(DIGEST, vanishing())
    with pytest.raises(DigestInvalid):
        app.push_blob(MISSING, [DATA])
    assert files(tmp_path) == {}
    for digest in (DIGEST, Digest.of(DATA, "sha512")):
        app.push_blob(digest, [DATA[:4], DATA[4:]])
        assert bytes(app.pull_blob(digest)) == DATA


# Sessions


def test_sessions_nobody_uses_end_when_another_one_starts() -> None:  # D11
    app = Repository(MemoryStore(), Sessions(timeout=-1), APP)
    old = app.start_upload()
    old.upload.write(DATA)
    new = start(app)
    with pytest.raises(BlobUploadUnknown):
        app.upload_size(old.upload.id)
    assert app.upload_size(new) == 0
    assert len(app.sessions) == 1


def test_a_session_in_use_does_not_end_and_one_used_lately_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    app = Repository(MemoryStore(), Sessions(timeout=10), APP)
    first, second, third = start(app), start(app), start(app)
    now = 8.0
    assert app.upload_size(first) == 0  # used
    now = 12.0
    with app.sessions.turn(APP, third):
        now = 25.0
        fourth = start(app)
        assert len(app.sessions) == 2
    for session, known in ((first, False), (second, False), (third, True), (fourth, True)):
        if known:
            assert app.upload_size(session) == 0
        else:
            with pytest.raises(BlobUploadUnknown):
                app.upload_size(session)


def test_a_session_is_good_until_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    app = Repository(MemoryStore(), Sessions(timeout=10), APP)
    session = start(app)
    now = 10.0
    start(app)
    assert app.upload_size(session) == 0


def test_clear_ends_every_session_and_its_upload(tmp_path: Path) -> None:
    app = Repository(DirectoryStore(tmp_path), Sessions(), APP)
    sessions = [start(app), start(app)]
    app.append(sessions[0], [DATA])
    app.sessions.clear()
    assert len(app.sessions) == 0
    assert files(tmp_path) == {}
    with pytest.raises(BlobUploadUnknown):
        app.upload_size(sessions[0])


def test_requests_on_one_session_take_turns(app: Repository) -> None:  # D13
    session, begun, go_on = start(app), Event(), Event()
    sizes: dict[str, int] = {}

    def slow() -> Iterator[bytes]:
        yield DATA[:5]
        begun.set()
        assert go_on.wait(10)
        yield DATA[5:10]

    def first() -> None:
        sizes["first"] = app.append(session, slow())

    def second() -> None:
        sizes["second"] = app.append(session, [DATA[10:]], 10)

    one, two = Thread(target=first), Thread(target=second)
    with running(one):
        assert begun.wait(10)
        two.start()
        two.join(0.05)
        assert sizes == {}
        go_on.set()
        two.join(10)
    assert sizes == {"first": 10, "second": len(DATA)}
    app.finish_upload(session, DIGEST)
    assert bytes(app.pull_blob(DIGEST)) == DATA


def test_who_waits_for_a_session_that_ends_finds_it_unknown(app: Repository) -> None:
    session, refused = start(app), list[BaseException]()

    def late() -> None:
        try:
            app.append(session, [b"late"])
        except BlobUploadUnknown as error:
            refused.append(error)

    thread = Thread(target=late)
    with app.sessions.turn(APP, session) as held:
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
        app.sessions.drop(held)
        held.upload.cancel()
    thread.join(10)
    assert len(refused) == 1


# Mount (D12)


def test_a_mount_is_true_where_the_blob_is_there_and_else_false(app: Repository) -> None:
    assert app.mount_blob(DIGEST, OTHER) is False
    assert app.mount_blob(DIGEST) is False
    push(app.store, OTHER)
    assert app.mount_blob(MISSING, OTHER) is False
    assert list(app.store.repositories()) == [OTHER]
    assert app.mount_blob(DIGEST, OTHER) is True
    assert bytes(app.pull_blob(DIGEST)) == DATA
    assert Repository(app.store, app.sessions, Name.parse("third")).mount_blob(DIGEST) is True


# Manifests


def test_a_manifest_is_pulled_by_tag_and_by_digest(app: Repository) -> None:  # C1, E1
    pushed = app.push_manifest(V1, image().data, OCI_MANIFEST)
    assert app.pull_manifest(V1).data == app.pull_manifest(pushed.digest).data == image().data
    assert app.pull_manifest(V1).media_type == OCI_MANIFEST
    with pytest.raises(ManifestUnknown):
        app.pull_manifest(V2)
    with pytest.raises(ManifestUnknown):
        app.pull_manifest(MISSING)


def test_nothing_is_pulled_from_an_unknown_repository(app: Repository) -> None:  # C1
    for reference in (V1, MISSING):
        with pytest.raises(NameUnknown):
            app.pull_manifest(reference)
    with pytest.raises(BlobUnknown):
        app.pull_blob(MISSING)
    with pytest.raises(BlobUnknown):
        app.blob_size(MISSING)


def test_a_push_by_digest_has_the_tags_it_asks_for_and_no_other(app: Repository) -> None:  # E9
    app.push_manifest(image().digest, image().data, tags=[V2, V1])
    assert app.tags() == [V1, V2]
    app.push_manifest(image("x").digest, image("x").data)
    assert app.tags() == [V1, V2]
    app.push_manifest(V3, image("x").data, tags=[V1])
    assert [app.pull_manifest(tag).digest for tag in (V1, V2, V3)] == [
        image("x").digest,
        image().digest,
        image("x").digest,
    ]


def test_a_push_under_sha512_is_answered_under_sha512(app: Repository) -> None:  # A7, E2
    digest = Digest.of(image().data, "sha512")
    assert app.push_manifest(digest, image().data, tags=[V1]).digest == digest
    assert app.pull_manifest(V1).digest == digest


def test_a_refused_manifest_is_not_kept(app: Repository) -> None:
    with pytest.raises(ManifestInvalid):
        app.push_manifest(V1, b"not json", OCI_MANIFEST)
    with pytest.raises(DigestInvalid):
        app.push_manifest(MISSING, image().data, OCI_MANIFEST, [V1])
    assert list(app.store.repositories()) == []


def test_a_push_that_expects_another_manifest_is_refused(app: Repository) -> None:  # C5
    app.push_manifest(V1, image("old").data)
    with pytest.raises(PreconditionFailed):
        app.push_manifest(V1, image("new").data, expected=[MISSING])
    assert app.pull_manifest(V1).digest == image("old").digest
    app.push_manifest(V1, image("new").data, expected=[image("old").digest])
    assert app.pull_manifest(V1).digest == image("new").digest


def test_deletes_go_to_the_store(app: Repository) -> None:  # H
    push(app.store)
    app.push_manifest(V1, image().data, tags=[V2])
    app.delete_tag(V1)
    assert app.tags() == [V2]
    app.delete_manifest(image().digest)
    assert app.tags() == []
    app.delete_blob(DIGEST)
    assert not has_blob(app.store, APP, DIGEST)


def test_tags_are_paged(app: Repository) -> None:  # F3, F4
    app.push_manifest(V1, image().data, tags=[V2, V3])
    assert app.tags("v1", 1) == [V2]
    assert app.tags("v2") == [V3]
    assert app.tags(limit=0) == []


# Referrers (G)

SUBJECT = image("subject")


def test_referrers_are_filtered_by_artifact_type(app: Repository) -> None:  # G4
    one, two = (image(text, SUBJECT.descriptor, artifactType=f"a/{text}") for text in ("one", "two"))
    for manifest in (one, two):
        app.push_manifest(manifest.digest, manifest.data)
    assert app.referrers(SUBJECT.digest) == [one.as_referrer, two.as_referrer]
    assert app.referrers(SUBJECT.digest, "a/two") == [two.as_referrer]
    assert app.referrers(SUBJECT.digest, "a/three") == []


def test_what_is_listed_under_the_fallback_tag_refers_too_where_it_is_there(app: Repository) -> None:  # G6
    old, away, new = image("old"), image("away"), image("new", SUBJECT.descriptor)
    shown = Descriptor(OCI_MANIFEST, old.digest, old.size, "a/old", {"k": "v"})
    listed = index(manifests=[shown.to_json(), away.descriptor.to_json(), new.descriptor.to_json()])
    for manifest in (old, new):
        app.push_manifest(manifest.digest, manifest.data)
    app.push_manifest(SUBJECT.digest.fallback_tag, listed.data)
    assert app.referrers(SUBJECT.digest) == [shown, new.as_referrer]  # each once, as its manifest says
    assert app.referrers(SUBJECT.digest, "a/old") == [shown]
    app.delete_manifest(old.digest)
    assert app.referrers(SUBJECT.digest) == [new.as_referrer]


@pytest.mark.parametrize(
    "data",
    [image("no index").data, json.dumps({"mediaType": "application/x-mine"}).encode()],
    ids=["an image", "an unknown type"],
)
def test_a_fallback_tag_that_is_no_index_lists_nothing(app: Repository, data: bytes) -> None:
    app.push_manifest(SUBJECT.digest.fallback_tag, data)
    assert app.referrers(SUBJECT.digest) == []


def test_a_fallback_tag_whose_index_lies_lists_nothing(app: Repository) -> None:
    lie = type(image())(b"not json", MISSING, OCI_INDEX)
    app.store.put_manifest(APP, lie, [SUBJECT.digest.fallback_tag])
    assert app.referrers(SUBJECT.digest) == []


def test_nobody_refers_to_anything_in_an_unknown_repository(app: Repository) -> None:  # G1
    assert app.referrers(MISSING) == []
