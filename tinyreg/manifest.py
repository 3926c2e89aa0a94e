"""What a manifest says: descriptors, references, subject, artifactType, annotations; not where its bytes are kept.

The one place where JSON's camelCase becomes snake_case (image-spec, "descriptor", "manifest", "image-index").
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

from .errors import DigestInvalid, ManifestInvalid
from .reference import Digest

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"

IMAGE_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_LIST})

_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,127}/[!#$%&'*+.^_`|~0-9A-Za-z-]{1,127}")  # RFC 9110 §8.3.1


@dataclass(frozen=True)
class Descriptor:
    """What one piece of content refers to another by (image-spec, "OCI Content Descriptors"); `size` in bytes."""

    media_type: str
    digest: Digest
    size: int
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, Any] | None = None
    urls: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: Any) -> Descriptor:
        """The descriptor that `value`, decoded JSON, is. Raises ManifestInvalid."""
        table = _as(dict, value, "a descriptor")
        size = _as(int, table.get("size"), "a descriptor's size")
        if size < 0:
            raise ManifestInvalid(f"a descriptor's size is negative: {size}")
        try:
            digest = Digest.parse(_as(str, table.get("digest"), "a descriptor's digest"))
        except DigestInvalid as error:
            raise ManifestInvalid(f"in a descriptor: {error.message}") from None
        return cls(
            _as(str, table.get("mediaType", ""), "a descriptor's mediaType"),
            digest,
            size,
            _optional(str, table, "artifactType"),
            _annotations(table),
            _optional(dict, table, "platform"),
            tuple(_as(str, url, "a descriptor's url") for url in _optional(list, table, "urls") or ()),
        )

    def to_json(self) -> dict[str, Any]:
        """The descriptor as JSON has it, what is empty left out."""
        table: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        for key, value in (
            ("artifactType", self.artifact_type),
            ("annotations", dict(self.annotations)),
            ("platform", self.platform and dict(self.platform)),
            ("urls", list(self.urls)),
        ):
            if value:
                table[key] = value
        return table

    @property
    def distributable(self) -> bool:
        """False for layers that are fetched from elsewhere and need not be pushed (image-spec, "Non-Distributable")."""
        return not self.urls and "nondistributable" not in self.media_type and ".foreign." not in self.media_type


class Manifest:
    """A manifest or index as it was pushed: `data`, its `digest` and `media_type`; read only when asked what it says.

    A manifest from `parse` is well-formed; one that a store gives back unread may raise ManifestInvalid from the
    properties below.
    """

    def __init__(self, data: bytes, digest: Digest, media_type: str) -> None:
        self.data = data
        self.digest = digest
        self.media_type = media_type

    @classmethod
    def parse(cls, data: bytes, media_type: str | None = None, digest: Digest | None = None) -> Manifest:
        """`data` read and checked; `media_type` is the Content-Type it came with, without parameters.

        Raises ManifestInvalid for what is no JSON object, for contradicting or missing types and malformed
        descriptors; DigestInvalid where `data` is not what `digest` says.
        """
        manifest = cls(data, digest or Digest.of(data), media_type or "")
        if digest is not None and Digest.of(data, digest.algorithm) != digest:
            raise DigestInvalid(f"the manifest is not what {digest} names")
        stated = _optional(str, manifest.json, "mediaType")
        if stated and media_type and stated != media_type:
            raise ManifestInvalid(f"its mediaType is {stated!r}, but it came as {media_type!r}")
        manifest.media_type = media_type or stated or ""
        manifest._check()
        return manifest

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    @cached_property
    def json(self) -> dict[str, Any]:
        """The JSON object it is. Raises ManifestInvalid."""
        try:
            value = _decoder.decode(self.data.decode())
        except (ValueError, RecursionError) as error:
            raise ManifestInvalid(f"not JSON: {error or type(error).__name__}") from None
        table: dict[str, Any] = _as(dict, value, "a manifest")
        return table

    @property
    def is_index(self) -> bool:
        """Whether it lists other manifests, as an image index or manifest list does."""
        return self.media_type in INDEX_TYPES

    @property
    def is_known(self) -> bool:
        """Whether its type says what its fields mean; of others nothing but the JSON is looked at."""
        return self.media_type in IMAGE_TYPES or self.is_index

    @cached_property
    def config(self) -> Descriptor | None:
        """What an image's configuration is referred to by."""
        value = self.json.get("config")
        return None if value is None else Descriptor.from_json(value)

    @cached_property
    def layers(self) -> tuple[Descriptor, ...]:
        """The layers of an image, the lowest first."""
        return self._descriptors("layers")

    @cached_property
    def manifests(self) -> tuple[Descriptor, ...]:
        """The children of an index."""
        return self._descriptors("manifests")

    @cached_property
    def subject(self) -> Descriptor | None:
        """The manifest this one is about (image-spec 1.1, "subject")."""
        value = self.json.get("subject")
        return None if value is None else Descriptor.from_json(value)

    @cached_property
    def artifact_type(self) -> str | None:
        """What a referrers list says of it: its artifactType, else an image's config type (SPEC G3)."""
        stated = _optional(str, self.json, "artifactType")
        if stated or self.is_index:
            return stated or None
        return self.config.media_type if self.config else None

    @cached_property
    def annotations(self) -> Mapping[str, str]:
        """Its annotations; none is an empty mapping."""
        return _annotations(self.json)

    @property
    def descriptor(self) -> Descriptor:
        """What refers to it, with nothing of what it says."""
        return Descriptor(self.media_type, self.digest, self.size)

    @property
    def as_referrer(self) -> Descriptor:
        """How a referrers list shows it (distribution-spec, "Listing Referrers")."""
        return Descriptor(self.media_type, self.digest, self.size, self.artifact_type, self.annotations)

    @property
    def blobs(self) -> Iterator[Descriptor]:
        """The config and layers it refers to."""
        if self.config:
            yield self.config
        yield from self.layers

    def _check(self) -> None:
        # A document that reads as an index to one client and as an image to another is an attack, or a mistake
        # (image-spec, "Compatibility considerations" of the media types).
        if not self.media_type:
            raise ManifestInvalid("neither a Content-Type nor a mediaType says what it is")
        if not _MEDIA_TYPE.fullmatch(self.media_type):  # it will stand in a header (CWE-113)
            raise ManifestInvalid(f"its mediaType is no media type: {self.media_type[:100]!a}")
        known = self.is_known
        if known and self.json.get("schemaVersion") != 2:
            raise ManifestInvalid("its schemaVersion is not 2")
        foreign = {"config", "layers", "fsLayers"} if self.is_index else {"manifests", "fsLayers"}
        if known and (mixed := sorted(foreign & self.json.keys())):
            raise ManifestInvalid(f"{', '.join(mixed)} cannot stand in a {self.media_type}")
        if "vnd.docker.distribution.manifest.v1" in self.media_type:
            raise ManifestInvalid("schema 1 is not supported: push schema 2 or an OCI manifest")
        if known:
            _ = self.config, self.layers, self.manifests, self.subject, self.artifact_type, self.annotations

    def _descriptors(self, key: str) -> tuple[Descriptor, ...]:
        return tuple(Descriptor.from_json(value) for value in _optional(list, self.json, key) or ())


def _as(kind: type, value: Any, what: str) -> Any:
    """`value` if it is of `kind`, in JSON's sense: true and false are no numbers. Raises ManifestInvalid."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ManifestInvalid(f"{what} is not {_JSON_NAMES[kind]}")
    return value


def _optional(kind: type, table: Mapping[str, Any], key: str) -> Any:
    value = table.get(key)
    return None if value is None else _as(kind, value, key)


def _annotations(table: Mapping[str, Any]) -> Mapping[str, str]:
    annotations: dict[str, str] = _optional(dict, table, "annotations") or {}
    for key, value in annotations.items():
        _as(str, value, f"annotation {key!r}")
    return annotations


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_no_constant)
_JSON_NAMES = {dict: "an object", list: "a list", str: "a string", int: "a whole number"}
