"""Which manifests a repository has, what they are called and what they refer to; not where their bytes are.

Both stores keep one a repository. In memory it is all there is; on disk it is what `index.json` says.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Sequence

from ..errors import ManifestInvalid, ManifestUnknown, PreconditionFailed
from ..manifest import Descriptor, Manifest
from ..reference import Digest, Name, Tag
from . import page


class Index:
    """The manifests, tags and referrers of one repository. Whoever holds it does the locking."""

    def __init__(self, name: Name) -> None:
        self.name = name
        self.manifests: dict[Digest, Descriptor] = {}
        self._digests: dict[Tag, Digest] = {}
        self._sorted: list[Tag] = []
        self._tags: dict[Digest, set[Tag]] = {}
        self._referrers: dict[Digest, dict[Digest, Descriptor]] = {}
        self._subjects: dict[Digest, Digest] = {}

    def add(self, manifest: Manifest, tags: Iterable[Tag] = ()) -> None:
        """Know `manifest`, and let `tags` name it instead of what they named."""
        self.manifests[manifest.digest] = manifest.descriptor
        self.refer(manifest)
        for tag in tags:
            self.tag(tag, manifest.digest)

    def refer(self, manifest: Manifest) -> None:
        """List `manifest` among its subject's referrers, if it has one."""
        try:
            subject = manifest.subject if manifest.is_known else None
            shown = manifest.as_referrer if subject else None
        except ManifestInvalid:  # put there by other programs, or by `put_raw`: it refers to nothing then
            return
        if subject and shown:
            self._referrers.setdefault(subject.digest, {})[manifest.digest] = shown
            self._subjects[manifest.digest] = subject.digest

    def expect(self, tags: Iterable[Tag], expected: Collection[Digest] | None) -> None:
        """Raise PreconditionFailed unless each of `tags` names one of `expected`; None expects nothing."""
        if expected is not None and any(self._digests.get(tag) not in expected for tag in tags):
            raise PreconditionFailed()

    def tag(self, tag: Tag, digest: Digest) -> None:
        """Let `tag` name `digest`."""
        before = self._digests.get(tag)
        if before is None:
            insort(self._sorted, tag)
        elif before != digest:
            self._tags[before].discard(tag)
        self._digests[tag] = digest
        self._tags.setdefault(digest, set()).add(tag)

    def untag(self, tag: Tag) -> None:
        """Forget `tag`. Raises ManifestUnknown."""
        digest = self.resolve(tag)
        del self._digests[tag]
        del self._sorted[bisect_left(self._sorted, tag)]
        self._tags[digest].discard(tag)

    def remove(self, digest: Digest) -> None:
        """Forget a manifest and every tag of it. Raises ManifestUnknown."""
        self.known(digest)
        for tag in sorted(self._tags.get(digest, ())):
            self.untag(tag)
        self._tags.pop(digest, None)
        del self.manifests[digest]
        subject = self._subjects.pop(digest, None)
        if subject is not None:
            del self._referrers[subject][digest]

    def known(self, digest: Digest) -> Descriptor:
        """The descriptor of a manifest. Raises ManifestUnknown."""
        descriptor = self.manifests.get(digest)
        if descriptor is None:
            raise ManifestUnknown(f"manifest {digest} is not known in {self.name}", detail={"digest": digest})
        return descriptor

    def resolve(self, tag: Tag) -> Digest:
        """What `tag` names. Raises ManifestUnknown."""
        digest = self._digests.get(tag)
        if digest is None:
            raise ManifestUnknown(f"tag {tag} is not known in {self.name}", detail={"tag": tag})
        return digest

    def named(self, tags: Iterable[Tag]) -> list[Digest]:
        """What each of `tags` names, where it names anything."""
        return [self._digests[tag] for tag in tags if tag in self._digests]

    def is_tagged(self, digest: Digest) -> bool:
        """Whether any tag names `digest`."""
        return bool(self._tags.get(digest))

    def tags(self, after: str = "", limit: int | None = None) -> list[Tag]:
        """The tags behind `after` in ASCII order, at most `limit`."""
        return page(self._sorted, after, limit)

    def tags_of(self, digest: Digest) -> list[Tag]:
        """Every tag that names `digest`, in ASCII order."""
        return sorted(self._tags.get(digest, ()))

    def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """The manifests whose subject is `digest`, oldest first."""
        return list(self._referrers.get(digest, {}).values())
