from __future__ import annotations

import re

import pytest

from tinyreg import errors
from tinyreg.errors import BlobUnknown, ManifestBlobUnknown, ManifestInvalid, ManifestTooLarge, RegistryError

# SPEC B2 and B4: each class, the code it writes and the status it is sent with
CODES = {
    "RegistryError": ("UNKNOWN", 500),
    "BlobUnknown": ("BLOB_UNKNOWN", 404),
    "BlobUploadInvalid": ("BLOB_UPLOAD_INVALID", 400),
    "BlobUploadUnknown": ("BLOB_UPLOAD_UNKNOWN", 404),
    "DigestInvalid": ("DIGEST_INVALID", 400),
    "ManifestBlobUnknown": ("MANIFEST_BLOB_UNKNOWN", 400),
    "ManifestInvalid": ("MANIFEST_INVALID", 400),
    "ManifestTooLarge": ("MANIFEST_INVALID", 413),  # E7
    "ManifestUnknown": ("MANIFEST_UNKNOWN", 404),
    "NameInvalid": ("NAME_INVALID", 400),
    "NameUnknown": ("NAME_UNKNOWN", 404),
    "SizeInvalid": ("SIZE_INVALID", 400),
    "BlobTooLarge": ("SIZE_INVALID", 413),
    "Unauthorized": ("UNAUTHORIZED", 401),
    "Denied": ("DENIED", 403),
    "Unsupported": ("UNSUPPORTED", 405),
    "NotFound": ("UNSUPPORTED", 404),
    "TooManyRequests": ("TOOMANYREQUESTS", 429),
    "TagInvalid": ("TAG_INVALID", 400),
    "RangeInvalid": ("RANGE_INVALID", 416),
    "PreconditionFailed": ("DENIED", 412),
    "PaginationNumberInvalid": ("PAGINATION_NUMBER_INVALID", 400),
    "Unavailable": ("UNAVAILABLE", 503),
    "StorageFull": ("UNAVAILABLE", 507),
    "StorageRefused": ("UNKNOWN", 500),
}


def classes() -> dict[str, type[RegistryError]]:
    found = (each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, RegistryError))
    return {each.__name__: each for each in found}


@pytest.mark.parametrize(("name", "code", "status"), [(name, *row) for name, row in CODES.items()], ids=list(CODES))
def test_a_class_has_the_code_and_status_of_the_spec(name: str, code: str, status: int) -> None:
    kind = classes()[name]
    assert (kind.code, kind.status) == (code, status)


def test_every_class_stands_in_the_table() -> None:
    assert set(classes()) == set(CODES)


@pytest.mark.parametrize("kind", classes().values(), ids=classes())
def test_a_code_is_capitals_and_underscores_and_a_message_one_line(kind: type[RegistryError]) -> None:
    assert re.fullmatch("[A-Z_]+", kind.code)  # B2
    assert re.fullmatch("[^\n]+", kind.message)


def test_an_error_says_its_class_s_message_unless_told_another() -> None:
    assert str(BlobUnknown()) == BlobUnknown().message == BlobUnknown.message
    assert str(BlobUnknown("gone")) == BlobUnknown("gone").message == "gone"
    assert BlobUnknown.message == "blob unknown to registry"  # another instance's message changed nothing


def test_an_entry_has_a_detail_only_where_there_is_one() -> None:
    assert BlobUnknown("gone").entries() == [{"code": "BLOB_UNKNOWN", "message": "gone"}]
    assert BlobUnknown("gone", detail={"digest": "d"}).entries() == [
        {"code": "BLOB_UNKNOWN", "message": "gone", "detail": {"digest": "d"}}
    ]
    assert BlobUnknown("gone", detail=0).entries()[0]["detail"] == 0


def test_headers_are_copied_and_empty_by_default() -> None:
    given = {"Allow": "GET"}
    error = RegistryError(headers=given)
    given["Allow"] = "PUT"
    assert error.headers == {"Allow": "GET"}
    assert RegistryError().headers == {}


def test_missing_blobs_get_one_entry_each() -> None:  # B4
    error = ManifestBlobUnknown(iter(["sha256:a", "sha256:b"]))
    assert error.digests == ["sha256:a", "sha256:b"]
    assert str(error).endswith(": sha256:a, sha256:b")
    assert [(entry["code"], entry["detail"]) for entry in error.entries()] == [
        ("MANIFEST_BLOB_UNKNOWN", {"digest": "sha256:a"}),
        ("MANIFEST_BLOB_UNKNOWN", {"digest": "sha256:b"}),
    ]


def test_a_manifest_too_large_is_caught_as_an_invalid_one() -> None:
    with pytest.raises(ManifestInvalid) as caught:
        raise ManifestTooLarge()
    assert caught.value.status == 413
