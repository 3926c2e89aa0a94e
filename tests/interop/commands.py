"""What people do with clients, as a table: a command line, and a check that it did all it should. Knows no fault."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tinyreg import Registry
from tinyreg.layer import Files

from . import payload
from .ask import assert_serves, blob

LAYERS: tuple[Files, ...] = ({"etc/motd": b"hello\n"}, {"etc/.wh.motd": b"", "bin/x": b"#!"})
RANDOM = 60_000
PUSHED = payload.image({"etc/motd": b"hello\n", "opt/noise": payload.noise("commands", 300_000)})
ARTIFACT = {"a": b"x" * 1000}
DATA = payload.noise("commands' artifact", 50_000)
PLAIN = "--plain-http"


class Command(NamedTuple):
    """`client` is a fixture's name, `args` what it is called with, to write to an empty folder; `check` looks at the
    registry, that folder and stdout, and raises AssertionError where something is not as it should be."""

    client: str
    args: Callable[[Registry, Path], tuple[str | Path, ...]]
    check: Callable[[Registry, Path, bytes], None]


def seed(served: Registry) -> str:
    """Put `team/app:1.0` and the artifact `team/app:art` where the commands look for them."""
    image = served.push_image("team/app:1.0", layers=LAYERS, random=RANDOM)
    served.push_artifact("team/app:art", "application/x", ARTIFACT, subject=image)
    return served.ref("team/app:1.0")


def content(served: Registry, name: str = "team/app", reference: str = "1.0") -> dict[str, bytes]:
    """An image's manifest and blobs by digest, as they are stored."""
    view = served.repository(name)
    manifest = view.manifest(reference)
    return {**{str(b.digest): view.blob(b.digest) for b in manifest.blobs}, str(manifest.digest): manifest.data}


def whole_blobs(folder: Path) -> dict[str, bytes]:
    """What lies under a digest in the layout `folder`, which may be half made: not what a client still writes."""
    found = payload.read_layout(folder)
    return {name: data for name, data in found.items() if re.fullmatch("sha256:[0-9a-f]{64}", name)}


def _pulled(served: Registry, out: Path, stdout: bytes) -> None:
    assert payload.read_layout(out) == content(served)


def _printed(served: Registry, out: Path, stdout: bytes) -> None:
    assert stdout == served.repository("team/app").manifest("1.0").data


def _named(served: Registry, out: Path, stdout: bytes) -> None:
    assert stdout.decode().strip() == served.repository("team/app").manifest("1.0").digest


def _tags(served: Registry, out: Path, stdout: bytes) -> None:
    assert re.findall(rb"\b(1\.0|art)\b", stdout) == [b"1.0", b"art"]


def _repositories(served: Registry, out: Path, stdout: bytes) -> None:
    assert stdout.split() == [b"team/app"]


def _pushed(served: Registry, out: Path, stdout: bytes) -> None:
    assert_serves(served, "new", "1", PUSHED)


def _artifact(served: Registry, out: Path, stdout: bytes) -> None:
    assert {path.name: path.read_bytes() for path in out.iterdir()} == ARTIFACT


def _attached(served: Registry, out: Path, stdout: bytes) -> None:
    assert served.repository("team/app").manifest("art").digest.encode() in stdout


def _artifact_pushed(served: Registry, out: Path, stdout: bytes) -> None:
    assert blob(served, "new", payload.digest(DATA)) == DATA
    assert served.repository("new").manifest("1").layers[0].digest == payload.digest(DATA)


def _deleted(served: Registry, out: Path, stdout: bytes) -> None:
    assert served.repository("team/app").tags() == ["1.0"]


def _tagged(served: Registry, out: Path, stdout: bytes) -> None:
    view = served.repository("team/app")
    assert view.manifest("2.0").digest == view.manifest("1.0").digest


def _image(served: Registry, out: Path, stdout: bytes) -> None:
    assert stdout.decode().splitlines()[-1] == served.ref("team/app:1.0")


def _identified(served: Registry, out: Path, stdout: bytes) -> None:
    config = served.repository("team/app").manifest("1.0").config
    assert config is not None
    assert stdout.decode().split()[-1] == config.digest.encoded


def _here(served: Registry) -> tuple[str, str]:
    return "--host", f"reg={served.host},tls=disabled"


def _layout(out: Path) -> Path:
    return payload.write_layout(out / "in", {"1.0": PUSHED})


def _data(out: Path) -> Path:
    (out / "data.bin").write_bytes(DATA)
    return out / "data.bin"


def _app(served: Registry) -> str:
    return served.ref("team/app:1.0")


COMMANDS = {
    "crane digest": Command("crane", lambda r, out: ("digest", _app(r)), _named),
    "crane manifest": Command("crane", lambda r, out: ("manifest", _app(r)), _printed),
    "crane pull": Command("crane", lambda r, out: ("pull", "--format", "oci", _app(r), out), _pulled),
    "crane push": Command("crane", lambda r, out: ("push", _layout(out), r.ref("new:1")), _pushed),
    "crane ls": Command("crane", lambda r, out: ("ls", r.ref("team/app")), _tags),
    "crane catalog": Command("crane", lambda r, out: ("catalog", r.host), _repositories),
    "crane tag": Command("crane", lambda r, out: ("tag", _app(r), "2.0"), _tagged),
    "crane delete": Command("crane", lambda r, out: ("delete", r.ref("team/app:art")), _deleted),
    "skopeo pull": Command(
        "skopeo", lambda r, out: ("copy", "--src-tls-verify=false", f"docker://{_app(r)}", f"oci:{out}:1"), _pulled
    ),
    "skopeo push": Command(
        "skopeo",
        lambda r, out: ("copy", "--dest-tls-verify=false", f"oci:{_layout(out)}:1.0", f"docker://{r.ref('new:1')}"),
        _pushed,
    ),
    "skopeo list-tags": Command(
        "skopeo", lambda r, out: ("list-tags", "--tls-verify=false", f"docker://{r.ref('team/app')}"), _tags
    ),
    "oras manifest": Command("oras", lambda r, out: ("manifest", "fetch", PLAIN, _app(r)), _printed),
    "oras pull": Command("oras", lambda r, out: ("pull", PLAIN, "--output", out, r.ref("team/app:art")), _artifact),
    "oras push": Command(
        "oras",
        lambda r, out: ("push", PLAIN, "--disable-path-validation", r.ref("new:1"), _data(out)),
        _artifact_pushed,
    ),
    "oras discover": Command("oras", lambda r, out: ("discover", PLAIN, "--format", "json", _app(r)), _attached),
    "regctl manifest": Command(
        "regctl", lambda r, out: ("manifest", "get", "--format", "raw-body", *_here(r), _app(r)), _printed
    ),
    "regctl pull": Command(
        "regctl", lambda r, out: ("image", "copy", *_here(r), _app(r), f"ocidir://{out}:1"), _pulled
    ),
    "regctl push": Command(
        "regctl", lambda r, out: ("image", "copy", *_here(r), f"ocidir://{_layout(out)}:1.0", r.ref("new:1")), _pushed
    ),
    "podman pull": Command("podman", lambda r, out: ("pull", "--tls-verify=false", "--quiet", _app(r)), _identified),
    "docker pull": Command("docker", lambda r, out: ("pull", _app(r)), _image),
}
