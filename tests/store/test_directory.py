from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tinyreg import content
from tinyreg.content import SMALL, FileSlice
from tinyreg.errors import BlobUnknown, BlobUploadUnknown, DigestInvalid, ManifestUnknown
from tinyreg.manifest import OCI_INDEX, Descriptor, Manifest
from tinyreg.reference import Digest, Name, Tag
from tinyreg.store import directory, indexfile
from tinyreg.store.directory import ALSO_A_BLOB, REF_NAME, DirectoryStore

from . import APP, DATA, DIGEST, OTHER, V1, V2, files, has_blob, image, index, push


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


def blob_file(tmp_path: Path, digest: Digest, folder: str = "team/app") -> Path:
    return tmp_path / folder / "blobs" / digest.algorithm / digest.encoded


def written(tmp_path: Path, folder: str = "team/app") -> Any:
    return json.loads((tmp_path / folder / "index.json").read_bytes())


def layout(folder: Path, entries: list[dict[str, Any]], *blobs: bytes, **top: Any) -> None:
    """An image layout as another program writes it."""
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    for data in blobs:
        (folder / "blobs" / "sha256" / Digest.of(data).encoded).write_bytes(data)
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, **top, "manifests": entries}))


def entry(manifest: Manifest, ref_name: str | None = None, **annotations: str) -> dict[str, Any]:
    named = {**annotations, **({} if ref_name is None else {REF_NAME: ref_name})}
    return {**manifest.descriptor.to_json(), **({"annotations": named} if named else {})}


def refuse(number: int) -> Any:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refused


def full(write_at: Any) -> Any:
    """A disk that takes a part of what is written, and has just room for what was there before."""

    def write(file: int, at: int, data: bytes) -> None:
        write_at(file, at, data if data == b"]}" else data[: len(data) // 2])
        if data != b"]}":
            raise OSError(errno.ENOSPC, "disk full")

    return write


# What lies on disk (L1–L3)


def test_a_repository_is_an_image_layout(store: DirectoryStore, tmp_path: Path) -> None:
    push(store)
    store.put_manifest(APP, image(), [V1, V2])
    store.put_manifest(APP, image("untagged"))
    found = files(tmp_path)
    assert set(found) == {
        "team/app/oci-layout",
        "team/app/index.json",
        f"team/app/blobs/sha256/{DIGEST.encoded}",
        f"team/app/blobs/sha256/{image().digest.encoded}",
        f"team/app/blobs/sha256/{image('untagged').digest.encoded}",
    }
    assert found["team/app/oci-layout"] == b'{"imageLayoutVersion":"1.0.0"}'
    assert found[f"team/app/blobs/sha256/{DIGEST.encoded}"] == DATA
    assert found[f"team/app/blobs/sha256/{image().digest.encoded}"] == image().data
    assert written(tmp_path) == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [entry(image(), "v1"), entry(image(), "v2"), entry(image("untagged"))],
    }


def test_a_blob_under_sha512_lies_in_a_folder_of_its_own(store: DirectoryStore, tmp_path: Path) -> None:
    digest = push(store, algorithm="sha512")
    assert (tmp_path / "team/app/blobs/sha512" / digest.encoded).read_bytes() == DATA


def test_the_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    DirectoryStore(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_in_place_of_the_folder_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        DirectoryStore(tmp_path / "file")


def test_content_is_a_slice_of_the_file_in_the_layout_unless_it_is_small(store: DirectoryStore, tmp_path: Path) -> None:
    digest = push(store, data=bytes(SMALL + 1))
    content = store.blob(APP, digest)
    assert isinstance(content, FileSlice)
    assert os.fstat(content.file.fileno()).st_ino == blob_file(tmp_path, digest).stat().st_ino
    assert store.blob(APP, push(store, data=bytes(SMALL))) == bytes(SMALL)


def test_an_upload_is_in_memory_while_it_is_small_then_one_file_beside_the_repositories(
    store: DirectoryStore, tmp_path: Path
) -> None:
    upload, whole = store.upload(APP), b"".join([DATA] * (SMALL // len(DATA) + 1))
    upload.write(whole[:SMALL])
    assert files(tmp_path) == {}
    upload.write(whole[SMALL:])
    assert files(tmp_path) == {f"_uploads/{upload.id}": whole}
    upload.cancel()
    assert files(tmp_path) == {}


@pytest.mark.parametrize("small", [0, len(DATA) // 2, SMALL], ids=["at once", "halfway", "never"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_wherever_it_goes_to_disk_the_blob_is_what_was_written(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: int, algorithm: str
) -> None:
    monkeypatch.setattr(directory, "SMALL", small)
    upload, digest = store.upload(APP), Digest.of(DATA, algorithm)
    for at in range(0, len(DATA), 5):
        upload.write(DATA[at : at + 5])
    assert upload.size == len(DATA)
    upload.commit(digest)
    assert blob_file(tmp_path, digest).read_bytes() == DATA
    assert list((tmp_path / "_uploads").iterdir()) == []


@pytest.mark.parametrize("small", [0, SMALL], ids=["on disk", "in memory"])
def test_an_upload_that_is_over_takes_and_places_nothing(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: int
) -> None:
    monkeypatch.setattr(directory, "SMALL", small)
    upload = store.upload(APP)
    upload.write(DATA)
    store.close()
    with pytest.raises(BlobUploadUnknown):
        upload.write(DATA)
    with pytest.raises(BlobUploadUnknown):
        upload.commit(DIGEST)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_digest_mismatch_leaves_nothing_on_disk(store: DirectoryStore, tmp_path: Path, algorithm: str) -> None:
    upload = store.upload(APP)
    upload.write(DATA)
    with pytest.raises(DigestInvalid):
        upload.commit(Digest.of(b"else", algorithm))
    assert files(tmp_path) == {}
    assert not (tmp_path / "team").exists()


def test_a_committed_upload_was_renamed_into_place(store: DirectoryStore, tmp_path: Path) -> None:
    upload, data = store.upload(APP), bytes(SMALL + 1)
    upload.write(data)
    inode = (tmp_path / "_uploads" / upload.id).stat().st_ino
    upload.commit(Digest.of(data))
    assert blob_file(tmp_path, Digest.of(data)).stat().st_ino == inode
    assert list((tmp_path / "_uploads").iterdir()) == []


def test_names_that_clients_make_up_leave_nothing_behind(store: DirectoryStore, tmp_path: Path) -> None:
    assert not has_blob(store, APP, DIGEST)
    assert list(store.referrers(APP, DIGEST)) == []
    assert store._layouts == {}
    assert files(tmp_path) == {}


CLASHING = {
    "a/blobs": "a/_blobs",
    "a/index.json": "a/_index.json",
    "a/oci-layout/b": "a/_oci-layout/b",
    "con": "_con",
    "con.fig": "_con.fig",
    "a/com1/nul": "a/_com1/_nul",
    "blobs/sha256": "_blobs/sha256",
    "uploads": "uploads",
    "a/console": "a/console",
}


@pytest.mark.parametrize(("name", "folder"), CLASHING.items(), ids=CLASHING)
def test_a_name_that_would_clash_is_stored_beside_and_read_back(tmp_path: Path, name: str, folder: str) -> None:
    store, clashing = DirectoryStore(tmp_path), Name.parse(name)
    push(store, Name.parse("a"))
    push(store, clashing)
    assert blob_file(tmp_path, DIGEST, folder).read_bytes() == DATA
    again = DirectoryStore(tmp_path)
    assert again.repositories() == sorted({"a", name})
    assert bytes(again.blob(clashing, DIGEST)) == DATA


def test_folders_that_are_no_repositories_are_not_listed(store: DirectoryStore, tmp_path: Path) -> None:
    push(store)
    for folder in ("Upper", "_mine", "team/app/blobs/x", "no layout"):
        (tmp_path / folder).mkdir()
    for folder in ("Upper", "_mine", "team/app/blobs/x", "."):
        (tmp_path / folder / "index.json").write_text("{}")
    assert store.repositories() == [APP]


# Mount (issue 3.2)


@pytest.mark.parametrize("source", [OTHER, None], ids=["from a repository", "from anywhere"])
def test_a_mount_is_a_hard_link(store: DirectoryStore, tmp_path: Path, source: Name | None) -> None:
    push(store, OTHER)
    store.mount(APP, DIGEST, source)
    here, there = blob_file(tmp_path, DIGEST), blob_file(tmp_path, DIGEST, "other")
    assert (here.stat().st_nlink, here.stat().st_ino) == (2, there.stat().st_ino)
    store.mount(APP, DIGEST, source)  # the link is there already
    assert here.stat().st_nlink == 2


def test_a_mount_is_a_copy_where_links_are_refused(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(store, OTHER)
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    store.mount(APP, DIGEST, OTHER)
    here, there = blob_file(tmp_path, DIGEST), blob_file(tmp_path, DIGEST, "other")
    assert here.read_bytes() == DATA
    assert here.stat().st_ino != there.stat().st_ino
    assert list((tmp_path / "_uploads").iterdir()) == []


# Layouts of other programs


def test_a_layout_written_by_another_program_is_served(tmp_path: Path) -> None:
    tagged, root, child, grandchild, away = (image(note) for note in ("tag", "root", "child", "grandchild", "away"))
    inner = index(grandchild)
    outer = index(child, inner, away)
    entries = [entry(tagged, "v1"), entry(tagged, "docker.io/team/app:v2"), entry(root), entry(outer, "multi")]
    data = (each.data for each in (tagged, root, child, grandchild, inner, outer))
    layout(tmp_path / "team/app", [*entries, entry(root, "not a tag!")], *data, DATA)
    store = DirectoryStore(tmp_path)
    assert store.repositories() == [APP]
    assert store.tags(APP) == ["multi", "v1", "v2"]
    assert store.resolve(APP, V1) == store.resolve(APP, V2) == tagged.digest
    for manifest in (tagged, root, child, grandchild, inner, outer):
        assert store.manifest(APP, manifest.digest).data == manifest.data
        assert not has_blob(store, APP, manifest.digest)
    with pytest.raises(ManifestUnknown):
        store.manifest(APP, away.digest)
    assert bytes(store.blob(APP, DIGEST)) == DATA


def test_what_another_program_wrote_is_kept_when_the_index_is_rewritten(tmp_path: Path) -> None:
    layout(
        tmp_path / "team/app",
        [entry(image(), "v1", mine="kept") | {"platform": {"os": "linux"}}],
        image().data,
        annotations={"top": "kept"},
        artifactType="a/t",
    )
    DirectoryStore(tmp_path).put_manifest(APP, image("new"), [V2])
    found = written(tmp_path)
    assert found["annotations"] == {"top": "kept"}
    assert found["artifactType"] == "a/t"
    assert found["manifests"] == [
        entry(image(), "v1", mine="kept") | {"platform": {"os": "linux"}},
        entry(image("new"), "v2"),
    ]


def test_referrers_in_a_layout_are_found(tmp_path: Path) -> None:
    referrer = image("one", image().descriptor)
    lie = b'{"subject": 7}'
    liar = {**referrer.descriptor.to_json(), "digest": Digest.of(lie), "size": len(lie)}
    layout(tmp_path / "team/app", [entry(referrer), liar, entry(image("gone"))], referrer.data, lie)
    assert list(DirectoryStore(tmp_path).referrers(APP, image().digest)) == [referrer.as_referrer]


def test_a_manifest_whose_file_is_gone_is_unknown(store: DirectoryStore, tmp_path: Path) -> None:
    store.put_manifest(APP, image(), [V1])
    blob_file(tmp_path, image().digest).unlink()
    with pytest.raises(ManifestUnknown, match="is gone"):
        store.manifest(APP, image().digest)
    store.delete_manifest(APP, image().digest)
    assert store.tags(APP) == []


def test_a_nested_index_that_lies_lists_nothing_and_breaks_nothing(store: DirectoryStore, tmp_path: Path) -> None:
    store.put_manifest(APP, Manifest(b"not json", Digest.of(b"not json"), OCI_INDEX), [V1])
    again = DirectoryStore(tmp_path)
    assert again.manifest(APP, again.resolve(APP, V1)).data == b"not json"


def test_a_blob_that_an_index_lists_is_still_a_blob_for_the_next_process(
    store: DirectoryStore, tmp_path: Path
) -> None:  # as buildkit's caches do
    push(store)
    listed = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", DIGEST, len(DATA)).to_json()
    cache = index(manifests=[listed])
    store.put_manifest(APP, cache, [V1])
    again = DirectoryStore(tmp_path)
    assert bytes(again.blob(APP, DIGEST)) == DATA
    with pytest.raises(ManifestUnknown):
        again.manifest(APP, DIGEST)


# The next process, and another one at the same time


def test_the_next_process_sees_everything_that_was_acknowledged(store: DirectoryStore, tmp_path: Path) -> None:
    referrer, both = image("one", image().descriptor), image("both")
    push(store)
    push(store, data=both.data)
    store.put_manifest(APP, index(image(), both), [Tag.parse("multi")])
    for manifest, tags in ((image(), [V1, V2]), (referrer, []), (both, [])):
        store.put_manifest(APP, manifest, tags)
    store.close()
    again = DirectoryStore(tmp_path)
    assert again.tags(APP) == ["multi", "v1", "v2"]
    assert again.resolve(APP, V1) == image().digest
    assert list(again.referrers(APP, image().digest)) == [referrer.as_referrer]
    assert bytes(again.blob(APP, DIGEST)) == DATA
    assert bytes(again.blob(APP, both.digest)) == again.manifest(APP, both.digest).data == both.data
    assert not has_blob(again, APP, image().digest)
    again.delete_manifest(APP, referrer.digest)
    assert list(DirectoryStore(tmp_path).referrers(APP, image().digest)) == []


def test_what_one_process_changes_the_other_sees_with_its_next_call(store: DirectoryStore, tmp_path: Path) -> None:
    other = DirectoryStore(tmp_path)
    for number in range(20):
        manifest = image(str(number), image().descriptor)
        changer, watcher = (store, other) if number % 2 else (other, store)
        changer.put_manifest(APP, manifest, [V1])
        assert watcher.resolve(APP, V1) == manifest.digest
        assert [each.digest for each in watcher.referrers(APP, image().digest)] == [manifest.digest]
        watcher.delete_manifest(APP, manifest.digest)
        assert changer.tags(APP) == []
        assert list(changer.referrers(APP, image().digest)) == []
    push(store)
    assert bytes(other.blob(APP, DIGEST)) == DATA
    other.clear()
    assert store.repositories() == []
    assert not has_blob(store, APP, DIGEST)
    store.put_manifest(APP, image("after"), [V2])
    assert other.tags(APP) == [V2]


def test_a_manifest_kept_in_memory_is_gone_when_another_process_deletes_it(
    store: DirectoryStore, tmp_path: Path
) -> None:
    store.put_manifest(APP, image(), [V1])
    assert store.manifest(APP, image().digest).data == image().data
    assert store.manifests == {(APP, image().digest): image().data}
    DirectoryStore(tmp_path).delete_manifest(APP, image().digest)
    with pytest.raises(ManifestUnknown):
        store.manifest(APP, image().digest)


def test_only_so_many_small_manifests_are_kept_in_memory(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "KEPT", 2)
    monkeypatch.setattr(directory, "KEPT_BYTES", len(image("x" * 100).data))
    pushed = [image(note) for note in ("x" * 101, "a", "b", "c")]
    for manifest in pushed:
        store.put_manifest(APP, manifest)
        assert store.manifest(APP, manifest.digest).data == manifest.data
    assert list(store.manifests) == [(APP, each.digest) for each in pushed[2:]]


def test_a_repository_made_by_two_processes_at_once_keeps_what_the_faster_one_has_put_there(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = directory._Layout._make

    def late(self: Any, digest: Digest) -> None:
        monkeypatch.undo()
        DirectoryStore(tmp_path).put_manifest(APP, image("faster"), [V1])
        self.known = lambda: None  # it had looked before
        made(self, digest)
        del self.known

    monkeypatch.setattr(directory._Layout, "_make", late)
    store.put_manifest(APP, image("slower"), [V2])
    assert store.tags(APP) == [V1, V2]


def test_a_folder_removed_behind_our_back_is_an_unknown_blob(store: DirectoryStore, tmp_path: Path) -> None:
    push(store)
    blob_file(tmp_path, DIGEST).unlink()
    with pytest.raises(BlobUnknown):
        store.blob(APP, DIGEST)
    with pytest.raises(BlobUnknown):
        store.delete_blob(APP, DIGEST)


# Failures


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", "{}", '{"manifests": 7}', '{"manifests": [{}]}', '{"manifests": ["x"]}', "\xff"],
)
def test_a_broken_index_is_an_oserror_and_is_never_overwritten(tmp_path: Path, text: str) -> None:
    layout(tmp_path / "team/app", [], DATA)
    broken = tmp_path / "team/app/index.json"
    broken.write_bytes(text.encode("latin-1"))
    store = DirectoryStore(tmp_path)
    for ask in (
        lambda: store.tags(APP),
        lambda: store.blob(APP, DIGEST),
        lambda: store.put_manifest(APP, image(), [V1]),
        lambda: store.delete_tag(APP, V1),
    ):
        with pytest.raises(OSError, match="no image index") as caught:
            ask()
        assert str(broken) in str(caught.value)
    assert broken.read_bytes() == text.encode("latin-1")
    assert store.repositories() == [APP]


@pytest.mark.parametrize("first", [True, False], ids=["the first manifest", "a later one"])
def test_a_failing_save_leaves_the_index_as_it_was(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    push(store)
    if not first:
        store.put_manifest(APP, image("old", image().descriptor), [V1])
    before, asked = files(tmp_path), (store.tags(APP), list(store.referrers(APP, image().digest)))
    with monkeypatch.context() as patch:
        patch.setattr(indexfile, "write_at", full(indexfile.write_at))
        with pytest.raises(OSError, match="disk full"):
            store.put_manifest(APP, image("new", image().descriptor), [V1, V2])
        if not first:
            with pytest.raises(OSError, match="disk full"):
                store.delete_tag(APP, V1)
            with pytest.raises(OSError, match="disk full"):
                store.delete_manifest(APP, store.resolve(APP, V1))
        assert (store.tags(APP), list(store.referrers(APP, image().digest))) == asked
    assert files(tmp_path) == before
    assert not has_blob(store, APP, image("new", image().descriptor).digest)
    store.put_manifest(APP, image("new"), [V1])
    assert store.resolve(APP, V1) == image("new").digest


def test_a_failing_save_takes_no_blob_away(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    push(store, data=image().data)
    monkeypatch.setattr(indexfile, "write_at", full(indexfile.write_at))
    with pytest.raises(OSError, match="disk full"):
        store.put_manifest(APP, image(), [V1])
    assert bytes(store.blob(APP, image().digest)) == image().data


@pytest.mark.parametrize("size", [SMALL, SMALL + 1])
@pytest.mark.parametrize("call", ["open", "write", "replace"])
def test_a_failing_upload_leaves_no_blob_and_no_file(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, call: str
) -> None:
    push(store, data=b"first")
    before, data = files(tmp_path), bytes(size)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse(errno.ENOSPC))
        if size > SMALL and call == "write":  # which is the file's own, and told when it is written
            patch.setattr(directory, "write_all", refuse(errno.ENOSPC))
        with pytest.raises(OSError, match="No space"):
            store.put_blob(APP, Digest.of(data), data)
    assert files(tmp_path) == before
    assert list((tmp_path / "_uploads").iterdir()) == []
    push(store, data=data)  # the control


@pytest.mark.parametrize("there", [True, False], ids=["the target is there", "it is not"])
def test_a_target_that_may_not_be_replaced_counts_where_it_is_there(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:  # Windows, where the target is being read
    push(store, data=DATA if there else b"another")
    monkeypatch.setattr(os, "replace", refuse(errno.EACCES))
    if there:
        push(store)
    else:
        with pytest.raises(PermissionError):
            push(store)
    assert has_blob(store, APP, DIGEST) is there


def test_a_file_that_takes_bytes_in_pieces_gets_them_all() -> None:
    class Slow:
        got = b""

        def write(self, data: memoryview) -> int:
            self.got += bytes(data[:3])
            return min(3, len(data))

    slow: Any = Slow()
    content.write_all(slow, DATA)
    assert slow.got == DATA


# What killed processes left


@pytest.fixture
def leftover(tmp_path: Path) -> Path:
    (tmp_path / "_uploads").mkdir()
    path = tmp_path / "_uploads" / ("0" * 32)
    path.write_bytes(b"half")
    return path


def test_what_a_dead_process_left_is_swept(leftover: Path, tmp_path: Path) -> None:
    DirectoryStore(tmp_path)
    assert not leftover.exists()


def test_what_a_living_process_writes_is_not_swept(store: DirectoryStore, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    upload, data = store.upload(APP), bytes(SMALL + 1)
    upload.write(data)
    DirectoryStore(tmp_path)
    upload.commit(Digest.of(data))
    assert bytes(store.blob(APP, Digest.of(data))) == data


def swept(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let so many files be swept away by another process just before they are renamed."""
    left, move = [None] * times, os.replace

    def late(source: str, target: str) -> None:
        if left:
            left.pop()
            DirectoryStore(Path(source).parents[1])
        move(source, target)

    monkeypatch.setattr(os, "replace", late)


def test_what_is_written_at_once_is_written_again_where_another_process_swept_it(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(store)
    swept(1, monkeypatch)
    push(store, data=b"second")
    swept(1, monkeypatch)
    store.put_manifest(APP, image(), [V1])
    again = DirectoryStore(tmp_path)
    assert bytes(again.blob(APP, Digest.of(b"second"))) == b"second"
    assert again.manifest(APP, again.resolve(APP, V1)).data == image().data
    swept(100, monkeypatch)
    with pytest.raises(FileNotFoundError):  # somebody sweeps all the time
        push(store, data=b"third")
    assert list((tmp_path / "_uploads").iterdir()) == []


def test_where_there_are_no_locks_uploads_work_and_leftovers_are_swept(
    leftover: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "fcntl", None)
    store = DirectoryStore(tmp_path)
    assert not leftover.exists()
    for data in (DATA, bytes(SMALL + 1)):
        assert bytes(store.blob(APP, push(store, data=data))) == data
    store.put_manifest(APP, image(), [V1])
    assert DirectoryStore(tmp_path).tags(APP) == [V1]


# Clear


def test_clear_removes_layouts_and_leaves_foreign_files(store: DirectoryStore, tmp_path: Path) -> None:
    for text in ("a", "a/b", "c/d/e", "f/g"):
        push(store, Name.parse(text))
        store.put_manifest(Name.parse(text), image(), [V1])
    (tmp_path / "f" / "README").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    upload = store.upload(APP)
    upload.write(b"half")
    store.clear()
    assert files(tmp_path) == {"f/README": b"mine"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_uploads", "elsewhere", "f"]
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == ["README"]
    assert store.repositories() == []


def test_a_digest_that_is_both_is_marked_in_the_index_for_the_next_process(
    store: DirectoryStore, tmp_path: Path
) -> None:
    push(store, data=image().data)
    store.put_manifest(APP, image(), [V1])
    assert written(tmp_path)["manifests"] == [entry(image(), "v1", **{ALSO_A_BLOB: "true"})]
    DirectoryStore(tmp_path).delete_blob(APP, image().digest)
    assert written(tmp_path)["manifests"] == [entry(image(), "v1")]
    assert not has_blob(store, APP, image().digest)
    assert store.manifest(APP, image().digest).data == image().data


def test_what_is_put_unchecked_is_kept_as_told(store: DirectoryStore, tmp_path: Path) -> None:
    store.put_blob(APP, DIGEST, b"a lie")
    assert blob_file(tmp_path, DIGEST).read_bytes() == b"a lie"
    assert list((tmp_path / "_uploads").iterdir()) == []


# What survives a power cut


class Disk:
    """What has been written out, in the order of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, str]] = []
        fsync, move = os.fsync, os.replace

        def seen_fsync(number: int) -> None:
            fsync(number)
            self.events.append(("fsync", os.readlink(f"/proc/self/fd/{number}")))

        def seen_move(source: Path, target: Path) -> None:
            move(source, target)
            self.events.append(("rename", f"{source} {target}"))

        monkeypatch.setattr(os, "fsync", seen_fsync)
        monkeypatch.setattr(os, "replace", seen_move)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_with_fsync_a_file_is_written_out_before_its_rename_and_the_folder_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, disk = DirectoryStore(tmp_path, fsync=True), Disk(monkeypatch)
    push(store)
    store.put_blob(OTHER, DIGEST, DATA)
    store.put_manifest(APP, image(), [V1])
    renames = [(number, text.split()) for number, (kind, text) in enumerate(disk.events) if kind == "rename"]
    assert {Path(target).name for _, (_, target) in renames} >= {DIGEST.encoded, image().digest.encoded}
    for number, (source, target) in renames:
        assert ("fsync", source) in disk.events[:number]
        assert ("fsync", str(Path(target).parent)) in disk.events[number:]
    for folder in (tmp_path, tmp_path / "team", tmp_path / "team" / "app", tmp_path / "team" / "app" / "blobs"):
        assert ("fsync", str(folder)) in disk.events  # where the new names of folders stand
    disk.events.clear()
    store.mount(Name.parse("third"), DIGEST, APP)
    assert ("fsync", str(tmp_path / "third" / "blobs" / "sha256")) in disk.events


def test_without_fsync_the_system_decides_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    store = DirectoryStore(tmp_path)
    push(store)
    store.put_manifest(APP, image(), [V1])
    with pytest.raises(OSError, match="Input/output"):
        push(DirectoryStore(tmp_path, fsync=True))  # the control


@pytest.mark.parametrize("links", [True, False])
def test_a_mount_whose_source_is_deleted_meanwhile_is_blob_unknown_and_leaves_nothing(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """Found by `python -m tests.fuzz concurrent --seed 1 --first 3`: a 500, and a file left in _uploads."""
    push(store)
    link = os.link

    def late(source: str, target: str) -> None:
        os.unlink(source)
        if not links:
            raise OSError(errno.EMLINK, "Too many links")
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(BlobUnknown):
        store.mount(OTHER, DIGEST, APP)
    assert list((tmp_path / "_uploads").iterdir()) == []
    assert not has_blob(store, OTHER, DIGEST)


def test_where_folders_cannot_be_opened_fsync_is_about_files_alone(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    synced: list[int] = []
    monkeypatch.setattr(directory, "os", SimpleNamespace(name="nt", fsync=synced.append, open=refuse(errno.EACCES)))
    directory._fsync(str(tmp_path))
    assert synced == []
    directory._fsync(5)
    assert synced == [5]


def test_a_folder_that_is_one_layout_is_no_store(tmp_path: Path) -> None:
    push(DirectoryStore(tmp_path / "store"))
    with pytest.raises(ValueError, match="one layout, not a folder of them: load it, or serve the folder it lies in"):
        DirectoryStore(tmp_path / "store" / APP)
