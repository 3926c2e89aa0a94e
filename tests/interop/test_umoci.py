"""umoci against tinyreg: it works on layouts, so skopeo carries them to the registry and back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyreg import Registry

from . import payload
from .ask import assert_serves, unpack
from .clients import Client

FILES = {"etc/motd": b"hello\n"}
IMAGE = payload.image(FILES)


@pytest.fixture
def layout(served: Registry, skopeo: Client, tmp_path: Path) -> Path:
    """A layout with `1.0` in it, pulled from the registry by skopeo."""
    source, ref = payload.write_layout(tmp_path / "in", {"1.0": IMAGE}), f"docker://{served.ref('team/app:1.0')}"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{source}:1.0", ref)
    skopeo("copy", "--src-tls-verify=false", ref, f"oci:{tmp_path}/layout:1.0")
    return tmp_path / "layout"


def repack(umoci: Client, layout: Path, bundle: Path) -> None:
    """Make `2.0` of `1.0` by adding a file to what it unpacks to."""
    umoci("unpack", "--rootless", "--image", f"{layout}:1.0", bundle)
    (bundle / "rootfs/etc/more").write_bytes(b"more\n")
    umoci("repack", "--image", f"{layout}:2.0", bundle)


def push(skopeo: Client, served: Registry, layout: Path, tag: str) -> None:
    ref = f"docker://{served.ref(f'team/app:{tag}')}"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:{tag}", ref)


def test_a_pulled_image_unpacks_to_its_files(umoci: Client, layout: Path, tmp_path: Path) -> None:
    umoci("unpack", "--rootless", "--image", f"{layout}:1.0", tmp_path / "bundle")
    assert (tmp_path / "bundle/rootfs/etc/motd").read_bytes() == FILES["etc/motd"]


def test_a_pulled_image_is_listed(umoci: Client, layout: Path) -> None:
    assert umoci.lines("ls", "--layout", layout) == ["1.0"]


def test_a_repacked_image_is_pushed_with_its_new_layer(
    served: Registry, umoci: Client, skopeo: Client, layout: Path, tmp_path: Path
) -> None:
    repack(umoci, layout, tmp_path / "bundle")
    push(skopeo, served, layout, "2.0")
    assert served.repository("team/app").tags() == ["1.0", "2.0"]
    assert unpack(served, "team/app", "2.0").files == {**FILES, "etc/more": b"more\n"}
    assert_serves(served, "team/app", "1.0", IMAGE)


def test_an_image_made_from_nothing_is_pushed_and_pulled_back_the_same(
    served: Registry, umoci: Client, skopeo: Client, tmp_path: Path
) -> None:
    umoci("init", "--layout", tmp_path / "made")
    umoci("new", "--image", f"{tmp_path}/made:1.0")
    push(skopeo, served, tmp_path / "made", "1.0")
    pulled = f"oci:{tmp_path}/pulled:1.0"
    skopeo("copy", "--src-tls-verify=false", f"docker://{served.ref('team/app:1.0')}", pulled)
    made, back = (payload.read_layout(tmp_path / name) for name in ("made", "pulled"))
    assert back == made


def test_what_is_removed_and_collected_in_a_layout_is_still_served(
    served: Registry, umoci: Client, layout: Path
) -> None:
    umoci("rm", "--image", f"{layout}:1.0")
    umoci("gc", "--layout", layout)
    assert payload.read_layout(layout) == {}
    assert_serves(served, "team/app", "1.0", IMAGE)
