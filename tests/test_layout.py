"""`load` and `save`: layouts and archives come in whole or not at all, and go out as they came."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinyreg import MemoryStore, Registry
from tinyreg.content import FileSlice
from tinyreg.image import DOCKER_LAYER
from tinyreg.layout import FULL_NAME, REF_NAME, LayoutError
from tinyreg.manifest import OCI_MANIFEST
from tinyreg.reference import Digest, Name


@pytest.fixture
def full(registry: Registry) -> Registry:
    """A registry with an index, its two images, an artifact about one of them, and another repository."""
    amd, arm = (
        registry.push_image("team/app:1.0"),
        registry.push_image("team/app", platform="linux/arm64", random=70000),
    )
    registry.push_index("team/app:multi", [amd, arm])
    registry.push_image("other:1", docker=True, compression="none")
    return registry


def content(registry: Registry) -> dict[str, dict[Digest, bytes]]:
    """Every tag's manifest and the blobs below it."""
    found = {}
    for name in registry.repositories():
        view = registry.repository(name)
        for tag in view.tags():
            manifest = view.manifest(tag)
            images = [view.manifest(child.digest) for child in manifest.manifests] or [manifest]
            blobs = {blob.digest: view.blob(blob.digest) for image in images for blob in image.blobs}
            found[f"{name}:{tag}"] = {manifest.digest: manifest.data, **blobs}
    return found


@pytest.mark.parametrize("form", ["out", "out.tar", "out.tar.gz"])
@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "directory"])
def test_what_is_saved_is_loaded_again_under_the_same_names(
    full: Registry, make_registry: Callable[..., Registry], tmp_path: Path, form: str, on_disk: bool
) -> None:
    full.save(tmp_path / form.removesuffix(".gz"))
    if form.endswith(".gz"):
        (tmp_path / form).write_bytes(gzip.compress((tmp_path / "out.tar").read_bytes()))
    other = make_registry(tmp_path / "store" if on_disk else None)
    assert other.load(tmp_path / form) == ["other:1", "team/app:1.0", "team/app:multi"]
    assert content(other) == content(full)


def test_a_layout_on_disk_is_what_the_image_spec_says(full: Registry, tmp_path: Path) -> None:
    full.save(tmp_path / "out", "other:1")
    manifest = full.repository("other").manifest("1")
    assert (tmp_path / "out" / "oci-layout").read_bytes() == b'{"imageLayoutVersion":"1.0.0"}'
    assert json.loads((tmp_path / "out" / "index.json").read_bytes())["manifests"] == [
        {
            "mediaType": manifest.media_type,
            "digest": manifest.digest,
            "size": manifest.size,
            "annotations": {REF_NAME: "1", FULL_NAME: "other:1"},
        }
    ]
    names = {path.name for path in (tmp_path / "out" / "blobs" / "sha256").iterdir()}
    assert names == {manifest.digest.encoded, *(blob.digest.encoded for blob in manifest.blobs)}


def test_an_archive_is_the_same_each_time(full: Registry, tmp_path: Path) -> None:
    full.save(tmp_path / "a.tar")
    full.save(tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_an_archive_lists_what_docker_can_load_and_a_folder_does_not(full: Registry, tmp_path: Path) -> None:
    image = full.repository("other").manifest("1")
    assert image.config
    full.push_artifact("other:sbom", "application/spdx+json", {"a": b"{}"})
    full.push_index("other:index", [image.descriptor])
    full.save(tmp_path / "out.tar", "other:1", "other:sbom", "other:index")
    with tarfile.open(tmp_path / "out.tar") as archive:
        listed = archive.extractfile("manifest.json")
        assert listed
        assert json.load(listed) == [
            {
                "Config": f"blobs/sha256/{image.config.digest.encoded}",
                "RepoTags": ["other:1"],
                "Layers": [f"blobs/sha256/{layer.digest.encoded}" for layer in image.layers],
            }
        ]
    full.save(tmp_path / "out", "other:1")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_what_has_no_tag_is_saved_and_loaded_by_digest(
    full: Registry, make_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    untagged = full.push_image("team/app", random=3)
    reference = f"team/app@{untagged.digest}"
    full.save(tmp_path / "out", reference)
    assert make_registry().load(tmp_path / "out") == [reference]


def test_a_tag_alone_belongs_to_the_repository_named_or_to_one_named_like_the_file(
    full: Registry, make_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    full.save(tmp_path / "app", "other:1")
    index = json.loads((tmp_path / "app" / "index.json").read_bytes())
    del index["manifests"][0]["annotations"][FULL_NAME]
    (tmp_path / "app" / "index.json").write_text(json.dumps(index))
    assert make_registry().load(tmp_path / "app") == ["app:1"]
    assert make_registry().load(tmp_path / "app", "team/mine") == ["team/mine:1"]


@pytest.mark.parametrize(
    ("written", "loaded"),
    [
        ("docker.io/library/app:1", "app:1"),
        ("docker.io/team/app:1", "team/app:1"),
        ("registry.example:5000/a/b/app:1", "a/b/app:1"),
        ("localhost/app:1", "app:1"),
        ("team/app:1", "team/app:1"),
        ("app:1", "app:1"),
    ],
)
def test_a_whole_reference_loses_its_host(
    full: Registry, make_registry: Callable[..., Registry], tmp_path: Path, written: str, loaded: str
) -> None:
    full.save(tmp_path / "x", "other:1")
    text = (tmp_path / "x" / "index.json").read_text().replace('"other:1"', f'"{written}"')
    (tmp_path / "x" / "index.json").write_text(text)
    assert make_registry().load(tmp_path / "x") == [loaded]


def test_a_store_in_memory_serves_a_folders_blobs_from_where_they_lie(full: Registry, tmp_path: Path) -> None:
    full.save(tmp_path / "out", "other:1")
    store = MemoryStore()
    Registry(store).load(tmp_path / "out")
    layer = full.repository("other").manifest("1").layers[0].digest
    found = store.blob(Name("other"), layer)
    assert isinstance(found, FileSlice)
    assert os.path.samestat(
        os.fstat(found.file.fileno()), os.stat(tmp_path / "out" / "blobs" / "sha256" / layer.encoded)
    )


def archive(path: Path, members: dict[str, bytes | tarfile.TarInfo]) -> Path:
    with tarfile.open(path, "w") as out:
        for name, member in members.items():
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(name)
            data = b"" if isinstance(member, tarfile.TarInfo) else member
            info.name, info.size = name, len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def special(kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def docker_archive(path: Path, tags: Any = ("foo/bar:7",), **changes: Any) -> Path:
    """A `docker save` archive as docker made them before version 25, with a layer that is a link to another."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tarfile.TarInfo("etc/motd")
        info.size = 6
        tar.addfile(info, io.BytesIO(b"hello\n"))
    diff = f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": [diff, diff]}}).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    image = {"Config": name, "RepoTags": tags, "Layers": ["a/layer.tar", "b/layer.tar"]}
    members: dict[str, Any] = {
        name: config,
        "a": special(tarfile.DIRTYPE),
        "a/layer.tar": layer.getvalue(),
        "b/layer.tar": special(tarfile.SYMTYPE, "../a/layer.tar"),
        "manifest.json": json.dumps([image]).encode(),
    }
    members.update(changes.pop("members", {}))
    if "manifest" in changes:
        members["manifest.json"] = json.dumps(changes["manifest"](image)).encode()
    return archive(path, {key: value for key, value in members.items() if value is not None})


def test_a_docker_save_archive_of_the_old_form_is_loaded(registry: Registry, tmp_path: Path) -> None:
    assert registry.load(docker_archive(tmp_path / "x.tar")) == ["foo/bar:7"]
    assert registry.repository("foo/bar").files("7") == {"etc/motd": b"hello\n"}


def test_an_untagged_docker_save_archive_gets_the_files_name(registry: Registry, tmp_path: Path) -> None:
    (reference,) = registry.load(docker_archive(tmp_path / "x.tar", tags=None))
    assert reference.startswith("x@sha256:")


def zipped(image: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**image, "Layers": ["a.tar.gz", "a.tar.gz"]}]


def plain_layer(path: Path) -> bytes:
    """The layer of the archive that `docker_archive` makes."""
    with tarfile.open(docker_archive(path)) as tar:
        file = tar.extractfile("a/layer.tar")
        assert file is not None
        return file.read()


def test_an_archive_with_compressed_layers_as_crane_makes_them_is_loaded(registry: Registry, tmp_path: Path) -> None:
    packed = gzip.compress(plain_layer(tmp_path / "plain.tar"), mtime=0)
    assert registry.load(docker_archive(tmp_path / "x.tar", manifest=zipped, members={"a.tar.gz": packed})) == [
        "foo/bar:7"
    ]
    view = registry.repository("foo/bar")
    assert view.files("7") == {"etc/motd": b"hello\n"}
    (layer, _) = view.manifest("7").layers
    assert (layer.media_type, layer.digest) == (DOCKER_LAYER + ".gzip", Digest.of(packed))


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (gzip.compress(b"another"), "a.tar.gz is sha256:.*: sha256:.* was expected"),
        (gzip.compress(bytes(9999))[:-20], "a.tar.gz is damaged: "),
        (gzip.compress(b"x")[:12] + b"\xff" * 20, "a.tar.gz is damaged: "),
    ],
    ids=["another", "short", "no deflate"],
)
def test_a_compressed_layer_that_is_not_the_configs_is_refused(
    registry: Registry, tmp_path: Path, packed: bytes, message: str
) -> None:
    with pytest.raises(LayoutError, match=message):
        registry.load(docker_archive(tmp_path / "x.tar", manifest=zipped, members={"a.tar.gz": packed}))
    assert registry.repositories() == []


BAD_ARCHIVES: dict[str, tuple[dict[str, Any], str]] = {
    "missing layer": ({"members": {"a/layer.tar": None, "b/layer.tar": None}}, "'a/layer.tar', which is missing"),
    "altered layer": ({"members": {"a/layer.tar": b"x" * 512}}, "a/layer.tar is sha256:.*: sha256:.* was expected"),
    "no config": ({"manifest": lambda image: [{**image, "Config": 7}]}, "names 7, which is missing"),
    "no layers": ({"manifest": lambda image: [{**image, "Layers": None}]}, "manifest.json has no list of Layers"),
    "no image": ({"manifest": lambda image: [7]}, "an image is not an object"),
    "no list": ({"manifest": lambda image: {}}, "manifest.json has no list of images"),
    "absolute": ({"members": {"/etc/passwd": b"x"}}, "/etc/passwd leads out of the archive"),
    "parent": ({"members": {"a/../../x": b"x"}}, "a/../../x leads out of the archive"),
    "link out": ({"members": {"l": special(tarfile.SYMTYPE, "../../etc/passwd")}}, "leads out of the archive"),
    "absolute link": ({"members": {"l": special(tarfile.LNKTYPE, "/etc/passwd")}}, "/etc/passwd leads out"),
    "device": ({"members": {"d": special(tarfile.CHRTYPE)}}, "d is neither a file nor a folder nor a link"),
    "not JSON": ({"members": {"manifest.json": b"{"}}, "manifest.json is not JSON"),
    "no manifest": ({"members": {"manifest.json": None}}, "is no layout and no archive"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_ARCHIVES.values(), ids=list(BAD_ARCHIVES))
def test_a_bad_archive_is_refused_by_what_is_wrong_and_nothing_is_loaded(
    registry: Registry, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(LayoutError, match=message):
        registry.load(docker_archive(tmp_path / "x.tar", **changes))
    assert registry.repositories() == []


def test_an_altered_config_is_named(registry: Registry, tmp_path: Path) -> None:
    path = docker_archive(
        tmp_path / "x.tar",
        manifest=lambda image: [{**image, "Config": "0" * 64 + ".json"}],
        members={"0" * 64 + ".json": b"{}"},
    )
    with pytest.raises(LayoutError, match=r"0\.json is sha256:44136fa355.*: sha256:0000.* was expected"):
        registry.load(path)


def change_index(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "index.json"
    index = json.loads(path.read_bytes())
    change(index["manifests"][0])
    path.write_text(json.dumps(index))


def layer_file(folder: Path) -> Path:
    """The file of the one layer of the image in a layout."""
    files = {path.name: path for path in (folder / "blobs" / "sha256").iterdir()}
    index = json.loads((folder / "index.json").read_bytes())
    manifest = json.loads(files[index["manifests"][0]["digest"][7:]].read_bytes())
    return files[manifest["layers"][0]["digest"][7:]]


def escape(folder: Path) -> None:
    file = layer_file(folder)
    outside = folder.parent / "outside"
    outside.write_bytes(file.read_bytes())
    file.unlink()
    file.symlink_to(outside)


BAD_LAYOUTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing blob": (lambda f: layer_file(f).unlink(), r"blobs/sha256/\w+ is missing: \d+ bytes were expected"),
    "short blob": (lambda f: layer_file(f).write_bytes(b"x"), r"blobs/sha256/\w+ has 1 bytes: \d+ were expected"),
    "altered blob": (
        lambda f: layer_file(f).write_bytes(bytes(layer_file(f).stat().st_size)),
        r"is sha256:.* was expected",
    ),
    "link out": (escape, r"blobs/sha256/\w+ leads out of "),
    "no size": (lambda f: change_index(f, lambda entry: entry.pop("size")), "index.json: a descriptor's size"),
    "bad digest": (lambda f: change_index(f, lambda entry: entry.update(digest="sha256:x")), "index.json: in a descr"),
    "no index": (lambda f: (f / "index.json").write_text("[]"), "index.json has no list of manifests"),
    "deep index": (lambda f: (f / "index.json").write_text("[" * 99999), "index.json is not JSON"),
    "wrong type": (
        lambda f: change_index(f, lambda entry: entry.update(mediaType="application/vnd.oci.image.index.v1+json")),
        r"blobs/sha256/\w+: its mediaType is",
    ),
}


@pytest.mark.parametrize(("damage", "message"), BAD_LAYOUTS.values(), ids=list(BAD_LAYOUTS))
def test_a_bad_layout_is_refused_by_what_is_wrong_and_nothing_is_loaded(
    full: Registry,
    make_registry: Callable[..., Registry],
    tmp_path: Path,
    damage: Callable[[Path], object],
    message: str,
) -> None:
    full.save(tmp_path / "out", "team/app:1.0")
    damage(tmp_path / "out")
    registry = make_registry()
    with pytest.raises(LayoutError, match=message):
        registry.load(tmp_path / "out")
    assert registry.repositories() == []


def test_an_index_may_be_sparse_and_foreign_layers_absent(
    make_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    source = make_registry(quirks=["unchecked-manifests"])
    here = source.push_image("app", layers=[])
    gone = type(here)(OCI_MANIFEST, Digest.of(b"elsewhere"), 9)
    source.push_index("app:multi", [here, gone])
    source.save(tmp_path / "out", "app:multi")
    registry = make_registry()
    assert registry.load(tmp_path / "out") == ["app:multi"]
    assert [child.digest for child in registry.repository("app").manifest("multi").manifests] == [
        here.digest,
        gone.digest,
    ]


def test_content_of_an_unknown_type_is_kept_as_a_blob(
    full: Registry, make_registry: Callable[..., Registry], tmp_path: Path
) -> None:
    full.save(tmp_path / "out", "team/app:1.0")
    change_index(tmp_path / "out", lambda entry: entry.update(mediaType="application/x"))
    registry = make_registry()
    assert registry.load(tmp_path / "out") == []
    digest = full.repository("team/app").manifest("1.0").digest
    assert registry.repository("team/app").blob(digest) == full.repository("team/app").manifest("1.0").data


@pytest.mark.parametrize("data", [b"no tar at all" * 100, gzip.compress(b"x" * 9999)[:-20]], ids=["plain", "gzip"])
def test_a_file_that_is_no_archive_is_refused(registry: Registry, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(LayoutError, match=r"not a tar archive|is damaged"):
        registry.load(tmp_path / "x.tar")


def test_a_link_to_nothing_in_an_archive_is_as_good_as_no_file(registry: Registry, tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "x.tar", members={"b/layer.tar": special(tarfile.SYMTYPE, "../c/layer.tar")})
    with pytest.raises(LayoutError, match=r"'b/layer.tar', which is missing"):
        registry.load(path)


@pytest.mark.parametrize("name", ["out.tar.gz", "out.tgz"])
def test_an_archive_that_would_be_compressed_is_refused(full: Registry, tmp_path: Path, name: str) -> None:
    with pytest.raises(LayoutError, match=r"a folder, or an archive by a name that ends in \.tar"):
        full.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_things_in_it_is_not_written_to(full: Registry, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(LayoutError, match="has other things in it"):
        full.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]
