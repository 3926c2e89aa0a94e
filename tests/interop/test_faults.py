"""What real clients make of faults, and of content that was made without any client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tinyreg import Registry

from .clients import Client


@pytest.fixture
def seeded(served: Registry) -> str:
    """An image that no client pushed."""
    served.push_image("team/app:1.0", layers=[{"etc/motd": b"hello\n"}, {"etc/.wh.motd": b"", "bin/x": b"#!"}])
    return served.ref("team/app:1.0")


def test_crane_validates_a_seeded_image_and_index(served: Registry, crane: Client, seeded: str) -> None:
    one, other = served.push_image("team/app"), served.push_image("team/app", platform="linux/arm64", docker=True)
    served.push_index("team/app:multi", [one, other])
    for ref in (seeded, served.ref("team/app:multi")):
        assert "PASS" in crane("validate", "--remote", ref).decode()


def test_skopeo_and_umoci_unpack_a_seeded_image(served: Registry, skopeo: Client, seeded: str, tmp_path: Path) -> None:
    skopeo("copy", "--src-tls-verify=false", f"docker://{seeded}", f"oci:{tmp_path / 'out'}:1.0")
    registry = Registry()
    registry.load(tmp_path / "out", "app")
    assert registry.repository("app").files("1.0") == {"bin/x": b"#!"}


def test_crane_asks_again_after_429_and_503(served: Registry, crane: Client, seeded: str) -> None:
    for status in (429, 503):
        with served.faults.add(status=status, kind="manifest", times=1) as fault:
            assert crane.text("digest", seeded) == served.repository("team/app").manifest("1.0").digest
        assert fault.hits == 1


def test_skopeo_waits_as_long_as_retry_after_says(served: Registry, skopeo: Client, seeded: str) -> None:
    served.faults.add(status=429, kind="manifest", times=1, headers={"Retry-After": "1"})
    skopeo("inspect", "--tls-verify=false", f"docker://{seeded}")
    assert [each.status for each in served.requests.where(kind="manifest")] == [429, 200]


def test_crane_refuses_a_corrupt_blob_and_a_lying_digest(
    served: Registry, crane: Client, seeded: str, tmp_path: Path
) -> None:
    with served.faults.add(corrupt=True, kind="blob"):
        assert "sha256" in crane.refused("pull", "--format", "oci", seeded, tmp_path / "out")
    with served.faults.add(digest="sha256:" + "0" * 64, kind="manifest", method="GET"):
        true = served.repository("team/app").manifest("1.0").digest
        crane.run("manifest", f"{seeded.rpartition(':')[0]}@{true}")
    assert served.requests[-1].response_headers["Docker-Content-Digest"] == "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "words", [{"limit_data": 20}, {"reset_peer": True}, {"empty": True}, {"garbage": True}], ids=str
)
def test_oras_fails_where_the_answer_never_comes_whole(
    served: Registry, oras: Client, seeded: str, words: dict[str, Any]
) -> None:
    served.faults.add(kind="manifest", method="GET", **words)
    assert oras.refused("manifest", "fetch", "--plain-http", seeded)


def test_a_push_that_is_reset_once_stores_nothing_wrong(served: Registry, crane: Client, seeded: str) -> None:
    image = served.push_image("big:1", random=200_000)
    served.faults.add(reset_peer=True, kind="upload", method="PATCH", limit_data=5000, times=1)
    crane.run("copy", served.ref("big:1"), served.ref("copy:1"))
    if "copy" in served.repositories() and "1" in served.repository("copy").tags():
        assert served.repository("copy").files("1") == served.repository("big").files("1")
    assert served.repository("big").manifest("1").digest == image.digest


def test_docker_pulls_a_seeded_image_and_gives_up_on_a_corrupt_one(
    served: Registry, docker: Client, seeded: str
) -> None:
    docker("pull", seeded)
    served.push_image("team/other:1", random=5000, docker=True)
    served.faults.add(corrupt=True, kind="blob")
    assert docker.refused("pull", served.ref("team/other:1"))
