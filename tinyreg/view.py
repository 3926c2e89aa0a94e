"""A repository as a test looks at it: plain strings in, bytes out; nothing of HTTP."""

from __future__ import annotations

from contextlib import suppress

from . import layer
from .errors import BlobUnknown, ManifestUnknown
from .layer import Symlink
from .layout import Loaded
from .manifest import Descriptor, Manifest
from .reference import Digest, Tag, parse_reference
from .repository import Repository


class View(Repository):
    """A Repository that takes references and digests as they are written.

    Each method raises TagInvalid or DigestInvalid for one that is no reference, and what the Repository raises.
    """

    __slots__ = ()

    def manifest(self, reference: str) -> Manifest:
        """What a tag or digest names. Raises ManifestUnknown, NameUnknown."""
        return self.pull_manifest(parse_reference(reference))

    def blob(self, digest: str) -> bytes:
        """The blob, read. Raises BlobUnknown."""
        return bytes(self.pull_blob(Digest.parse(digest)))

    def referrers(self, digest: str, artifact_type: str | None = None) -> list[Descriptor]:
        """The manifests about `digest`, of one artifact type if it is given."""
        return super().referrers(Digest.parse(digest), artifact_type)

    def files(
        self, reference: str, platform: str = "linux/amd64", *, limit: int = layer.LIMIT
    ) -> dict[str, bytes | Symlink]:
        """The files of an image: its layers applied, whiteouts carried out; of an index, the image for `platform`.

        Raises LookupError where an index has none for it, ValueError for a layer that can't be read, and for layers
        that have more than `limit` bytes together, decompressed.
        """
        manifest = self.manifest(reference)
        if manifest.is_index:
            manifest = self.manifest(_child(manifest, platform).digest)
        return layer.apply((self.blob(each.digest) for each in manifest.layers), limit)

    def collect(self, manifest: Manifest, into: Loaded) -> None:
        """Add the manifest and all that it refers to and that is here to `into`."""
        if manifest.digest in into.manifests:
            return
        for child in manifest.manifests:
            with suppress(ManifestUnknown):
                self.collect(self.pull_manifest(child.digest), into)
        for blob in manifest.blobs:
            with suppress(BlobUnknown):
                into.blobs[blob.digest] = self.pull_blob(blob.digest)
        into.manifests[manifest.digest] = manifest

    def put_raw(self, reference: str, data: bytes, media_type: str | None = None, digest: str | None = None) -> Digest:
        """Content that lies: stored as told, checked by nobody.

        With a `media_type` it is a manifest, under the tag or digest `reference`; without one a blob, whose digest
        `reference` is. `digest` is what a tagged manifest is said to have, its own if it is None.
        """
        named = parse_reference(reference)
        stated = named if isinstance(named, Digest) else Digest.parse(digest) if digest else Digest.of(data)
        if media_type is not None:
            tags = [named] if isinstance(named, Tag) else []
            self.store.put_manifest(self.name, Manifest(data, stated, media_type), tags)
        elif isinstance(named, Tag):
            raise ValueError(f"a blob has no tag: give {reference!r} a media_type, or put the blob under its digest")
        else:
            self.store.put_blob(self.name, stated, data)
        return stated


def _child(index: Manifest, platform: str) -> Descriptor:
    """The child of an index for a platform, `os/architecture[/variant]`."""
    there = []
    for child in index.manifests:
        place = child.platform or {}
        there.append("/".join(str(place[key]) for key in ("os", "architecture", "variant") if place.get(key)))
        if there[-1] == platform:
            return child
    raise LookupError(f"the index has no image for {platform}: it has {', '.join(filter(None, there)) or 'none'}")
