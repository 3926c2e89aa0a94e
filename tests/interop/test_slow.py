"""Answers that come late, slowly or never, to real clients: what waits gets all of it, what has a time-out gives up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tinyreg import Registry

from . import payload
from .ask import assert_serves
from .clients import Client
from .commands import LAYERS, content

COPY = ("copy", "--src-tls-verify=false")
IN_TIME = ("--command-timeout", "2s")
SIZE = 60_000  # bytes of the one big layer


@pytest.fixture
def app(served: Registry) -> str:
    served.push_image("team/app:1.0", layers=LAYERS, random=SIZE)
    return served.ref("team/app:1.0")


def big(served: Registry) -> str:
    """The URL of the layer that takes its time."""
    layer = max(served.repository("team/app").manifest("1.0").layers, key=lambda layer: layer.size)
    return f"{served.url}/v2/team/app/blobs/{layer.digest}"


@pytest.mark.parametrize("kind", ["manifest", "blob"])
@pytest.mark.parametrize("effect", [{"stall": True}, {"hold": True}, {"latency": 60, "jitter": 1}], ids=str)
def test_skopeo_gives_up_when_its_time_is_over(
    served: Registry, skopeo: Client, app: str, tmp_path: Path, effect: dict[str, Any], kind: str
) -> None:
    before = content(served)
    with served.faults.add(kind=kind, **effect) as fault:
        said = skopeo.refused(*IN_TIME, *COPY, f"docker://{app}", f"oci:{tmp_path}/out:1", timeout=20)
        assert "context deadline exceeded" in said
        assert fault.hits
    assert content(served) == before
    skopeo(*IN_TIME, *COPY, f"docker://{app}", f"oci:{tmp_path}/again:1")
    assert payload.read_layout(tmp_path / "again") == before


def test_skopeo_gives_up_a_push_that_stalls_and_nothing_is_tagged(
    served: Registry, skopeo: Client, tmp_path: Path
) -> None:
    image = payload.image({"etc/motd": b"hello\n"})
    layout = payload.write_layout(tmp_path / "in", {"1.0": image})
    push = ("copy", "--dest-tls-verify=false", f"oci:{layout}:1.0", f"docker://{served.ref('new:1')}")
    with served.faults.add(stall=True, kind="upload", method="PATCH") as fault:
        assert "context deadline exceeded" in skopeo.refused(*IN_TIME, *push, timeout=20)
        assert fault.hits == 1
        assert served.repositories() == []
    skopeo(*IN_TIME, *push)
    assert_serves(served, "new", "1", image)


def test_curl_has_half_of_a_blob_that_stalls(served: Registry, curl: Client, app: str) -> None:
    whole = curl(big(served))
    with served.faults.add(stall=True, kind="blob"):
        done = curl.run("--max-time", "1", big(served))
    assert (done.status, done.stdout) == (28, whole[: len(whole) // 2])
    assert curl("--max-time", "1", big(served)) == whole


def test_curl_finds_a_blob_too_slow_that_has_little_bandwidth(served: Registry, curl: Client, app: str) -> None:
    wants = ("--speed-limit", "20000", "--speed-time", "1")  # bytes a second, for a second
    with served.faults.add(bandwidth=5_000, kind="blob"):
        done = curl.run(*wants, big(served))
    assert done.status == 28, str(done)
    assert 0 < len(done.stdout) < SIZE
    assert len(curl(*wants, big(served))) > SIZE


def test_skopeo_pulls_all_of_an_image_slowly(served: Registry, skopeo: Client, app: str, tmp_path: Path) -> None:
    with served.faults.add(bandwidth=2 * SIZE, kind="blob") as fault:
        skopeo(*COPY, f"docker://{app}", f"oci:{tmp_path}/out:1")
    assert payload.read_layout(tmp_path / "out") == content(served)
    assert fault.hits == 4
    served.requests.wait(4, kind="blob")
    assert max(each.seconds for each in served.requests.where(kind="blob")) >= 0.5


def test_crane_pushes_all_of_an_image_slowly(served: Registry, crane: Client, tmp_path: Path) -> None:
    image = payload.image({"noise": payload.noise("slow", SIZE)})
    layout = payload.write_layout(tmp_path / "in", {"1.0": image})
    with served.faults.add(bandwidth=2 * SIZE, kind="upload", method="PATCH") as fault:
        crane("push", layout, served.ref("new:1"))
    assert fault.hits == 2
    assert_serves(served, "new", "1", image)
    assert max(each.seconds for each in served.requests.where(kind="upload", method="PATCH")) >= 0.5
