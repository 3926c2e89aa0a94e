"""Content made for tests: images, indexes and artifacts with stable digests; where it is put it does not know."""

from __future__ import annotations

import json
import random as _random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import layer
from .layer import Files
from .manifest import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
)
from .reference import Digest

OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
COMPRESSIONS = ("gzip", "none")
TITLE = "org.opencontainers.image.title"
EPOCH = "1970-01-01T00:00:00Z"
SEED = 0
_PIECE = 1 << 20


@dataclass(frozen=True)
class Made:
    """A manifest's bytes, the blobs it refers to, and the Descriptor that refers to it."""

    descriptor: Descriptor
    data: bytes
    blobs: tuple[bytes, ...] = ()


def image(
    layers: Iterable[Files | bytes] | None = None,
    *,
    platform: str = "linux/amd64",
    config: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
    docker: bool = False,
    compression: str = "gzip",
    random: int | None = None,
    subject: Descriptor | None = None,
) -> Made:
    """An image. `layers` are files (see `layer.Files`) or ready tar archives, the lowest first.

    Without `layers` it has one, with a file `hello`. `platform` is `os/architecture[/variant]`; `config` what a
    container of it is run with (image-spec, "config": Env, Cmd, …); `random` adds a layer with a file of so many
    random bytes, the same each time; `docker` makes it schema 2. Raises ValueError for a bad platform or compression.
    """
    if compression not in COMPRESSIONS:
        raise ValueError(f"compression={compression!r}: there are {', '.join(COMPRESSIONS)}")
    if layers is None:
        layers = [] if random is not None else [{"hello": b"hello\n"}]
    archives = [each if isinstance(each, bytes) else layer.pack(each) for each in layers]
    if random is not None:
        archives.append(layer.pack({"random": random_bytes(random)}))
    place = _platform(platform)
    settings = _dump(
        {
            "created": EPOCH,
            **{key: value for key, value in place.items() if value},
            "config": dict(config or {}),
            "rootfs": {"type": "layers", "diff_ids": [Digest.of(archive) for archive in archives]},
            "history": [{"created": EPOCH, "created_by": "tinyreg"} for _ in archives],
        }
    )
    blobs = [layer.compress(archive) if compression == "gzip" else archive for archive in archives]
    kind = (DOCKER_LAYER if docker else OCI_LAYER) + _SUFFIX[docker, compression]
    table = {
        "config": _refer(settings, DOCKER_CONFIG if docker else OCI_CONFIG),
        "layers": [_refer(blob, kind) for blob in blobs],
        **_about(annotations, subject),
    }
    made = _made(DOCKER_MANIFEST if docker else OCI_MANIFEST, table, (settings, *blobs))
    return replace(made, descriptor=replace(made.descriptor, platform=place))


_SUFFIX = {(False, "gzip"): "+gzip", (True, "gzip"): ".gzip", (False, "none"): "", (True, "none"): ""}


def index(
    manifests: Sequence[Descriptor],
    *,
    annotations: Mapping[str, str] | None = None,
    docker: bool = False,
    artifact_type: str | None = None,
    subject: Descriptor | None = None,
) -> Made:
    """An image index, or with `docker` a manifest list, of what the descriptors refer to."""
    table = {"manifests": [each.to_json() for each in manifests], **_about(annotations, subject, artifact_type)}
    return _made(DOCKER_LIST if docker else OCI_INDEX, table)


def artifact(
    artifact_type: str,
    files: Mapping[str, bytes],
    *,
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Made:
    """An artifact of named files, each a layer of its own (image-spec, "Guidelines for Artifact Usage")."""
    named = [(_refer(data, "application/octet-stream"), name) for name, data in files.items()]
    layers = [{**descriptor, "annotations": {TITLE: name}} for descriptor, name in named]
    empty = b"{}"
    about = _about(annotations, subject, artifact_type)
    table = {"config": _refer(empty, OCI_EMPTY), "layers": layers or [_refer(empty, OCI_EMPTY)], **about}
    made = _made(OCI_MANIFEST, table, (empty, *files.values()))
    return replace(made, descriptor=replace(made.descriptor, artifact_type=artifact_type))


def random_bytes(count: int, seed: int = SEED) -> bytes:
    """`count` bytes that no compression makes smaller, the same on every machine."""
    source = _random.Random(seed)  # noqa: S311 - not for secrets
    pieces = [source.randbytes(min(_PIECE, count - at)) for at in range(0, count, _PIECE)]
    return b"".join(pieces)


def _made(media_type: str, table: Mapping[str, Any], blobs: tuple[bytes, ...] = ()) -> Made:
    data = _dump({"schemaVersion": 2, "mediaType": media_type, **table})
    return Made(Descriptor(media_type, Digest.of(data), len(data)), data, blobs)


def _about(
    annotations: Mapping[str, str] | None, subject: Descriptor | None, artifact_type: str | None = None
) -> dict[str, Any]:
    about: dict[str, Any] = {"artifactType": artifact_type} if artifact_type else {}
    if subject:
        about["subject"] = Descriptor(subject.media_type, subject.digest, subject.size).to_json()
    if annotations:
        about["annotations"] = dict(annotations)
    return about


def _refer(data: bytes, media_type: str) -> dict[str, Any]:
    return Descriptor(media_type, Digest.of(data), len(data)).to_json()


def _platform(text: str) -> dict[str, str]:
    parts = text.split("/")
    if not 2 <= len(parts) <= 3 or not all(parts):
        raise ValueError(f"platform={text!r}: write os/architecture[/variant], as in linux/arm64")
    return dict(zip(("os", "architecture", "variant"), parts, strict=False))


def _dump(table: Mapping[str, Any]) -> bytes:
    return json.dumps(table, sort_keys=True, separators=(",", ":")).encode()
