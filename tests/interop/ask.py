"""What a registry serves, asked by plain HTTP: the second opinion on what a client says. Knows no client."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tinyreg import Registry

from . import payload
from .payload import Image, digest

MANIFESTS = (payload.OCI_MANIFEST, payload.OCI_INDEX, payload.DOCKER_MANIFEST, payload.DOCKER_LIST)
ACCEPT = {"Accept": ", ".join(MANIFESTS)}


@dataclass(frozen=True)
class Answer:
    """A response, read whole."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass(frozen=True)
class Served:
    """An image as a registry serves it: its manifest, its config's digest, and the files of all its layers."""

    manifest: bytes
    config: str
    files: dict[str, bytes]


def ask(registry: Registry, method: str, path: str, body: bytes | None = None) -> Answer:
    """One request, and its answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", registry.port, timeout=10)) as connection:
        connection.request(method, path, body, ACCEPT)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())


def manifest(registry: Registry, name: str, reference: str) -> Answer:
    """The manifest, which is there and is what its headers say."""
    answer = ask(registry, "GET", f"/v2/{name}/manifests/{reference}")
    assert answer.status == 200, answer.body
    assert answer.headers["Docker-Content-Digest"] == digest(answer.body)
    return answer


def blob(registry: Registry, name: str, wanted: str) -> bytes:
    """The blob, which is there and is the one that was asked for."""
    answer = ask(registry, "GET", f"/v2/{name}/blobs/{wanted}")
    assert answer.status == 200, answer.body
    assert digest(answer.body) == wanted
    return answer.body


def unpack(registry: Registry, name: str, reference: str) -> Served:
    """The image under that reference, every blob of it pulled, and hashed against all that names it."""
    data = manifest(registry, name, reference).body
    parsed: dict[str, Any] = json.loads(data)
    config = blob(registry, name, parsed["config"]["digest"])
    tars = [payload.gunzip(blob(registry, name, layer["digest"])) for layer in parsed["layers"]]
    assert [digest(layer) for layer in tars] == json.loads(config)["rootfs"]["diff_ids"]
    files = {path: content for layer in tars for path, content in payload.untar(layer).items()}
    return Served(data, digest(config), files)


def assert_serves(registry: Registry, name: str, reference: str, image: Image) -> None:
    """It serves this image under that reference: the same bytes, of manifest, children and blobs."""
    answer = manifest(registry, name, reference)
    assert answer.body == image.manifest
    assert answer.headers["Content-Type"] == image.media_type
    for wanted, data in image.blobs.items():
        assert blob(registry, name, wanted) == data
    for child in image.children:
        assert_serves(registry, name, child.digest, child)


def delete(registry: Registry, name: str, reference: str) -> None:
    """Delete what stands there by HTTP, as a user does whose client has no command for it."""
    assert ask(registry, "DELETE", f"/v2/{name}/manifests/{reference}").status == 202
    assert ask(registry, "GET", f"/v2/{name}/manifests/{reference}").status == 404
