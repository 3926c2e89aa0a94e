"""The files of an image, as a folder or an archive on disk holds them. Knows no client and no registry."""

from __future__ import annotations

import io
import os
import posixpath
import stat
import tarfile
from collections.abc import Collection, Mapping
from pathlib import Path

from tinyreg.layer import Symlink

Tree = dict[str, bytes | Symlink]
"""A path from the root on to a file's bytes or a link's target: what `repository.files()` gives. No folders."""


def of_folder(root: Path) -> Tree:
    """All files and links below `root`."""
    return {name: _entry(path) for name, path in _below(root) if path.is_symlink() or not path.is_dir()}


def modes(root: Path) -> dict[str, int]:
    """The permissions of all files and folders below `root`."""
    return {name: stat.S_IMODE(path.stat().st_mode) for name, path in _below(root) if not path.is_symlink()}


def of_tar(data: bytes) -> Tree:
    """All files and links in the archive `data`, without `./` and `/` before their names."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        members = [member for member in archive if not member.isdir()]
        return {posixpath.normpath(f"/{member.name}")[1:]: _member(archive, member) for member in members}


def without(tree: Mapping[str, bytes | Symlink], added: Collection[str]) -> Tree:
    """The tree without the paths in `added`."""
    return {path: entry for path, entry in tree.items() if path not in added}


def _below(root: Path) -> list[tuple[str, Path]]:
    found = [Path(folder, name) for folder, folders, files in os.walk(root) for name in (*folders, *files)]
    return [(str(path.relative_to(root)), path) for path in found]


def _entry(path: Path) -> bytes | Symlink:
    return Symlink(str(path.readlink())) if path.is_symlink() else path.read_bytes()


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | Symlink:
    if member.issym():
        return Symlink(member.linkname)
    content = archive.extractfile(member)
    assert content is not None, f"{member.name} is neither a file nor a link"
    return content.read()
