"""The operations of the spec within one repository, without HTTP: what an endpoint and a test both call."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from threading import Lock

from .content import Content
from .errors import (
    BlobUnknown,
    BlobUploadUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameUnknown,
    RangeInvalid,
    SizeInvalid,
    TooManyRequests,
)
from .manifest import Descriptor, Manifest
from .reference import Digest, Name, Reference, Tag
from .store import Store, Upload

SESSION_TIMEOUT = 3600.0
"""Seconds after which an upload session that nobody uses is forgotten (distribution-spec, "Cancel a Blob Upload")."""


SESSION_LIMIT = 1000
"""Upload sessions that may be open at once: each holds a file, or up to `memory.SPILL` bytes of memory."""


class Session:
    """An upload that clients can name. Requests on it take turns."""

    def __init__(self, name: Name, upload: Upload) -> None:
        self.name = name
        self.upload = upload
        self.lock = Lock()
        self.used = time.monotonic()


class Sessions:
    """The open upload sessions of all repositories, `limit` at most; unused for `timeout` seconds, one is cancelled."""

    def __init__(self, timeout: float = SESSION_TIMEOUT, limit: int = SESSION_LIMIT) -> None:
        self.timeout = timeout
        self.limit = limit
        self._open: OrderedDict[str, Session] = OrderedDict()  # the longest unused first
        self._lock = Lock()

    def add(self, name: Name, upload: Upload) -> Session:
        """A new session around `upload`. Raises TooManyRequests, the upload cancelled, where there are too many."""
        session = Session(name, upload)
        with self._lock:
            ended = [each.upload for each in self._expired(session.used)]
            refused = len(self._open) >= self.limit
            if refused:
                ended.append(upload)
            else:
                self._open[upload.id] = session
        for each in ended:
            each.cancel()
        if refused:
            raise TooManyRequests(f"{self.limit} uploads are open: finish or cancel some", headers={"Retry-After": "1"})
        return session

    def find(self, name: Name, session_id: str) -> Session:
        """The session, marked as used. Raises BlobUploadUnknown."""
        with self._lock:
            session = self._open.get(session_id)
            if session is None or session.name != name:
                raise BlobUploadUnknown()
            session.used = time.monotonic()
            self._open.move_to_end(session_id)
        return session

    def turn(self, name: Name, session_id: str) -> Turn:
        """The session, for this thread alone. Raises BlobUploadUnknown, also where it ended while we waited."""
        return Turn(self, self.find(name, session_id))

    def drop(self, session: Session) -> None:
        """Forget the session; its upload is the caller's to end."""
        with self._lock:
            self._open.pop(session.upload.id, None)

    def clear(self) -> None:
        """Cancel every session."""
        with self._lock:
            sessions = list(self._open.values())
            self._open.clear()
        for session in sessions:
            session.upload.cancel()

    def __len__(self) -> int:
        return len(self._open)

    def _expired(self, now: float) -> list[Session]:
        expired = []
        for session in list(self._open.values()):
            if now - session.used <= self.timeout:
                break
            if not session.lock.locked():
                expired.append(self._open.pop(session.upload.id))
        return expired


class Turn:
    """A session in a `with` block, for one thread. A generator would take twice the time."""

    __slots__ = ("_session", "_sessions")

    def __init__(self, sessions: Sessions, session: Session) -> None:
        self._sessions = sessions
        self._session = session

    def __enter__(self) -> Session:
        session = self._session
        session.lock.acquire()
        try:
            return self._sessions.find(session.name, session.upload.id)
        except BaseException:
            session.lock.release()
            raise

    def __exit__(self, *_: object) -> None:
        self._session.lock.release()


class Repository:
    """One repository of a store. Every method may raise what the Store's methods raise."""

    __slots__ = ("name", "sessions", "store")

    def __init__(self, store: Store, sessions: Sessions, name: Name) -> None:
        self.store = store
        self.sessions = sessions
        self.name = name

    # Pull (end-2, end-3)

    def pull_manifest(self, reference: Reference) -> Manifest:
        """What `reference` names. Raises ManifestUnknown, NameUnknown."""
        digest = self.store.resolve(self.name, reference) if isinstance(reference, Tag) else reference
        return self.store.manifest(self.name, digest)

    def blob_size(self, digest: Digest) -> int:
        """The blob's bytes, without the blob. Raises BlobUnknown."""
        return self.store.blob_size(self.name, digest)

    def pull_blob(self, digest: Digest) -> Content:
        """The blob. Raises BlobUnknown."""
        return self.store.blob(self.name, digest)

    # Push (end-4 … end-7, end-11, end-13, end-14)

    def start_upload(self, algorithm: str = "sha256") -> Session:
        """A new session (end-4a). Raises DigestInvalid for an algorithm we can't compute."""
        return self.sessions.add(self.name, self.store.upload(self.name, algorithm))

    def append(
        self, session_id: str, data: Iterable[bytes | memoryview], start: int | None = None, size: int | None = None
    ) -> int:
        """Append `data` to the session, whose size it returns (end-5).

        `start` and `size` are what the client said of the chunk, in bytes. Raises BlobUploadUnknown; RangeInvalid
        where the session does not stand at `start`, which leaves it as it was; SizeInvalid, which ends it, where
        `data` is not of `size`.
        """
        with self.sessions.turn(self.name, session_id) as session:
            self._append(session, data, start, size)
            return session.upload.size

    def finish_upload(
        self,
        session_id: str,
        digest: Digest,
        data: Iterable[bytes | memoryview] = (),
        start: int | None = None,
        size: int | None = None,
    ) -> None:
        """Append the last of the data, which may be none, and make the blob `digest` of it all (end-6).

        Raises what `append` raises, and DigestInvalid, which ends the session.
        """
        with self.sessions.turn(self.name, session_id) as session:
            self._append(session, data, start, size)
            self.sessions.drop(session)
            session.upload.commit(digest)

    def push_blob(self, digest: Digest, data: Iterable[bytes | memoryview]) -> None:
        """Make `data` the blob `digest` in one go (end-4b). Raises DigestInvalid."""
        upload = self.store.upload(self.name, digest.algorithm)
        try:
            for chunk in data:
                upload.write(chunk)
        except BaseException:
            upload.cancel()
            raise
        upload.commit(digest)

    def upload_size(self, session_id: str) -> int:
        """Bytes the session holds (end-13). Raises BlobUploadUnknown."""
        return self.sessions.find(self.name, session_id).upload.size

    def cancel_upload(self, session_id: str) -> None:
        """End the session (end-14). Raises BlobUploadUnknown."""
        with self.sessions.turn(self.name, session_id) as session:
            self.sessions.drop(session)
            session.upload.cancel()

    def mount_blob(self, digest: Digest, source: Name | None = None) -> bool:
        """Take the blob over from `source`, or from wherever it is (end-11). False where it is not there."""
        try:
            self.store.mount(self.name, digest, source)
        except (BlobUnknown, NameUnknown):
            return False
        return True

    def push_manifest(
        self,
        reference: Reference,
        data: bytes,
        media_type: str | None = None,
        tags: Sequence[Tag] = (),
        expected: Collection[Digest] | None = None,
    ) -> Manifest:
        """Keep `data` as a manifest under `reference` and `tags`, all at once (end-7).

        Raises ManifestInvalid, DigestInvalid, ManifestBlobUnknown, PreconditionFailed (see `Store.put_manifest`).
        """
        named = [reference] if isinstance(reference, Tag) else []
        manifest = Manifest.parse(data, media_type, reference if isinstance(reference, Digest) else None)
        self.store.put_manifest(self.name, manifest, [*named, *tags], expected)
        return manifest

    # Content discovery (end-8, end-12)

    def tags(self, after: str = "", limit: int | None = None) -> list[Tag]:
        """The tags behind `after` in ASCII order, at most `limit`. Raises NameUnknown."""
        return list(self.store.tags(self.name, after, limit))

    def referrers(self, digest: Digest, artifact_type: str | None = None) -> list[Descriptor]:
        """The manifests about `digest`: by their subject, and those listed under its fallback tag (SPEC G6)."""
        found = {descriptor.digest: descriptor for descriptor in self._fallback(digest)}
        found.update((descriptor.digest, descriptor) for descriptor in self.store.referrers(self.name, digest))
        return [each for each in found.values() if artifact_type in (None, each.artifact_type)]

    # Delete (end-9, end-10)

    def delete_manifest(self, digest: Digest) -> None:
        """Forget the manifest and all its tags. Raises ManifestUnknown, NameUnknown."""
        self.store.delete_manifest(self.name, digest)

    def delete_tag(self, tag: Tag) -> None:
        """Forget the tag; the manifest stays. Raises ManifestUnknown, NameUnknown."""
        self.store.delete_tag(self.name, tag)

    def delete_blob(self, digest: Digest) -> None:
        """Forget the blob in this repository. Raises BlobUnknown."""
        self.store.delete_blob(self.name, digest)

    def _append(
        self, session: Session, data: Iterable[bytes | memoryview], start: int | None, size: int | None
    ) -> None:
        before = session.upload.size
        if start is not None and start != before:
            raise RangeInvalid(f"the chunk starts at {start}, but the upload stands at {before}")
        for chunk in data:
            try:
                session.upload.write(chunk)
            except BaseException:  # a part of the chunk may have been written: nobody can go on from there
                self.sessions.drop(session)
                session.upload.cancel()
                raise
        written = session.upload.size - before
        if size is not None and written != size:
            self.sessions.drop(session)
            session.upload.cancel()
            raise SizeInvalid(f"the chunk was announced with {size} bytes and came with {written}")

    def _fallback(self, digest: Digest) -> Iterator[Descriptor]:
        """What clients listed under the fallback tag and the repository has."""
        try:
            index = self.pull_manifest(digest.fallback_tag)
            listed = index.manifests if index.is_index else ()
        except (ManifestUnknown, NameUnknown, ManifestInvalid):
            return
        for descriptor in listed:
            try:
                self.store.manifest(self.name, descriptor.digest)
            except ManifestUnknown:
                continue
            yield descriptor
