"""Repository names, tags and digests: their grammar, and the only functions that may make one; not what they name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .errors import DigestInvalid, NameInvalid, TagInvalid

if TYPE_CHECKING:
    from hashlib import _Hash

_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_ENCODED = {"sha256": re.compile(r"sha256:[a-f0-9]{64}"), "sha512": re.compile(r"sha512:[a-f0-9]{128}")}

NAME_LENGTH = 255
"""The longest name taken, in characters (distribution-spec, "Pulling manifests", implementers' note)."""


def _shown(text: str) -> str:
    """`text` as an error message may carry it: printable, and not as long as an attacker likes."""
    return ascii(text if len(text) <= 100 else text[:100] + "…")


class Name(str):
    """A repository's name (distribution-spec, "Pulling manifests": `<name>`)."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Name:
        """`text` as a Name. Raises NameInvalid."""
        # The length first: it also bounds what the pattern may cost.
        if len(text) > NAME_LENGTH or not _NAME.fullmatch(text):
            raise NameInvalid(f"invalid repository name {_shown(text)}")
        return cls(text)


class Tag(str):
    """A tag (distribution-spec, "Pulling manifests": `<reference>` as a tag)."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Tag:
        """`text` as a Tag. Raises TagInvalid."""
        if not _TAG.fullmatch(text):
            raise TagInvalid(f"invalid tag {_shown(text)}")
        return cls(text)


class Digest(str):
    """A digest under an algorithm this registry computes: sha256 or sha512 (image-spec, "Digests")."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Digest:
        """`text` as a Digest. Raises DigestInvalid for a wrong form and for an unsupported algorithm."""
        pattern = _ENCODED.get(text.partition(":")[0])
        if pattern is not None and pattern.fullmatch(text):
            return cls(text)
        if pattern is None and len(text) <= NAME_LENGTH and _DIGEST.fullmatch(text):
            raise DigestInvalid(f"unsupported digest algorithm in {_shown(text)}: sha256 and sha512 are known")
        raise DigestInvalid(f"invalid digest {_shown(text)}")

    @classmethod
    def of(cls, data: bytes | memoryview, algorithm: str = "sha256") -> Digest:
        """The digest of `data`. Raises DigestInvalid for an unsupported algorithm."""
        return cls.finish(hasher(algorithm, data))

    @classmethod
    def finish(cls, state: _Hash) -> Digest:
        """The digest of all that went into `state`, which `hasher` made."""
        return cls(f"{state.name}:{state.hexdigest()}")

    @property
    def algorithm(self) -> str:
        """What stands before the colon: `sha256` or `sha512`."""
        return self.partition(":")[0]

    @property
    def encoded(self) -> str:
        """What stands behind the colon, in lower-case hexadecimal."""
        return self.partition(":")[2]

    @property
    def fallback_tag(self) -> Tag:
        """Where older clients list this subject's referrers (distribution-spec, "Referrers Tag Schema")."""
        return Tag(f"{self.algorithm[:32]}-{self.encoded[:64]}")


Reference = Tag | Digest
"""What may stand behind `/manifests/`."""


def parse_reference(text: str) -> Reference:
    """A Digest if `text` has a colon, else a Tag. Raises DigestInvalid, TagInvalid."""
    return Digest.parse(text) if ":" in text else Tag.parse(text)


def split(text: str) -> tuple[Name, Tag | None]:
    """`team/app:1.0` as its name and tag; None where it has no tag. Raises NameInvalid, TagInvalid."""
    name, colon, tag = text.partition(":")
    if "/" in tag:
        raise NameInvalid(f"{_shown(text)} has a host in front: here it is {_shown(tag.partition('/')[2])} alone")
    return Name.parse(name), Tag.parse(tag) if colon else None


def hasher(algorithm: str, data: bytes | memoryview = b"") -> _Hash:
    """A hash that computes digests under `algorithm`, fed with `data`. Raises DigestInvalid for an unknown one."""
    if algorithm not in _ENCODED:
        raise DigestInvalid(f"unsupported digest algorithm {_shown(algorithm)}: sha256 and sha512 are known")
    import hashlib  # which brings OpenSSL: not before something is hashed

    make = hashlib.sha256 if algorithm == "sha256" else hashlib.sha512
    return make(data, usedforsecurity=False)
