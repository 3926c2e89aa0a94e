"""A store in OCI image layouts on disk, one layout a repository; it knows no HTTP.

    STORE/team/app/oci-layout                 the layout's version
    STORE/team/app/index.json                 every manifest, and its tags as `org.opencontainers.image.ref.name`
    STORE/team/app/blobs/sha256/<hex>         blobs and manifests, as image-spec's "OCI Image Layout" has them
    STORE/_uploads/<id>                       what is on its way in; renamed into place when it is whole

A segment of a repository's name that would clash with a layout's own files, or with a device on Windows, has an
underscore in front on disk: repository `a/blobs` lies in `STORE/a/_blobs`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock, RLock
from typing import Any, BinaryIO, TypeVar
from uuid import uuid4

from ..content import Content, chunks, file_size, is_file, open_slice, write_all
from ..errors import BlobUnknown, Denied, ManifestInvalid, ManifestUnknown, NameInvalid, NameUnknown, TagInvalid
from ..manifest import IMAGE_TYPES, INDEX_TYPES, OCI_INDEX, Descriptor, Manifest
from ..reference import Digest, Name, Tag, hasher
from . import page, verify
from .index import Index

try:
    import fcntl
except ImportError:  # Windows, where an open file can't be removed anyway
    fcntl = None  # type: ignore[assignment]

REF_NAME = "org.opencontainers.image.ref.name"
ALSO_A_BLOB = "dev.tinyreg.also-a-blob"
"""On a manifest in index.json whose bytes were pushed as a blob as well: a layout's folder can't tell the two apart."""

_Read = TypeVar("_Read")
_Signature = tuple[int, int, int]
_UNREAD: _Signature = (-1, -1, -1)

_UPLOAD = re.compile("[0-9a-f]{32}")
_CLASHING = {"blobs", "index.json", "oci-layout", "con", "prn", "aux", "nul"} | {
    f"{device}{number}" for device in ("com", "lpt") for number in range(10)
}


class DirectoryStore:
    """A store that keeps each repository as an OCI image layout in the folder `path`, made where it is missing.

    What a method has done is on disk when it returns, in the operating system's hands: it survives the end of the
    process, `kill -9` too, and of the machine only once the system has written it out. With `fsync` it is written out
    when the method returns, file and folder, and survives a power cut; that costs a wait for the disk for each blob
    and manifest, some milliseconds. Existing layouts under `path` are served.

    Two processes may open one folder. Blobs never disturb each other, and each process sees what the other has done
    with its next request. Only two changes to the tags or manifests of *one* repository at the same moment can lose
    one of the two: `index.json` is replaced whole, and the later replacement wins.

    Symbolic links in the folder are not followed, neither to blobs nor to repositories: what they lead to is not this
    store's, and is not served (`path` itself may be one).

    Raises OSError where the folder can't be read or made.
    """

    def __init__(self, path: str | os.PathLike[str], *, fsync: bool = False) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.sync: Callable[[int | Path], None] = _fsync if fsync else _leave_it_to_the_system
        """Write an open file, or what stands in a folder, out to the disk."""
        self._uploads = self.path / "_uploads"
        self._open: set[DirectoryUpload] = set()
        self._layouts: dict[Name, _Layout] = {}
        self._lock = Lock()
        self._sweep()

    def repositories(self, after: str = "", limit: int | None = None) -> list[Name]:
        return page(sorted(self._walk(self.path, "")), after, limit)

    def blob_size(self, name: Name, digest: Digest) -> int:
        return self._read(name, digest, file_size)

    def blob(self, name: Name, digest: Digest) -> Content:
        return self._read(name, digest, open_slice)

    def _read(self, name: Name, digest: Digest, read: Callable[[Path], _Read]) -> _Read:
        """What `read` makes of the blob's file. Raises BlobUnknown."""
        with suppress(FileNotFoundError, NameUnknown):
            layout = self._known(name)
            if layout.is_blob(digest):
                return read(layout.file(digest))
        raise BlobUnknown(f"blob {digest} is not known in {name}", detail={"digest": digest})

    def upload(self, name: Name, algorithm: str = "sha256") -> DirectoryUpload:
        upload = DirectoryUpload(self, name, algorithm)
        with self._lock:
            self._open.add(upload)
        return upload

    def put_blob(self, name: Name, digest: Digest, content: Content) -> None:
        upload = self.upload(name)
        try:
            for chunk in chunks(content):
                upload.write(chunk)
            upload.place(digest)
        finally:
            upload.cancel()

    def mount(self, name: Name, digest: Digest, source: Name | None) -> None:
        for candidate in self.repositories() if source is None else [source]:
            layout = self._find(candidate)
            if layout and layout.is_blob(digest) and is_file(layout.file(digest)):
                with suppress(FileNotFoundError):  # it has been deleted just now
                    self._layout(name).take(digest, partial(self._link, layout.file(digest)))
                    return
        raise BlobUnknown(detail={"digest": digest})

    def delete_blob(self, name: Name, digest: Digest) -> None:
        layout = self._find(name)
        if layout is None or not layout.drop_blob(digest):
            raise BlobUnknown(f"blob {digest} is not known in {name}", detail={"digest": digest})

    def manifest(self, name: Name, digest: Digest) -> Manifest:
        layout = self._known(name)
        descriptor = layout.index().known(digest)
        manifest = layout.read(digest, descriptor.media_type)
        if manifest is None:
            raise ManifestUnknown(f"manifest {digest} is gone from {name}'s folder", detail={"digest": digest})
        return manifest

    def put_manifest(
        self, name: Name, manifest: Manifest, tags: Sequence[Tag] = (), expected: Collection[Digest] | None = None
    ) -> None:
        self._layout(name).put(manifest, tags, expected)

    def delete_manifest(self, name: Name, digest: Digest) -> None:
        self._known(name).remove(digest)

    def resolve(self, name: Name, tag: Tag) -> Digest:
        return self._known(name).index().resolve(tag)

    def tags(self, name: Name, after: str = "", limit: int | None = None) -> list[Tag]:
        layout = self._known(name)
        with layout.lock:
            return layout.index().tags(after, limit)

    def delete_tag(self, name: Name, tag: Tag) -> None:
        self._known(name).untag(tag)

    def referrers(self, name: Name, digest: Digest) -> Sequence[Descriptor]:
        layout = self._find(name)
        return layout.referrers(digest) if layout else []

    def clear(self) -> None:
        """Delete every repository's layout from the folder; other files in it stay."""
        self.close()
        for name in self.repositories():
            self._layout(name).erase()
        with self._lock:
            self._layouts.clear()

    def close(self) -> None:
        with self._lock:
            uploads = list(self._open)
        for upload in uploads:
            upload.cancel()

    def new_file(self) -> tuple[Path, BinaryIO]:
        """A new file beside the repositories, claimed by this process, to be renamed or removed by the caller."""
        self._uploads.mkdir(exist_ok=True)
        path = self._uploads / uuid4().hex
        file = open(path, "xb", buffering=0)  # noqa: SIM115
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return path, file

    def replace(self, target: Path, data: bytes) -> None:
        """Let `target` hold `data`: what it held before, or all of it, never a part."""
        path, file = self.new_file()
        try:
            with file:
                write_all(file, data)
                self.sync(file.fileno())
            os.replace(path, target)
            self.sync(target.parent)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def forget(self, upload: DirectoryUpload) -> None:
        with self._lock:
            self._open.discard(upload)

    def _layout(self, name: Name) -> _Layout:
        layout = self._layouts.get(name)
        if layout is None:
            with self._lock:
                layout = self._layouts.setdefault(name, _Layout(self, name))
        return layout

    def _find(self, name: Name) -> _Layout | None:
        """The layout if there is one; names that clients make up leave nothing behind."""
        layout = self._layouts.get(name) or _Layout(self, name)
        return self._layout(name) if layout.exists() else None

    def _known(self, name: Name) -> _Layout:
        layout = self._find(name)
        if layout is None:
            raise NameUnknown(f"repository {name} is not known", detail={"name": name})
        return layout

    def _walk(self, folder: Path, prefix: str) -> Iterator[Name]:
        with os.scandir(folder) as entries:
            names = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False) or _is_index(entry)}
        if prefix and "index.json" in names:
            with suppress(NameInvalid):  # somebody's folder, which no client can ask for
                if self._find(found := Name.parse(prefix)):
                    yield found
        for name in names - {"index.json", "blobs", "_uploads"}:
            yield from self._walk(folder / name, f"{prefix}/{_name_of(name)}".lstrip("/"))

    def _link(self, source: Path, target: Path) -> None:
        try:
            os.link(source, target)
        except FileExistsError:
            pass
        except FileNotFoundError:
            raise
        except OSError:  # a file system without links, or a limit on them
            self._copy(source, target)

    def _copy(self, source: Path, target: Path) -> None:
        path, file = self.new_file()
        try:
            with file, open(source, "rb") as original:
                shutil.copyfileobj(original, file)
                self.sync(file.fileno())
            _move(path, target)
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _sweep(self) -> None:
        """Remove what processes that were killed have left on its way in."""
        if self._uploads.is_symlink():
            raise OSError(f"{self._uploads} is a symbolic link: what is in there is not this store's")
        if not self._uploads.is_dir():
            return
        for path in self._uploads.iterdir():
            if not _UPLOAD.fullmatch(path.name):
                continue
            try:
                with open(path, "rb") as file:
                    if fcntl is not None:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            except OSError:  # its process lives, or has just finished it; or the folder is read-only
                continue


class DirectoryUpload:
    """An upload in a file of its own, renamed into the repository when it is whole."""

    def __init__(self, store: DirectoryStore, name: Name, algorithm: str) -> None:
        self.size = 0
        self._hash = hasher(algorithm)
        self._store = store
        self._name = name
        self._path, self._file = store.new_file()
        self.id = self._path.name

    def write(self, data: bytes | memoryview) -> None:
        write_all(self._file, data)
        self._hash.update(data)
        self.size += len(data)

    def commit(self, digest: Digest) -> None:
        try:
            self._store.sync(self._file.fileno())
            self._file.close()
            verify(digest, self._hash, open_slice(self._path) if digest.algorithm != self._hash.name else b"")
            self.place(digest)
        finally:
            self.cancel()

    def place(self, digest: Digest) -> None:
        """Rename what was written into the repository as the blob `digest`, checked by nobody."""
        if not self._file.closed:
            self._store.sync(self._file.fileno())
        self._file.close()
        self._store._layout(self._name).take(digest, partial(_move, self._path))

    def cancel(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)
        self._store.forget(self)


class _Layout:
    """One repository's folder. `lock` is held by whoever changes the index, or reads more than one thing of it."""

    def __init__(self, store: DirectoryStore, name: Name) -> None:
        self.lock = RLock()
        self._store = store
        self._name = name
        self._folder = store.path.joinpath(*map(_on_disk, name.split("/")))
        self._index_file = self._folder / "index.json"
        self._index = Index(name)
        self._seen: _Signature | None = _UNREAD
        self._top: dict[str, Any] = {}
        self._has_referrers = False
        self._own = False

    def exists(self) -> bool:
        return is_file(self._index_file) and self.is_own()

    def is_own(self) -> bool:
        """Whether no folder of it is a symbolic link, which might lead out of the store."""
        if not self._own:
            folders = [self._folder, *self._folder.parents]
            above = folders[: folders.index(self._store.path)]
            inside = [self._folder / "blobs", *(self._folder / "blobs" / each for each in ("sha256", "sha512"))]
            self._own = not any(each.is_symlink() for each in (*above, *inside))
        return self._own

    def file(self, digest: Digest) -> Path:
        return self._folder / "blobs" / digest.algorithm / digest.encoded

    def index(self) -> Index:
        """What index.json says, read again if it has changed under us."""
        if self._signature() != self._seen:
            with self.lock:  # nobody is between changing the index and saving it
                signature = self._signature()
                if signature != self._seen:
                    self._index, self._top = self._load() if signature else (Index(self._name), {})
                    self._seen, self._has_referrers = signature, False
        return self._index

    @contextmanager
    def change(self) -> Iterator[Index]:
        """The index, to be changed in the block and saved at its end; where that fails, it is as it was."""
        with self.lock:
            try:
                yield self.index()
                self._save()
            except BaseException:
                self._seen = _UNREAD
                raise

    def is_blob(self, digest: Digest) -> bool:
        """False for a manifest that was not pushed as a blob as well: it is no blob of the repository (SPEC C6)."""
        manifest = self.index().manifests.get(digest)
        return manifest is None or ALSO_A_BLOB in manifest.annotations

    def read(self, digest: Digest, media_type: str) -> Manifest | None:
        """The manifest in the file, or None where it is not there."""
        try:
            return Manifest(bytes(open_slice(self.file(digest))), digest, media_type)
        except FileNotFoundError:
            return None

    def take(self, digest: Digest, move: Callable[[Path], None]) -> None:
        """Let `move` bring the blob `digest` into place, and make the repository known."""
        with self.lock:
            self._make(digest)
            move(self.file(digest))
            self._store.sync(self.file(digest).parent)
            if not self.is_blob(digest):
                with self.change() as index:
                    _mark(index, digest, also_a_blob=True)

    def put(self, manifest: Manifest, tags: Sequence[Tag], expected: Collection[Digest] | None) -> None:
        with self.lock:
            self.index().expect(tags, expected)
            self._make(manifest.digest)
            also_a_blob = self.is_blob(manifest.digest) and is_file(self.file(manifest.digest))
            known = manifest.digest in self.index().manifests
            self._store.replace(self.file(manifest.digest), manifest.data)
            try:
                with self.change() as index:
                    index.add(manifest, tags)
                    _mark(index, manifest.digest, also_a_blob=also_a_blob)
            except BaseException:
                if not known and not also_a_blob:  # else it would pass for a blob
                    self.file(manifest.digest).unlink(missing_ok=True)
                raise

    def remove(self, digest: Digest) -> None:
        with self.lock:
            also_a_blob = self.is_blob(digest)
            with self.change() as index:
                index.remove(digest)
            if not also_a_blob:
                self.file(digest).unlink(missing_ok=True)

    def drop_blob(self, digest: Digest) -> bool:
        """Forget the blob; False where there is none."""
        with self.lock:
            if not self.is_blob(digest) or not is_file(self.file(digest)):
                return False
            if digest in self.index().manifests:
                with self.change() as index:
                    _mark(index, digest, also_a_blob=False)
            else:
                self.file(digest).unlink()
            return True

    def untag(self, tag: Tag) -> None:
        with self.change() as index:
            index.untag(tag)

    def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        with self.lock:
            index = self.index()
            if not self._has_referrers:
                for known, descriptor in list(index.manifests.items()):
                    if manifest := self.read(known, descriptor.media_type):
                        index.refer(manifest)
                self._has_referrers = True
            return index.referrers(digest)

    def erase(self) -> None:
        with self.lock:
            self._index_file.unlink(missing_ok=True)
            (self._folder / "oci-layout").unlink(missing_ok=True)
            shutil.rmtree(self._folder / "blobs", ignore_errors=True)
            for folder in (self._folder, *self._folder.parents):
                if folder == self._store.path or any(folder.iterdir()):
                    return
                folder.rmdir()

    def _make(self, digest: Digest) -> None:
        if not self.is_own():
            raise Denied(f"repository {self._name} lies behind a symbolic link, which this store does not follow")
        self.file(digest).parent.mkdir(parents=True, exist_ok=True)
        if not self.exists():
            for folder in (self.file(digest).parent, self._folder / "blobs", self._folder, *self._folder.parents):
                self._store.sync(folder)
                if folder == self._store.path:
                    break
            self._store.replace(self._folder / "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            self._save()

    def _save(self) -> None:
        entries = [entry for descriptor in self._index.manifests.values() for entry in self._entries(descriptor)]
        top = {"schemaVersion": 2, "mediaType": OCI_INDEX, **self._top, "manifests": entries}
        self._store.replace(self._index_file, json.dumps(top, separators=(",", ":")).encode())
        self._seen = self._signature()

    def _signature(self) -> _Signature | None:
        """What changes whenever index.json does; None where there is none."""
        try:
            found = os.stat(self._index_file)
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _entries(self, descriptor: Descriptor) -> Iterator[dict[str, Any]]:
        entry = descriptor.to_json()
        tags = self._index.tags_of(descriptor.digest)
        for tag in tags:
            yield {**entry, "annotations": {**descriptor.annotations, REF_NAME: tag}}
        if not tags:
            yield entry

    def _load(self) -> tuple[Index, dict[str, Any]]:
        index = Index(self._name)
        try:
            top: dict[str, Any] = json.loads(self._index_file.read_bytes())
            for entry in top.pop("manifests"):
                self._enter(index, Descriptor.from_json(entry))
        except (ValueError, AttributeError, KeyError, TypeError, ManifestInvalid) as error:
            raise OSError(f"{self._index_file} is no image index: {error}") from error
        self._descend(index)
        return index, top

    def _enter(self, index: Index, descriptor: Descriptor) -> None:
        """Know a manifest that index.json lists, by its tag if it has one (SPEC L2)."""
        annotations = dict(descriptor.annotations)
        tag = _tag_of(annotations.pop(REF_NAME, ""))
        index.manifests.setdefault(descriptor.digest, replace(descriptor, annotations=annotations))
        if tag is not None:
            index.tag(tag, descriptor.digest)

    def _descend(self, index: Index) -> None:
        """Know the manifests that other programs list in nested indexes only, as far as they are there (SPEC L3).

        What index.json itself says of a manifest goes first. Children of other types are blobs: caches list layers.
        """
        found = list(index.manifests.values())
        for descriptor in found:  # which grows
            for child in self._children(descriptor):
                known = child.media_type in IMAGE_TYPES | INDEX_TYPES
                if known and child.digest not in index.manifests and is_file(self.file(child.digest)):
                    index.manifests[child.digest] = Descriptor(child.media_type, child.digest, child.size)
                    found.append(child)

    def _children(self, descriptor: Descriptor) -> Sequence[Descriptor]:
        if descriptor.media_type not in INDEX_TYPES:
            return ()
        manifest = self.read(descriptor.digest, descriptor.media_type)
        try:
            return manifest.manifests if manifest else ()
        except ManifestInvalid:  # put there by other programs, or by `put_raw`: it lists nothing then
            return ()


def _mark(index: Index, digest: Digest, *, also_a_blob: bool) -> None:
    """Note, or no longer note, that the manifest's bytes are a blob of the repository, too."""
    descriptor = index.manifests[digest]
    annotations = {key: value for key, value in descriptor.annotations.items() if key != ALSO_A_BLOB}
    if also_a_blob:
        annotations[ALSO_A_BLOB] = "true"
    index.manifests[digest] = replace(descriptor, annotations=annotations)


def _fsync(what: int | Path) -> None:
    if isinstance(what, int):
        os.fsync(what)
    elif os.name != "nt":  # where folders can't be opened
        folder = os.open(what, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _leave_it_to_the_system(what: int | Path) -> None:
    pass


def _move(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except PermissionError:
        if not target.is_file():  # Windows refuses where the target is being read: it is there already, then
            raise


def _is_index(entry: os.DirEntry[str]) -> bool:
    return entry.name == "index.json" and entry.is_file(follow_symlinks=False)


def _on_disk(segment: str) -> str:
    return f"_{segment}" if segment.partition(".")[0] in _CLASHING or segment in _CLASHING else segment


def _name_of(folder: str) -> str:
    return folder[1:] if folder[:1] == "_" and _on_disk(folder[1:]) == folder else folder


def _tag_of(ref_name: str) -> Tag | None:
    """The tag in an annotation, which may be a whole `host/repository:tag` (SPEC L2)."""
    try:
        return Tag.parse(ref_name.rpartition(":")[2])
    except TagInvalid:
        return None
