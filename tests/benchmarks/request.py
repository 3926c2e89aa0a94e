"""The requests of pushes and pulls, as bytes made beforehand; a server's Location is all that is filled in later."""

from __future__ import annotations

import re
from collections.abc import Callable

from .connection import Connection, Refused
from .content import BLOB, MANIFEST_TYPE, Blob, Image, Large

Operation = Callable[[Connection], None]

ACCEPT = f"Accept: {MANIFEST_TYPE}"
BASE = "/v2/"

_LOCATION = b"\r\nlocation:"
_PATH = re.compile(rb" *(?:http://[^/\r]*)?([^\r]+)")


def repository(label: str, size: int = BLOB) -> str:
    """A repository's name; it says its blobs' bytes, from which the null server knows what to send."""
    return f"bench/{size}/{label}"


def manifest_path(name: str, tag: str) -> str:
    """Where a manifest is."""
    return f"/v2/{name}/manifests/{tag}"


def blob_path(name: str, digest: str) -> str:
    """Where a blob is."""
    return f"/v2/{name}/blobs/{digest}"


def get(path: str) -> Operation:
    """GET it."""
    request = _head("GET", path, ACCEPT)

    def operation(connection: Connection) -> None:
        connection.ask(request)

    return operation


def pull(name: str, tag: str, image: Image) -> Operation:
    """GET the manifest and every blob."""
    paths = [manifest_path(name, tag), *(blob_path(name, blob.digest) for blob in image.blobs)]
    requests = [_head("GET", path, ACCEPT) for path in paths]

    def operation(connection: Connection) -> None:
        for request in requests:
            connection.ask(request)

    return operation


def push(name: str, tag: str, image: Image) -> Operation:
    """HEAD, POST, PATCH and PUT every blob, PUT the manifest: what docker does for an image that is new."""
    blobs = [_push_blob(name, blob) for blob in image.blobs]
    manifest = put(name, tag, image)

    def operation(connection: Connection) -> None:
        for blob in blobs:
            blob(connection)
        manifest(connection)

    return operation


def put(name: str, tag: str, image: Image) -> Operation:
    """PUT the manifest of an image whose blobs are there."""
    head = _head("PUT", manifest_path(name, tag), f"Content-Type: {MANIFEST_TYPE}", _length(len(image.manifest)))
    manifest = head + image.manifest

    def operation(connection: Connection) -> None:
        connection.ask(manifest)

    return operation


def _push_blob(name: str, blob: Blob) -> Operation:
    head = _head("HEAD", blob_path(name, blob.digest))
    post = _post(name)
    patch = _patch_tail(len(blob.data)) + blob.data
    put = _put_tail(blob.digest)

    def operation(connection: Connection) -> None:
        connection.ask(head, b"404", bodiless=True)
        location = _location(connection.ask(post))
        location = _location(connection.ask(b"PATCH " + location + patch))
        connection.ask(_put(location, put))

    return operation


def push_large(name: str, blob: Large) -> Operation:
    """POST, one PATCH of all its bytes, PUT."""
    post, patch, put = _post(name), _patch_tail(blob.size), _put_tail(blob.digest)
    pieces = blob.pieces

    def operation(connection: Connection) -> None:
        location = _location(connection.ask(post))
        connection.send(b"PATCH " + location + patch)
        for piece in pieces:
            connection.send(piece)
        connection.ask(_put(_location(connection.answer()), put))

    return operation


def _head(method: str, path: str, *fields: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: registry", *fields, "\r\n"]).encode()


def _length(size: int) -> str:
    return f"Content-Length: {size}"


def _post(name: str) -> bytes:
    return _head("POST", f"/v2/{name}/blobs/uploads/", _length(0))


def _patch_tail(size: int) -> bytes:
    """A PATCH from behind its path on."""
    return _head("", "", "Content-Type: application/octet-stream", _length(size))[1:]


def _put_tail(digest: str) -> bytes:
    """A PUT from its query's digest on."""
    return f"digest={digest}".encode() + _head("", "", _length(0))[1:]


def _put(location: bytes, tail: bytes) -> bytes:
    return b"PUT " + location + (b"&" if b"?" in location else b"?") + tail


def _location(head: bytes) -> bytes:
    at = head.lower().find(_LOCATION)
    match = _PATH.match(head, at + len(_LOCATION))
    if at < 0 or match is None:
        raise Refused(f"no Location: {head.decode('latin-1')}")
    return match[1]
