"""The spec's error codes, one exception class each; not where they are raised, nor how they are written."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping
from typing import Any


class RegistryError(Exception):
    """A refusal in the spec's own form (distribution-spec, "Error Codes"): a code, a status, a message.

    `detail` is any JSON value that helps the reader; `headers` are sent along with the answer.
    """

    code: str = "UNKNOWN"
    status: int = 500
    message: str = "unknown error"

    def __init__(
        self, message: str | None = None, *, detail: Any = None, headers: Mapping[str, str] | None = None
    ) -> None:
        if message is not None:
            self.message = message
        self.detail = detail
        self.headers: dict[str, str] = dict(headers or {})
        super().__init__(self.message)

    def entries(self) -> list[dict[str, Any]]:
        """What stands in the answer's `errors` list."""
        entry: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.detail is not None:
            entry["detail"] = self.detail
        return [entry]


class BlobUnknown(RegistryError):
    code, status, message = "BLOB_UNKNOWN", 404, "blob unknown to registry"


class BlobUploadInvalid(RegistryError):
    code, status, message = "BLOB_UPLOAD_INVALID", 400, "blob upload invalid"


class BlobUploadUnknown(RegistryError):
    code, status, message = "BLOB_UPLOAD_UNKNOWN", 404, "blob upload unknown to registry"


class DigestInvalid(RegistryError):
    code, status, message = "DIGEST_INVALID", 400, "provided digest did not match uploaded content"


class ManifestBlobUnknown(RegistryError):
    """A manifest refers to content the repository does not have: one entry a missing digest."""

    code, status, message = "MANIFEST_BLOB_UNKNOWN", 400, "manifest references a manifest or blob unknown to registry"

    def __init__(self, digests: Iterable[str]) -> None:
        self.digests = list(digests)
        super().__init__(f"{self.message}: {', '.join(self.digests)}")

    def entries(self) -> list[dict[str, Any]]:
        return [
            {"code": self.code, "message": type(self).message, "detail": {"digest": digest}} for digest in self.digests
        ]


class ManifestInvalid(RegistryError):
    code, status, message = "MANIFEST_INVALID", 400, "manifest invalid"


class ManifestTooLarge(ManifestInvalid):
    status, message = 413, "manifest too large"


class ManifestUnknown(RegistryError):
    code, status, message = "MANIFEST_UNKNOWN", 404, "manifest unknown to registry"


class NameInvalid(RegistryError):
    code, status, message = "NAME_INVALID", 400, "invalid repository name"


class NameUnknown(RegistryError):
    code, status, message = "NAME_UNKNOWN", 404, "repository name not known to registry"


class SizeInvalid(RegistryError):
    code, status, message = "SIZE_INVALID", 400, "provided length did not match content length"


class BlobTooLarge(SizeInvalid):
    status, message = 413, "blob too large"


class Unauthorized(RegistryError):
    code, status, message = "UNAUTHORIZED", 401, "authentication required"


class Denied(RegistryError):
    code, status, message = "DENIED", 403, "requested access to the resource is denied"


class Unsupported(RegistryError):
    code, status, message = "UNSUPPORTED", 405, "the operation is unsupported"


class NotFound(Unsupported):
    """A path that is no endpoint of the registry at all."""

    status, message = 404, "no such endpoint"


class TooManyRequests(RegistryError):
    code, status, message = "TOOMANYREQUESTS", 429, "too many requests"


# The rest are Docker's, kept for its clients where the OCI list has no code that fits (SPEC B4).


class TagInvalid(RegistryError):
    code, status, message = "TAG_INVALID", 400, "manifest tag did not match URI"


class RangeInvalid(RegistryError):
    code, status, message = "RANGE_INVALID", 416, "invalid content range"


class PreconditionFailed(RegistryError):
    """`If-Match` on a push names another manifest than the tag holds (RFC 9110 §13.1.1)."""

    code, status, message = "DENIED", 412, "the tag no longer holds the manifest that If-Match names"


class PaginationNumberInvalid(RegistryError):
    code, status, message = "PAGINATION_NUMBER_INVALID", 400, "invalid number of results requested"


class Unavailable(RegistryError):
    code, status, message = "UNAVAILABLE", 503, "service unavailable"


class StorageFull(Unavailable):
    """RFC 4918 §11.5."""

    status, message = 507, "the registry's disk is full: what was being pushed is not kept"


class StorageRefused(RegistryError):
    message = "the registry may not write its folder: what was being pushed is not kept"


_OF_SYSTEM: dict[int, type[RegistryError]] = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), StorageFull),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), StorageRefused),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.ENOMEM), Unavailable),
}


def of_system(error: OSError) -> RegistryError | None:
    """How clients are told of what the operating system refuses a store; None where it may be our own mistake.

    The message names no path: it is the operator's, who finds it in the original.
    """
    kind = _OF_SYSTEM.get(error.errno or 0)
    return None if kind is None else kind()
