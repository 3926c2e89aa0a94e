"""A store in OCI image layouts on disk, one layout a repository; it knows no HTTP.

    STORE/team/app/oci-layout                 the layout's version
    STORE/team/app/index.json                 every manifest, and its tags as `org.opencontainers.image.ref.name`
    STORE/team/app/blobs/sha256/<hex>         blobs and manifests, as image-spec's "OCI Image Layout" has them
    STORE/_uploads/<id>                       what is on its way in, unless it is small and still in memory; renamed
                                              into place when it is whole

A segment of a repository's name that would clash with a layout's own files, or with a device on Windows, has an
underscore in front on disk: repository `a/blobs` lies in `STORE/a/_blobs`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock, RLock
from typing import Any, BinaryIO, TypeVar

from ..content import (
    BINARY,
    SMALL,
    Content,
    chunks,
    file_size,
    is_file,
    open_slice,
    read_small,
    write_all,
    write_descriptor,
)
from ..errors import (
    BlobUnknown,
    BlobUploadUnknown,
    Denied,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    TagInvalid,
)
from ..manifest import IMAGE_TYPES, INDEX_TYPES, OCI_INDEX, Descriptor, Manifest
from ..reference import Digest, Name, Tag, hasher
from . import page, verify
from .index import Index
from .indexfile import IndexFile, Signature, Whole, signature

try:
    import fcntl
except ImportError:  # Windows, where an open file can't be removed anyway
    fcntl = None  # type: ignore[assignment]

REF_NAME = "org.opencontainers.image.ref.name"
ALSO_A_BLOB = "dev.tinyreg.also-a-blob"
"""On a manifest in index.json whose bytes were pushed as a blob as well: a layout's folder can't tell the two apart."""

KEPT = 512
"""Manifests that are kept in memory, too, those that were read last."""
KEPT_BYTES = 16 * 1024
"""Bytes that each of them may have."""

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | BINARY
_encode = json.JSONEncoder(separators=(",", ":")).encode
_Read = TypeVar("_Read")
_Moved = TypeVar("_Moved")
_UNREAD: Signature = (-1, -1, -1)

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

    Two processes may open one folder: each sees what the other has done with its next request, and their changes to
    one repository take turns. Only on Windows, which has no `flock`, can two changes to the tags or manifests of *one*
    repository at the same moment lose one of the two.

    Symbolic links in the folder are not followed, neither to blobs nor to repositories: what they lead to is not this
    store's, and is not served (`path` itself may be one).

    Raises OSError where the folder can't be read or made.
    """

    def __init__(self, path: str | os.PathLike[str], *, fsync: bool = False) -> None:
        self.path = Path(path)
        if is_file(self.path / "oci-layout"):
            raise ValueError(f"{path} is one layout, not a folder of them: load it, or serve the folder it lies in")
        self.path.mkdir(parents=True, exist_ok=True)
        self.sync: Callable[[int | str], None] | None = _fsync if fsync else None
        """Write an open file, or what stands in a folder, out to the disk; None where the system decides when."""
        self._uploads = str(self.path / "_uploads")
        self.manifests: dict[tuple[Name, Digest], bytes] = {}
        """Kept in memory: what a layout's index lists and a file of it held."""
        self._open: set[DirectoryUpload] = set()
        self._layouts: dict[Name, _Layout] = {}
        self._lock = Lock()
        self._sweep()

    def repositories(self, after: str = "", limit: int | None = None) -> list[Name]:
        return page(sorted(self._walk(self.path, "")), after, limit)

    def blob_size(self, name: Name, digest: Digest) -> int:
        return self._read(name, digest, file_size)

    def blob(self, name: Name, digest: Digest) -> Content:
        return self._read(name, digest, read_small)

    def _read(self, name: Name, digest: Digest, read: Callable[[str], _Read]) -> _Read:
        """What `read` makes of the blob's file. Raises BlobUnknown.

        The file goes first: where there is none, the index need not be looked at.
        """
        layout = self._layouts.get(name) or self._find(name)
        if layout is not None and (layout.own or layout.is_own()):
            try:
                found = read(layout.file(digest))
            except FileNotFoundError:
                pass
            else:
                index = layout.known()
                if index is not None and _is_blob(index, digest):
                    return found
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
            if layout and layout.has_blob(digest):
                with suppress(FileNotFoundError):  # it has been deleted just now
                    self._layout(name).take(digest, partial(self._link, layout.file(digest)))
                    return
        raise BlobUnknown(detail={"digest": digest})

    def delete_blob(self, name: Name, digest: Digest) -> None:
        layout = self._find(name)
        if layout is None or not layout.drop_blob(digest):
            raise BlobUnknown(f"blob {digest} is not known in {name}", detail={"digest": digest})

    def manifest(self, name: Name, digest: Digest) -> Manifest:
        layout, index = self._known(name)
        descriptor = index.known(digest)
        manifest = layout.kept(digest, descriptor.media_type)
        if manifest is None:
            raise ManifestUnknown(f"manifest {digest} is gone from {name}'s folder", detail={"digest": digest})
        return manifest

    def put_manifest(
        self, name: Name, manifest: Manifest, tags: Sequence[Tag] = (), expected: Collection[Digest] | None = None
    ) -> None:
        self._layout(name).put(manifest, tags, expected)

    def delete_manifest(self, name: Name, digest: Digest) -> None:
        self._known(name)[0].remove(digest)

    def resolve(self, name: Name, tag: Tag) -> Digest:
        return self._known(name)[1].resolve(tag)

    def tags(self, name: Name, after: str = "", limit: int | None = None) -> list[Tag]:
        layout, index = self._known(name)
        with layout.lock:
            return index.tags(after, limit)

    def delete_tag(self, name: Name, tag: Tag) -> None:
        self._known(name)[0].untag(tag)

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
            self.manifests.clear()

    def close(self) -> None:
        with self._lock:
            uploads = list(self._open)
        for upload in uploads:
            upload.cancel()

    def new_file(self, name: str = "") -> tuple[str, int]:
        """A new file beside the repositories, open, to be closed, and renamed or removed, by the caller."""
        path = f"{self._uploads}/{name or os.urandom(16).hex()}"
        try:
            return path, os.open(path, _NEW, 0o666)
        except FileNotFoundError:
            os.makedirs(self._uploads, exist_ok=True)
            return path, os.open(path, _NEW, 0o666)

    def bring(self, data: bytes | bytearray, move: Callable[[str], _Moved], name: str = "", again: int = 3) -> _Moved:
        """What `move` says, which renames a new file with `data`. Raises FileNotFoundError where it has no folder.

        Nothing locks the file, so another process that starts may take it for a leftover: then it is written `again`.
        """
        path, descriptor = self.new_file(name)
        try:
            try:
                write_descriptor(descriptor, data)
                if self.sync is not None:
                    self.sync(descriptor)
            finally:
                os.close(descriptor)
            return move(path)
        except FileNotFoundError:
            if _unlink(path) or not again:
                raise
        except BaseException:
            _unlink(path)
            raise
        return self.bring(data, move, name, again - 1)

    def create(self, target: str, data: bytes) -> Signature:
        """As `replace`, but what is there stays: another process may have made it at the same moment."""
        return self.replace(target, data, self._link)

    def replace(self, target: str, data: bytes, move: Callable[[str, str], None] | None = None) -> Signature:
        """Let `target` hold `data`: what it held before, or all of it, never a part. The signature of the new file."""

        def moved(path: str) -> Signature:
            written = signature(os.lstat(path))
            (move or os.replace)(path, target)
            if self.sync is not None:
                self.sync(os.path.dirname(target))
            if move is not None:
                _unlink(path)
            return written

        return self.bring(data, moved)

    def keep(self, name: Name, digest: Digest, data: bytes) -> None:
        """Keep a manifest in memory, too, and the longest kept no longer."""
        with self._lock:
            self.manifests[name, digest] = data
            if len(self.manifests) > KEPT:
                del self.manifests[next(iter(self.manifests))]

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
        layout = self._layouts.get(name)
        if layout is None:
            return self._layout(name) if _Layout(self, name).exists() else None
        return layout if layout.known() else None

    def _known(self, name: Name) -> tuple[_Layout, Index]:
        """The layout and what it has, with one look at the disk. Raises NameUnknown."""
        layout = self._layouts.get(name) or self._find(name)
        index = layout.known() if layout else None
        if layout is None or index is None:
            raise NameUnknown(f"repository {name} is not known", detail={"name": name})
        return layout, index

    def _walk(self, folder: Path, prefix: str) -> Iterator[Name]:
        with os.scandir(folder) as entries:
            names = {entry.name for entry in entries if entry.is_dir(follow_symlinks=False) or _is_index(entry)}
        if prefix and "index.json" in names:
            with suppress(NameInvalid):  # somebody's folder, which no client can ask for
                found = Name.parse(prefix)
                if (self._layouts.get(found) or _Layout(self, found)).exists():
                    yield found
        for name in names - {"index.json", "blobs", "_uploads"}:
            yield from self._walk(folder / name, f"{prefix}/{_name_of(name)}".lstrip("/"))

    def _link(self, source: str, target: str) -> None:
        try:
            os.link(source, target)
        except FileExistsError:
            pass
        except FileNotFoundError:
            raise
        except OSError:  # a file system without links, or a limit on them
            self._copy(source, target)

    def _copy(self, source: str, target: str) -> None:
        from shutil import copyfileobj  # seldom needed, and it brings every compression

        path, descriptor = self.new_file()
        try:
            with open(descriptor, "wb", buffering=0) as file, open(source, "rb") as original:
                copyfileobj(original, file)
                if self.sync is not None:
                    self.sync(file.fileno())
            _move(path, target)
        except BaseException:
            _unlink(path)
            raise

    def _sweep(self) -> None:
        """Remove what processes that were killed have left on its way in."""
        if os.path.islink(self._uploads):
            raise OSError(f"{self._uploads} is a symbolic link: what is in there is not this store's")
        if not os.path.isdir(self._uploads):
            return
        for path in Path(self._uploads).iterdir():
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
    """An upload in memory while it is small, else in a file; renamed into the repository when it is whole."""

    def __init__(self, store: DirectoryStore, name: Name, algorithm: str) -> None:
        self.id = os.urandom(16).hex()
        self.size = 0
        self._hash = hasher(algorithm)
        self._store = store
        self._name = name
        self._memory = bytearray()
        self._path = ""
        self._file: BinaryIO | None = None
        self._over = False

    def write(self, data: bytes | memoryview) -> None:
        if self._over:
            raise BlobUploadUnknown()
        if self._file is None and self.size + len(data) <= SMALL:
            self._memory += data
        else:
            try:
                write_all(self._opened(), data)
            except ValueError:  # closed by `cancel` in another thread
                raise BlobUploadUnknown() from None
        self._hash.update(data)
        self.size += len(data)

    def commit(self, digest: Digest) -> None:
        try:
            verify(digest, self._hash, self._content() if digest.algorithm != self._hash.name else b"")
            self.place(digest)
        finally:
            self.cancel()

    def place(self, digest: Digest) -> None:
        """Rename what was written into the repository as the blob `digest`, checked by nobody."""
        memory = self._memory  # before the check: `cancel` in another thread empties it after it has said so
        if self._over:
            raise BlobUploadUnknown()
        layout = self._store._layout(self._name)
        if self._file is None:
            self._store.bring(memory, lambda path: layout.take(digest, partial(_move, path)), self.id)
            return
        if self._store.sync is not None:
            self._store.sync(self._file.fileno())
        self._file.close()
        layout.take(digest, partial(_move, self._path))
        self._path = ""

    def cancel(self) -> None:
        self._over = True
        self._memory = bytearray()
        if self._file is not None:
            self._file.close()
        path, self._path = self._path, ""
        if path:
            _unlink(path)
        self._store.forget(self)

    def _opened(self) -> BinaryIO:
        """The file, with all that has been written so far."""
        if self._file is None:
            self._path, descriptor = self._store.new_file(self.id)
            self._file = open(descriptor, "wb", buffering=0)  # noqa: SIM115
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_all(self._file, self._memory)
            self._memory = bytearray()
        return self._file

    def _content(self) -> Content:
        return memoryview(self._memory) if self._file is None else open_slice(self._path)


class _Layout:
    """One repository's folder. `lock` is held by whoever changes the index, or reads more than one thing of it."""

    def __init__(self, store: DirectoryStore, name: Name) -> None:
        self.lock = RLock()
        self._store = store
        self._name = name
        self._folder = str(store.path.joinpath(*map(_on_disk, name.split("/"))))
        self._blobs = f"{self._folder}/blobs/"
        self._file = IndexFile(f"{self._folder}/index.json", store.replace, _key, store.sync)
        self._index = Index(name)
        self._seen: Signature | None = _UNREAD
        self._top: dict[str, Any] = {}
        self._has_referrers = False
        self.own = False
        """Whether `is_own` has said so."""

    def exists(self) -> bool:
        return self._file.signature() is not None and self.is_own()

    def is_own(self) -> bool:
        """Whether no folder of it is a symbolic link, which might lead out of the store."""
        if not self.own:
            inside = (f"{self._folder}/blobs", *(f"{self._folder}/blobs/{each}" for each in ("sha256", "sha512")))
            self.own = not any(map(os.path.islink, (*self._above(), *inside)))
        return self.own

    def _refuse_links(self) -> None:
        if not (self.own or self.is_own()):
            raise Denied(f"repository {self._name} lies behind a symbolic link, which this store does not follow")

    def _above(self) -> Iterator[str]:
        """Its folder, and those it is in, up to the store's own."""
        folder = Path(self._folder)
        while folder != self._store.path:
            yield str(folder)
            folder = folder.parent

    def file(self, digest: Digest) -> str:
        return self._blobs + digest.replace(":", "/")

    def index(self) -> Index:
        """What index.json says, read again if it has changed under us; nothing where there is none."""
        if self._file.signature() != self._seen:
            with self.lock:  # nobody is between changing the index and saving it
                found = self._file.signature()
                if found != self._seen:
                    self._load(found)
        return self._index

    def known(self) -> Index | None:
        """The index, with one look at the disk; None where there is no layout."""
        index = self._index if self._file.signature() == self._seen else self.index()
        return index if self._seen is not None and (self.own or self.is_own()) else None

    @contextmanager
    def change(self, make: Callable[[], None] | None = None) -> Iterator[Index]:
        """The index, to be changed and saved in the block, by nobody else meanwhile; where that fails, as it was.

        `make` makes the layout where there is none. Raises FileNotFoundError where it is not given.
        """
        with self.lock:
            try:
                found = self._file.lock()
            except FileNotFoundError:
                if make is None:
                    raise
                make()
                found = self._file.lock()
            try:
                if found != self._seen:
                    self._load(found)
                yield self._index
            except BaseException:
                self._seen = _UNREAD
                raise
            finally:
                self._file.unlock()

    def is_blob(self, digest: Digest) -> bool:
        """False for a manifest that was not pushed as a blob as well: it is no blob of the repository (SPEC C6)."""
        return _is_blob(self.index(), digest)

    def has_blob(self, digest: Digest) -> bool:
        return self.is_blob(digest) and is_file(self.file(digest))

    def read(self, digest: Digest, media_type: str) -> Manifest | None:
        """The manifest in the file, or None where it is not there."""
        try:
            return Manifest(bytes(read_small(self.file(digest))), digest, media_type)
        except FileNotFoundError:
            return None

    def kept(self, digest: Digest, media_type: str) -> Manifest | None:
        """What `read` gives, from memory where it has been read before."""
        data = self._store.manifests.get((self._name, digest))
        if data is not None:
            return Manifest(data, digest, media_type)
        manifest = self.read(digest, media_type)
        if manifest is not None and manifest.size <= KEPT_BYTES:
            self._store.keep(self._name, digest, manifest.data)
        return manifest

    def take(self, digest: Digest, move: Callable[[str], object]) -> None:
        """Let `move` bring the blob `digest` into place, and make the repository known."""
        with self.lock:
            if self.known() is None:
                self._make(digest)
            self._bring(digest, move)
            if not _is_blob(self._index, digest):
                with self.change() as index:
                    self._mark(index, digest, also_a_blob=True)

    def put(self, manifest: Manifest, tags: Sequence[Tag], expected: Collection[Digest] | None) -> None:
        digest = manifest.digest

        def make() -> None:
            Index(self._name).expect(tags, expected)  # what is refused makes no repository known
            self._make(digest)

        self._refuse_links()
        with self.change(make) as index:
            index.expect(tags, expected)
            before = index.manifests.get(digest)
            also_a_blob = _is_blob(index, digest) and is_file(self.file(digest))
            self._store.bring(manifest.data, lambda path: self._bring(digest, partial(_move, path)))
            try:
                keys = [*tags, digest, *index.named(tags)]
                index.add(manifest, tags)
                _mark(index, digest, also_a_blob=also_a_blob)
                if before != index.manifests[digest]:
                    keys += index.tags_of(digest)
                self._save(keys)
            except BaseException:
                if before is None and not also_a_blob:  # else it would pass for a blob
                    _unlink(self.file(digest))
                raise

    def remove(self, digest: Digest) -> None:
        with self.change() as index:
            also_a_blob = _is_blob(index, digest)
            keys = [digest, *index.tags_of(digest)]
            index.remove(digest)
            self._save(keys)
            self._store.manifests.pop((self._name, digest), None)
            if not also_a_blob:
                _unlink(self.file(digest))

    def drop_blob(self, digest: Digest) -> bool:
        """Forget the blob; False where there is none."""
        with self.change() as index:
            if not self.has_blob(digest):
                return False
            if digest in index.manifests:
                self._mark(index, digest, also_a_blob=False)
            else:
                os.unlink(self.file(digest))
            return True

    def untag(self, tag: Tag) -> None:
        with self.change() as index:
            digest = index.resolve(tag)
            index.untag(tag)
            self._save([tag, digest])

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
        from shutil import rmtree

        with self.lock:
            _unlink(self._file.path)
            _unlink(f"{self._folder}/oci-layout")
            rmtree(f"{self._folder}/blobs", ignore_errors=True)
            for folder in (Path(self._folder), *Path(self._folder).parents):
                if folder == self._store.path or any(folder.iterdir()):
                    return
                folder.rmdir()

    def _bring(self, digest: Digest, move: Callable[[str], object]) -> None:
        """Let `move` bring something to where `digest` lies, whose folder it may be the first in."""
        path = self.file(digest)
        try:
            move(path)
        except FileNotFoundError:
            self._make(digest)
            move(path)
        if self._store.sync is not None:
            self._store.sync(os.path.dirname(path))

    def _make(self, digest: Digest) -> None:
        self._refuse_links()
        folder = os.path.dirname(self.file(digest))
        os.makedirs(folder, exist_ok=True)
        if self.known() is None:
            if self._store.sync is not None:
                for each in (folder, f"{self._folder}/blobs", *self._above(), str(self._store.path)):
                    self._store.sync(each)
            self._store.replace(f"{self._folder}/oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            first = IndexFile(self._file.path, self._store.create, _key, self._store.sync)
            first.rewrite({"schemaVersion": 2, "mediaType": OCI_INDEX}, ())

    def _mark(self, index: Index, digest: Digest, *, also_a_blob: bool) -> None:
        _mark(index, digest, also_a_blob=also_a_blob)
        self._save([digest, *index.tags_of(digest)])

    def _save(self, keys: Iterable[str]) -> None:
        """Let index.json say of each tag and digest in `keys` what the index says."""
        self._seen = self._file.change({key: self._entry(key) for key in keys}, self._whole)

    def _entry(self, key: str) -> bytes | None:
        """What stands in index.json for a tag, or for a manifest that has none; None where nothing does."""
        index, annotations = self._index, {}
        if isinstance(key, Tag):
            digest = next(iter(index.named([key])), None)
            annotations = {REF_NAME: key}
        else:
            digest = None if index.is_tagged(Digest(key)) else Digest(key)
        descriptor = None if digest is None else index.manifests.get(digest)
        if descriptor is None:
            return None
        entry = descriptor.to_json()
        if annotations:
            entry["annotations"] = {**descriptor.annotations, **annotations}
        return _encode(entry).encode()

    def _whole(self) -> Whole:
        keys: list[str] = []
        for digest in self._index.manifests:
            keys += self._index.tags_of(digest) or [digest]
        top = {"schemaVersion": 2, "mediaType": OCI_INDEX, **self._top}
        return top, [(key, data) for key in keys if (data := self._entry(key))]

    def _load(self, found: Signature | None) -> None:
        """Read index.json, if there is one (`found`). Raises OSError where it is no image index."""
        index, top = Index(self._name), dict[str, Any]()
        if found is not None:
            try:
                top, entries, found = self._file.read()
                for entry in entries:
                    self._enter(index, Descriptor.from_json(entry))
            except (ValueError, AttributeError, KeyError, TypeError, ManifestInvalid) as error:
                raise OSError(f"{self._file.path} is no image index: {error}") from error
            if self._descend(index):
                self._file.forget()
        self._index, self._top, self._has_referrers = index, top, False
        self._seen = found

    def _enter(self, index: Index, descriptor: Descriptor) -> None:
        """Know a manifest that index.json lists, by its tag if it has one (SPEC L2)."""
        annotations = dict(descriptor.annotations)
        tag = _tag_of(annotations.pop(REF_NAME, ""))
        index.manifests.setdefault(descriptor.digest, replace(descriptor, annotations=annotations))
        if tag is not None:
            index.tag(tag, descriptor.digest)

    def _descend(self, index: Index) -> bool:
        """Know the manifests that other programs list in nested indexes only, as far as they are there (SPEC L3).

        What index.json itself says of a manifest goes first. Children of other types are blobs: caches list layers.
        Whether there were any.
        """
        listed = list(index.manifests.values())
        found = list(listed)
        for descriptor in found:  # which grows
            for child in self._children(descriptor):
                known = child.media_type in IMAGE_TYPES | INDEX_TYPES
                if known and child.digest not in index.manifests and is_file(self.file(child.digest)):
                    index.manifests[child.digest] = Descriptor(child.media_type, child.digest, child.size)
                    found.append(child)
        return len(found) > len(listed)

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
    if also_a_blob == (ALSO_A_BLOB in descriptor.annotations):
        return
    annotations = {key: value for key, value in descriptor.annotations.items() if key != ALSO_A_BLOB}
    if also_a_blob:
        annotations[ALSO_A_BLOB] = "true"
    index.manifests[digest] = replace(descriptor, annotations=annotations)


def _is_blob(index: Index, digest: Digest) -> bool:
    manifest = index.manifests.get(digest)
    return manifest is None or ALSO_A_BLOB in manifest.annotations


def _key(entry: Any) -> str:
    """What an entry of index.json is known by: its tag, or its digest where it has none."""
    descriptor = Descriptor.from_json(entry)
    return _tag_of(descriptor.annotations.get(REF_NAME, "")) or descriptor.digest


def _unlink(path: str) -> bool:
    """Whether there was something to remove."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def _fsync(what: int | str) -> None:
    if isinstance(what, int):
        os.fsync(what)
    elif os.name != "nt":  # where folders can't be opened
        folder = os.open(what, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _move(source: str, target: str) -> None:
    try:
        os.replace(source, target)
    except PermissionError:
        if not os.path.isfile(target):  # Windows refuses where the target is being read: it is there already, then
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
