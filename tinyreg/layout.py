"""OCI image layouts and `docker save` archives: read whole or not at all, and written; what serves them it ignores.

A folder's blobs are referred to where they lie, an archive's inside the archive; nothing is copied before a store
asks for it (image-spec, "OCI Image Layout Specification"; SPEC L).
"""

from __future__ import annotations

import gzip
import io
import json
import os
import posixpath
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from .content import CHUNK, Content, FileSlice, OpenFile, chunks, open_slice
from .errors import RegistryError
from .manifest import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    IMAGE_TYPES,
    INDEX_TYPES,
    OCI_CONFIG,
    OCI_INDEX,
    Descriptor,
    Manifest,
)
from .reference import Digest, Name, Tag, hasher

REF_NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"
"""The whole reference, as containerd and docker write it beside the tag."""
LAYER = "application/vnd.docker.image.rootfs.diff.tar"
VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_GZIP = b"\x1f\x8b"
ARCHIVE_LIMIT = 16 * 1024**3
"""Bytes a compressed archive may have, decompressed to a temporary file."""
JSON_LIMIT = 64 * 1024 * 1024
"""Bytes an index, a manifest or a configuration may have: they are read into memory."""
DEPTH_LIMIT = 32
"""How deep indexes may lie in one another."""


class LayoutError(ValueError):
    """A layout or archive that can't be loaded; the message names the file in it and what was expected."""


class Source(Protocol):
    """The files of a layout."""

    def get(self, path: str) -> Content | None:
        """The file at `path`, or None. Raises LayoutError where it leads out of the layout."""


@dataclass
class Loaded:
    """What one repository is to get: blobs, and manifests with their tags, each behind what it refers to."""

    blobs: dict[Digest, Content] = field(default_factory=dict)
    manifests: dict[Digest, Manifest] = field(default_factory=dict)
    tags: dict[Tag, Digest] = field(default_factory=dict)

    def references(self, name: Name) -> list[str]:
        """What it is called in the repository `name`: by its tags, or by the digest of a root without one."""
        roots = [f"{name}@{digest}" for digest in self.roots() if digest not in self.tags.values()]
        return [f"{name}:{tag}" for tag in self.tags] + roots

    def roots(self) -> list[Digest]:
        """The manifests that no other one lists."""
        below = {child.digest for manifest in self.manifests.values() for child in manifest.manifests}
        return [digest for digest in self.manifests if digest not in below]


def load(path: str | os.PathLike[str], name: str | None = None) -> dict[Name, Loaded]:
    """What is in the layout or archive at `path`, every digest and size checked, by repository.

    A reference that says only a tag is one of the repository `name`, or of one named like the file. Raises
    LayoutError, OSError, NameInvalid.
    """
    found: dict[Name, Loaded] = {}
    source = _source(Path(path))
    default = name or Path(path).name.removesuffix(".gz").removesuffix(".tgz").removesuffix(".tar")
    if source.get("index.json") is not None:
        for entry in _list(_json(source, "index.json"), "manifests", "index.json"):
            _enter(source, entry, default, found)
    elif source.get("manifest.json") is not None:
        for image in _list({"images": _json(source, "manifest.json")}, "images", "manifest.json"):
            _enter_docker(source, image, default, found)
    else:
        raise LayoutError(f"{path} has neither an index.json nor a manifest.json: it is no layout and no archive")
    return found


def _enter(source: Source, entry: Any, default: str, found: dict[Name, Loaded]) -> None:
    try:
        descriptor = Descriptor.from_json(entry)
    except RegistryError as error:
        raise LayoutError(f"index.json: {error}") from error
    full = descriptor.annotations.get(FULL_NAME, "")
    short = descriptor.annotations.get(REF_NAME, "")
    name, tag = _names(full or short, default)
    into = found.setdefault(name, Loaded())
    _collect(source, descriptor, into, DEPTH_LIMIT)
    if tag is not None and descriptor.digest in into.manifests:
        into.tags[tag] = descriptor.digest


def _collect(source: Source, descriptor: Descriptor, into: Loaded, depth: int, *, needed: bool = True) -> None:
    """Take what `descriptor` refers to, and all below it, as far as it is there."""
    if descriptor.digest in into.manifests or descriptor.digest in into.blobs:
        return
    path = _place(descriptor.digest)
    content = source.get(path)
    if content is None:
        if needed and descriptor.distributable:
            raise LayoutError(f"{path} is missing: {descriptor.size} bytes were expected")
        return
    _verify(path, content, descriptor)
    if descriptor.media_type not in IMAGE_TYPES | INDEX_TYPES:
        into.blobs[descriptor.digest] = content
        return
    try:
        manifest = Manifest.parse(_bytes(path, content), descriptor.media_type, descriptor.digest)
    except RegistryError as error:
        raise LayoutError(f"{path}: {error}") from error
    if not depth:
        raise LayoutError(f"{path}: indexes lie more than {DEPTH_LIMIT} deep in one another")
    for child in manifest.manifests:
        _collect(source, child, into, depth - 1, needed=False)  # an index may be sparse
    for blob in manifest.blobs:
        _collect(source, blob, into, depth - 1)
    into.manifests[descriptor.digest] = manifest


def _verify(path: str, content: Content, descriptor: Descriptor) -> None:
    if len(content) != descriptor.size:
        raise LayoutError(f"{path} has {len(content)} bytes: {descriptor.size} were expected")
    found = _digest(content, descriptor.digest.algorithm)
    if found != descriptor.digest:
        raise LayoutError(f"{path} is {found}: {descriptor.digest} was expected")


def _digest(content: Content, algorithm: str = "sha256") -> Digest:
    state = hasher(algorithm)
    for chunk in chunks(content):
        state.update(chunk)
    return Digest.finish(state)


def _zipped(content: Content) -> bool:
    return bytes(content[: len(_GZIP)]) == _GZIP


def _plain_digest(path: str, content: Content) -> Digest:
    """The digest of what is compressed in `content`: crane's archives have their layers so."""
    state = hasher("sha256")
    try:
        with gzip.GzipFile(fileobj=io.BufferedReader(_Reader(content))) as plain:
            while piece := plain.read(CHUNK):
                state.update(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise LayoutError(f"{path} is damaged: {error}") from error
    return Digest.finish(state)


def _enter_docker(source: Source, image: Any, default: str, found: dict[Name, Loaded]) -> None:
    """An image of a `docker save` archive without a layout in it, as docker before 25 made them."""
    if not isinstance(image, dict):
        raise LayoutError("manifest.json: an image is not an object")
    config_path, layer_paths = image.get("Config"), _list(image, "Layers", "manifest.json")
    contents = {path: _needed(source, path) for path in [config_path, *layer_paths]}
    config = contents[config_path]
    stated = Path(str(config_path)).name.removesuffix(".json")
    if len(stated) == 64 and _digest(config).encoded != stated:
        raise LayoutError(f"{config_path} is {_digest(config)}: sha256:{stated} was expected")
    diff_ids = _diff_ids(str(config_path), config)
    layers = [_digest(contents[path]) for path in layer_paths]
    for path, digest, expected in zip(layer_paths, layers, diff_ids, strict=False):
        plain = _plain_digest(path, contents[path]) if _zipped(contents[path]) else digest
        if plain != expected:
            raise LayoutError(f"{path} is {plain}: {expected} was expected")
    table = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": Descriptor(DOCKER_CONFIG, _digest(config), len(config)).to_json(),
        "layers": [
            Descriptor(LAYER + ".gzip" * _zipped(contents[path]), digest, len(contents[path])).to_json()
            for digest, path in zip(layers, layer_paths, strict=True)
        ],
    }
    manifest = Manifest.parse(json.dumps(table, separators=(",", ":")).encode(), DOCKER_MANIFEST)
    for reference in image.get("RepoTags") or [""]:
        name, tag = _names(reference, default)
        into = found.setdefault(name, Loaded())
        into.blobs.update({_digest(content): content for content in contents.values()})
        into.manifests[manifest.digest] = manifest
        if tag is not None:
            into.tags[tag] = manifest.digest


def _needed(source: Source, path: Any) -> Content:
    content = source.get(path) if isinstance(path, str) else None
    if content is None:
        raise LayoutError(f"manifest.json names {path!r}, which is missing")
    return content


def _names(reference: str, default: str) -> tuple[Name, Tag | None]:
    """The repository and tag of a reference as others write it: `1.0`, `app:1.0`, `docker.io/library/app:1.0`."""
    if not reference:
        return Name.parse(default), None
    if "/" not in reference and ":" not in reference:
        return Name.parse(default), Tag.parse(reference)
    head, _, last = reference.rpartition("/")
    name, _, tag = last.partition(":")
    host, _, folders = head.partition("/")
    if not ("." in host or ":" in host or host == "localhost"):
        host, folders = "", head
    if host == "docker.io":
        folders = folders.removeprefix("library")
    return Name.parse(f"{folders}/{name}".strip("/")), Tag.parse(tag) if tag else None


def _json(source: Source, path: str) -> Any:
    return _decoded(path, source.get(path) or b"")


def _decoded(path: str, content: Content) -> Any:
    data = _bytes(path, content)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise LayoutError(f"{path} is not JSON: {error}") from error


def _bytes(path: str, content: Content) -> bytes:
    if len(content) > JSON_LIMIT:
        raise LayoutError(f"{path} has {len(content)} bytes: {JSON_LIMIT} are the most that are read as JSON")
    return bytes(content)


def _diff_ids(path: str, config: Content) -> list[Any]:
    table = _decoded(path, config)
    rootfs = table.get("rootfs") if isinstance(table, dict) else None
    found = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    return found if isinstance(found, list) else []


def _list(table: Any, key: str, path: str) -> list[Any]:
    found = table.get(key) if isinstance(table, dict) else None
    if not isinstance(found, list):
        raise LayoutError(f"{path} has no list of {key}")
    return found


class _Folder:
    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def get(self, path: str) -> Content | None:
        full = (self.root / path).resolve()
        if not full.is_relative_to(self.root):
            raise LayoutError(f"{path} leads out of {self.root}")
        return open_slice(full) if full.is_file() else None


class _Archive:
    """A tar archive on disk, in which each file is a slice."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = OpenFile(file)
        self._members: dict[str, tuple[int, int]] = {}
        links: dict[str, str] = {}
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    path = _inside(member.name)
                    if member.isreg():
                        self._members[path] = member.offset_data, member.size
                    elif member.issym() or member.islnk():
                        base = posixpath.dirname(path) if member.issym() else ""
                        links[path] = _inside(posixpath.join(base, member.linkname))
                    elif not member.isdir():
                        raise LayoutError(f"{member.name} is neither a file nor a folder nor a link")
        except tarfile.TarError as error:
            raise LayoutError(f"not a tar archive: {error}") from error
        for path, target in links.items():
            if target in self._members:
                self._members[path] = self._members[target]

    def get(self, path: str) -> Content | None:
        found = self._members.get(_inside(path))
        return None if found is None else FileSlice(self._file, *found)


def _inside(path: str) -> str:
    """A member's path; refused where it is absolute or leads out."""
    clean = posixpath.normpath(path)
    if path.startswith("/") or clean == ".." or clean.startswith("../"):
        raise LayoutError(f"{path} leads out of the archive")
    return clean


def _source(path: Path) -> Source:
    if path.is_dir():
        return _Folder(path)
    file = open(path, "rb")  # noqa: SIM115 - the archive's OpenFile closes it
    zipped = file.read(2) == _GZIP
    file.seek(0)
    if not zipped:
        return _Archive(file)
    with file:
        plain = tempfile.TemporaryFile(prefix="tinyreg-")  # noqa: SIM115
        try:
            _unzip(file, plain)
        except LayoutError:
            plain.close()
            raise
        except (OSError, EOFError, zlib.error) as error:
            plain.close()
            raise LayoutError(f"{path} is damaged: {error}") from error
    plain.seek(0)
    return _Archive(plain)


def _unzip(file: BinaryIO, plain: BinaryIO) -> None:
    with gzip.GzipFile(fileobj=file) as source:
        left = ARCHIVE_LIMIT
        while chunk := source.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise LayoutError(f"the archive has more than {ARCHIVE_LIMIT} bytes, decompressed")
            plain.write(chunk)


def save(path: str | os.PathLike[str], repositories: Mapping[Name, Loaded]) -> None:
    """Write an OCI image layout to the folder `path`, or to a tar archive where it ends in `.tar`. Raises OSError.

    An archive also has the `manifest.json` that `docker load` reads, of the images that are tagged. Raises LayoutError
    for a folder that has other things in it, and for the name of an archive of another kind.
    """
    target = Path(path)
    if target.suffix in (".gz", ".tgz", ".zip"):
        raise LayoutError(f"{path}: give a folder, or an archive by a name that ends in .tar")
    if target.is_dir() and not (target / "oci-layout").is_file() and any(target.iterdir()):
        raise LayoutError(f"{path} has other things in it: give a new folder, an empty one, or a layout to write over")
    entries = [entry for name, what in repositories.items() for entry in _entries(name, what)]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    files: dict[str, Content] = {"oci-layout": VERSION, "index.json": json.dumps(index, indent=2).encode()}
    for what in repositories.values():
        contents: dict[Digest, Content] = {**what.blobs, **{each: m.data for each, m in what.manifests.items()}}
        files.update({_place(digest): at for digest, at in contents.items()})
    if target.suffix == ".tar":
        images = [image for name, what in repositories.items() for image in _docker_images(name, what)]
        if images:
            files["manifest.json"] = json.dumps(images, indent=2).encode()
        _save_archive(target, files)
        return
    for name_, content in files.items():
        file = target / name_
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file, "wb") as out:
            out.writelines(chunks(content))


def _entries(name: Name, what: Loaded) -> Iterator[dict[str, Any]]:
    """What is tagged, and the roots that are not."""
    for tag, digest in what.tags.items():
        entry = what.manifests[digest].descriptor.to_json()
        yield {**entry, "annotations": {REF_NAME: tag, FULL_NAME: f"{name}:{tag}"}}
    for digest in what.roots():
        if digest not in what.tags.values():
            yield {**what.manifests[digest].descriptor.to_json(), "annotations": {FULL_NAME: name}}


def _docker_images(name: Name, what: Loaded) -> Iterator[dict[str, Any]]:
    """The tagged images as `docker save` lists them; indexes, artifacts and what is not whole have no place there."""
    for tag, digest in what.tags.items():
        image = what.manifests[digest]
        if image.media_type not in IMAGE_TYPES or not image.config or image.config.media_type not in _IMAGE_CONFIGS:
            continue
        if all(blob.digest in what.blobs for blob in image.blobs):
            layers = [_place(layer.digest) for layer in image.layers]
            yield {"Config": _place(image.config.digest), "RepoTags": [f"{name}:{tag}"], "Layers": layers}


_IMAGE_CONFIGS = (OCI_CONFIG, DOCKER_CONFIG)


def _place(digest: Digest) -> str:
    """Where a layout has the blob."""
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def _save_archive(target: Path, files: Mapping[str, Content]) -> None:
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BufferedReader(_Reader(content)))


class _Reader(io.RawIOBase):
    """A Content read as a file, piece by piece."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = bytes(self._content[self._at : self._at + len(buffer)])
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
