"""crane (go-containerregistry) against tinyreg."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinyreg import Registry

from . import payload
from .ask import ask, assert_serves, unpack
from .clients import Client

FILES = {"etc/motd": b"hello\n", "opt/noise": payload.noise("crane")}


@pytest.fixture
def app(served: Registry, crane: Client, tmp_path: Path) -> str:
    """`team/app:1.0`, appended to nothing from a tar: crane's own way to make an image."""
    (tmp_path / "layer.tar").write_bytes(payload.tar(FILES))
    ref = served.ref("team/app:1.0")
    crane("append", "--oci-empty-base", "--new_layer", tmp_path / "layer.tar", "--new_tag", ref)
    return ref


def test_what_append_made_is_served_with_the_files_of_the_tar(served: Registry, crane: Client, app: str) -> None:
    image = unpack(served, "team/app", "1.0")
    assert image.files == FILES
    assert crane("manifest", app) == image.manifest
    assert crane.text("digest", app) == payload.digest(image.manifest)
    assert payload.digest(crane("config", app)) == image.config


def test_a_pushed_layout_is_pulled_back_byte_for_byte(served: Registry, crane: Client, tmp_path: Path) -> None:
    image = payload.image(FILES, {"etc/more": b"more\n"})
    ref = served.ref("team/app:1.0")
    crane("push", payload.write_layout(tmp_path / "in", {"1.0": image}), ref)
    assert_serves(served, "team/app", "1.0", image)
    crane("pull", "--format", "oci", ref, tmp_path / "out")
    assert payload.read_layout(tmp_path / "out") == image.files()


def test_a_pushed_index_keeps_its_bytes_and_its_children(served: Registry, crane: Client, tmp_path: Path) -> None:
    multi = payload.index(amd64=payload.image(FILES), arm64=payload.image(FILES, architecture="arm64"))
    layout = payload.write_layout(tmp_path / "in", {"multi": multi})
    (layout / "index.json").write_bytes(multi.manifest)  # crane pushes a layout's index.json, that itself
    ref = served.ref("team/app:multi")
    crane("push", "--index", layout, ref)
    assert_serves(served, "team/app", "multi", multi)
    assert crane.text("digest", "--platform", "linux/arm64", ref) == multi.children[1].digest


def test_validate_finds_nothing_wrong_with_a_pushed_image(crane: Client, app: str) -> None:
    assert crane.run("validate", "--remote", app).stdout.startswith(b"PASS")


def test_a_layer_read_alone_has_the_bytes_of_its_digest(served: Registry, crane: Client, app: str) -> None:
    layer = crane.json("manifest", app)["layers"][0]["digest"]
    data = crane("blob", served.ref(f"team/app@{layer}"))
    assert payload.digest(data) == layer
    assert payload.untar(data) == FILES


def test_export_gives_the_files_back(crane: Client, app: str) -> None:
    assert payload.untar(crane("export", app, "-")) == FILES


def test_ls_and_catalog_list_what_was_pushed(served: Registry, crane: Client, app: str) -> None:
    crane("tag", app, "latest")
    crane("copy", app, served.ref("other:2"))
    assert crane.lines("ls", served.ref("team/app")) == ["1.0", "latest"]
    assert crane.lines("catalog", served.host) == ["other", "team/app"]


def test_a_copy_to_another_repository_is_the_same_image(served: Registry, crane: Client, app: str) -> None:
    done = crane.run("copy", app, served.ref("copies/app:1.0"))
    assert done.status == 0, str(done)
    assert b"mounted blob" in done.stderr
    assert unpack(served, "copies/app", "1.0") == unpack(served, "team/app", "1.0")


def test_mutate_pushes_an_image_with_the_label(served: Registry, crane: Client, app: str) -> None:
    ref = served.ref("team/app:labelled")
    crane("mutate", "--label", "org.example=x", "--tag", ref, app)
    assert crane.json("config", ref)["config"]["Labels"] == {"org.example": "x"}
    assert unpack(served, "team/app", "labelled").files == FILES


def test_deleting_a_tag_leaves_the_other_tags_and_the_manifest(served: Registry, crane: Client, app: str) -> None:
    digest = crane.text("digest", app)
    crane("tag", app, "latest")
    crane("delete", app)
    assert crane.lines("ls", served.ref("team/app")) == ["latest"]
    assert "MANIFEST_UNKNOWN" in crane.refused("manifest", app)
    assert crane.text("digest", served.ref(f"team/app@{digest}")) == digest


def test_deleting_a_digest_takes_all_its_tags_with_it(served: Registry, crane: Client, app: str) -> None:
    digest = crane.text("digest", app)
    crane("tag", app, "latest")
    crane("delete", served.ref(f"team/app@{digest}"))
    assert crane.lines("ls", served.ref("team/app")) == []
    assert ask(served, "GET", f"/v2/team/app/manifests/{digest}").status == 404
