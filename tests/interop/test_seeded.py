"""Content that no client pushed, made in every form there is: real clients take it, and see the same files in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tinyreg import Registry
from tinyreg.image import TITLE, random_bytes
from tinyreg.layer import File, Files, Symlink
from tinyreg.manifest import Descriptor

from . import payload, trees
from .clients import Client
from .trees import Tree

LAYERS: Sequence[Files] = (
    {
        "bin/": b"",
        "bin/tool": File(b"#!/bin/sh\n", mode=0o755),
        "bin/sh": Symlink("tool"),
        "etc/motd": b"hello\n",
        "etc/old": b"old\n",
        "gone/deep/x": b"x",
        "var/cache/a": b"a",
        "var/cache/deep/b": b"b",
    },
    {
        ".wh.gone": b"",  # a folder goes with all in it
        "etc/.wh.old": b"",
        "var/cache/.wh..wh..opq": b"",  # of the layers below nothing stays in here
        "var/cache/new": b"new\n",
    },
    {
        "abs": Symlink("/etc/motd"),
        "etc/motd": b"hello again\n",
        "opt/empty/": b"",
        "opt/secret": File(b"s3cret\n", mode=0o600),
    },
)
FILES: Tree = {
    "abs": Symlink("/etc/motd"),
    "bin/sh": Symlink("tool"),
    "bin/tool": b"#!/bin/sh\n",
    "etc/motd": b"hello again\n",
    "opt/secret": b"s3cret\n",
    "var/cache/new": b"new\n",
}
RANDOM = 200_000
"""Bytes: a layer with more than one of the blocks that our gzip is made of."""


class Form(NamedTuple):
    """What `push_image` is told, and the files that then are in the image."""

    options: Mapping[str, Any]
    files: Tree


FORMS = {
    "oci": Form({"layers": LAYERS}, FILES),
    "oci, plain": Form({"layers": LAYERS, "compression": "none"}, FILES),
    "docker": Form({"layers": LAYERS, "docker": True}, FILES),
    "docker, plain": Form({"layers": LAYERS, "docker": True, "compression": "none"}, FILES),
    "oci, random": Form({"layers": LAYERS, "random": RANDOM}, {**FILES, "random": random_bytes(RANDOM)}),
    "docker, random": Form({"random": RANDOM, "docker": True}, {"random": random_bytes(RANDOM)}),
    "by default": Form({}, {"hello": b"hello\n"}),
}
PLATFORMS = ("linux/amd64", "linux/arm64", "linux/arm/v7")
every_index = pytest.mark.parametrize("docker_form", [False, True], ids=["index", "manifest list"])

# What an engine puts into a container beside the image's files
OF_DOCKER = (".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf")


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Form:
    found: Form = FORMS[request.param]
    return found


@pytest.fixture
def app(served: Registry, form: Form) -> str:
    """`team/app:1.0` in this form. That `files` tells what is in it is checked here, against what is known."""
    served.push_image("team/app:1.0", **form.options)
    assert served.repository("team/app").files("1.0") == form.files
    return served.ref("team/app:1.0")


def assert_everything_was_pulled(served: Registry, reference: str = "1.0") -> None:
    """The client fetched all there is of the image, so that what it has it has from us."""
    manifest = served.repository("team/app").manifest(reference)
    fetched = {each.reference for each in served.requests.where(method="GET", kind="blob", status=200)}
    assert fetched == {blob.digest for blob in manifest.blobs}


def multi(served: Registry, *, docker_form: bool) -> str:
    """`team/app:multi`, of an image for each of the platforms, with their name in it."""
    images = [
        served.push_image("team/app", layers=[*LAYERS, {"platform": name.encode()}], platform=name, docker=docker_form)
        for name in PLATFORMS
    ]
    served.push_index("team/app:multi", images, docker=docker_form)
    for name in PLATFORMS:
        assert served.repository("team/app").files("multi", name) == {**FILES, "platform": name.encode()}
    return served.ref("team/app:multi")


# crane


def test_crane_finds_nothing_wrong(crane: Client, app: str, form: Form) -> None:
    # the whole check reads each layer as gzip, whatever its type says (its pkg/v1/validate/layer.go)
    plain = form.options.get("compression") == "none"
    if plain:
        assert "gzip: invalid header" in crane.refused("validate", "--remote", app)
    assert crane.text("validate", *(["--fast"] if plain else []), "--remote", app) == f"PASS: {app}"


def test_crane_finds_wrong_what_is_wrong(served: Registry, crane: Client) -> None:
    image = served.push_image("team/app:1.0", layers=LAYERS)
    layer = served.repository("team/app").manifest(image.digest).layers[0]
    served.store.delete_blob(served.repository("team/app").name, layer.digest)
    assert "BLOB_UNKNOWN" in crane.refused("validate", "--remote", served.ref("team/app:1.0"))


def test_crane_exports_the_files(crane: Client, app: str, form: Form) -> None:
    assert trees.of_tar(crane("export", app, "-")) == form.files


@every_index
def test_crane_finds_nothing_wrong_with_an_index(served: Registry, crane: Client, docker_form: bool) -> None:
    ref = multi(served, docker_form=docker_form)
    assert crane.text("validate", "--remote", ref) == f"PASS: {ref}"
    for name in PLATFORMS:
        exported = trees.of_tar(crane("export", "--platform", name, ref, "-"))
        assert exported == served.repository("team/app").files("multi", name)


# skopeo and umoci


def unpacked(skopeo: Client, umoci: Client, ref: str, folder: Path, *flags: str) -> Path:
    """The folder to which umoci unpacked what skopeo copied."""
    skopeo(*flags, "copy", "--src-tls-verify=false", f"docker://{ref}", f"oci:{folder}/layout:1.0")
    umoci("unpack", "--image", f"{folder}/layout:1.0", folder / "bundle")
    return folder / "bundle/rootfs"


def test_skopeo_and_umoci_unpack_the_files(
    served: Registry, skopeo: Client, umoci: Client, app: str, form: Form, tmp_path: Path
) -> None:
    rootfs = unpacked(skopeo, umoci, app, tmp_path)
    assert trees.of_folder(rootfs) == served.repository("team/app").files("1.0") == form.files
    assert_everything_was_pulled(served)


def test_what_is_unpacked_has_the_modes_and_folders_of_the_layers(
    served: Registry, skopeo: Client, umoci: Client, tmp_path: Path
) -> None:
    served.push_image("team/app:1.0", layers=LAYERS)
    found = trees.modes(unpacked(skopeo, umoci, served.ref("team/app:1.0"), tmp_path))
    assert found == {
        **dict.fromkeys(("bin", "bin/tool", "etc", "opt", "opt/empty", "var", "var/cache"), 0o755),
        **dict.fromkeys(("etc/motd", "var/cache/new"), 0o644),
        "opt/secret": 0o600,
    }


def test_skopeo_copies_an_oci_image_byte_for_byte(served: Registry, skopeo: Client, tmp_path: Path) -> None:
    served.push_image("team/app:1.0", layers=LAYERS, annotations={"org.example": "x"}, config={"Env": ["A=1"]})
    skopeo("copy", "--src-tls-verify=false", f"docker://{served.ref('team/app:1.0')}", f"oci:{tmp_path}/out:1.0")
    team = served.repository("team/app")
    manifest = team.manifest("1.0")
    blobs = {str(blob.digest): team.blob(blob.digest) for blob in manifest.blobs}
    assert payload.read_layout(tmp_path / "out") == {**blobs, str(manifest.digest): manifest.data}


@every_index
@pytest.mark.parametrize("platform", PLATFORMS)
def test_skopeo_and_umoci_unpack_the_image_for_a_platform(
    served: Registry, skopeo: Client, umoci: Client, tmp_path: Path, docker_form: bool, platform: str
) -> None:
    ref = multi(served, docker_form=docker_form)
    system, architecture, *variant = platform.split("/")
    chosen = ("--override-os", system, "--override-arch", architecture, *(f"--override-variant={v}" for v in variant))
    rootfs = unpacked(skopeo, umoci, ref, tmp_path, *chosen)
    assert trees.of_folder(rootfs) == served.repository("team/app").files("multi", platform)


# podman


def exported(podman: Client, ref: str, *flags: str) -> Tree:
    """The files of a container of the image."""
    container = podman.text("create", "--pull", "never", *flags, ref, "/none")
    return trees.of_tar(podman("export", container))


def test_podman_has_the_files_in_a_container(served: Registry, podman: Client, app: str, form: Form) -> None:
    podman("pull", "--tls-verify=false", app)
    assert exported(podman, app) == served.repository("team/app").files("1.0") == form.files
    assert_everything_was_pulled(served)


@every_index
@pytest.mark.parametrize("platform", PLATFORMS)
def test_podman_pulls_the_image_for_a_platform(
    served: Registry, podman: Client, docker_form: bool, platform: str
) -> None:
    ref = multi(served, docker_form=docker_form)
    podman("pull", "--tls-verify=false", "--platform", platform, ref)
    found = exported(podman, ref, "--platform", platform)
    assert found == served.repository("team/app").files("multi", platform)


# docker


def engine_files(docker: Client, ref: str, *flags: str) -> Tree:
    """The files of a container of the image, without those that are the engine's."""
    container = docker.text("create", "--pull", "never", *flags, ref, "/none")
    return trees.without(trees.of_tar(docker("export", container)), OF_DOCKER)


def test_docker_has_the_files_in_a_container(served: Registry, docker: Client, app: str, form: Form) -> None:
    docker("pull", app)
    assert engine_files(docker, app) == served.repository("team/app").files("1.0") == form.files
    assert_everything_was_pulled(served)


@every_index
@pytest.mark.parametrize("platform", PLATFORMS)
def test_docker_pulls_the_image_for_a_platform(
    served: Registry, docker: Client, docker_form: bool, platform: str
) -> None:
    ref = multi(served, docker_form=docker_form)
    docker("pull", "--platform", platform, ref)
    found = engine_files(docker, ref, "--platform", platform)
    assert found == served.repository("team/app").files("multi", platform)


def test_docker_shows_what_the_image_is_configured_with(served: Registry, docker: Client) -> None:
    config = {"Env": ["A=1"], "Cmd": ["/bin/sh"], "Labels": {"org.example": "x"}, "WorkingDir": "/opt"}
    served.push_image("team/app:1.0", layers=LAYERS, config=config, platform="linux/arm64/v8")
    docker("pull", "--platform", "linux/arm64/v8", served.ref("team/app:1.0"))
    (told,) = docker.json("image", "inspect", served.ref("team/app:1.0"))
    assert {key: told["Config"][key] for key in config} == config
    assert (told["Os"], told["Architecture"], told["Variant"]) == ("linux", "arm64", "v8")
    assert told["Created"] == "1970-01-01T00:00:00Z"


# containerd


def snapshot(ctr: Client, diff_ids: Sequence[str]) -> Tree:
    """The files of the snapshot that containerd made of these layers, from the folder where they lie."""
    chain = diff_ids[0]
    for diff_id in diff_ids[1:]:
        chain = f"sha256:{hashlib.sha256(f'{chain} {diff_id}'.encode()).hexdigest()}"  # image-spec, "Layer ChainID"
    ctr("snapshots", "--snapshotter", "native", "prepare", "looked-at", chain)
    mount = ctr.text("snapshots", "--snapshotter", "native", "mounts", "/mnt", "looked-at").split()
    assert mount[:3] == ["mount", "-t", "bind"], mount
    return trees.of_folder(Path(mount[3]))


def test_containerd_has_the_files_in_a_snapshot(served: Registry, ctr: Client, app: str, form: Form) -> None:
    ctr("images", "pull", "--plain-http", "--snapshotter", "native", app)
    config = ctr.json("content", "get", config_digest(served))
    assert snapshot(ctr, config["rootfs"]["diff_ids"]) == served.repository("team/app").files("1.0") == form.files


def config_digest(served: Registry) -> str:
    config = served.repository("team/app").manifest("1.0").config
    assert config is not None
    return config.digest


# Artifacts

SBOM = {"sbom.json": b'{"spdxVersion": "SPDX-2.3"}', "docs/notes.txt": b"notes\n" * 1000, "empty": b""}
KIND = "application/spdx+json"
SUBJECTS = {name: FORMS[name].options for name in ("oci", "docker")}


@pytest.fixture(params=SUBJECTS)
def subject(served: Registry, request: pytest.FixtureRequest) -> Descriptor:
    """`team/app:1.0`, an image with an sbom and a signature, and a second one with neither."""
    image = served.push_image("team/app:1.0", **SUBJECTS[request.param])
    served.push_image("team/app:other", random=10)
    served.push_artifact("team/app", "application/x-signature", {"sig": b"signed"}, subject=image)
    return image


def test_oras_discovers_the_sbom_and_pulls_its_files(
    served: Registry, oras: Client, subject: Descriptor, tmp_path: Path
) -> None:
    sbom = served.push_artifact("team/app", KIND, SBOM, subject=subject, annotations={"org.example": "x"})
    ref = served.ref("team/app:1.0")
    found = oras.json("discover", "--plain-http", "--format", "json", "--artifact-type", KIND, ref)["referrers"]
    assert [(each["digest"], each["artifactType"]) for each in found] == [(sbom.digest, KIND)]
    assert found[0]["annotations"] == {"org.example": "x"}
    oras("pull", "--plain-http", "--output", tmp_path / "out", served.ref(f"team/app@{sbom.digest}"))
    team = served.repository("team/app")
    stored = {layer.annotations[TITLE]: team.blob(layer.digest) for layer in team.manifest(sbom.digest).layers}
    assert trees.of_folder(tmp_path / "out") == stored == SBOM


def test_oras_discovers_all_that_is_about_an_image_and_nothing_about_another(
    served: Registry, oras: Client, subject: Descriptor
) -> None:
    served.push_artifact("team/app", KIND, SBOM, subject=subject)
    about = {
        tag: oras.json("discover", "--plain-http", "--format", "json", served.ref(f"team/app:{tag}"))["referrers"]
        for tag in ("1.0", "other")
    }
    told = {each["digest"] for each in about["1.0"]}
    assert told == {each.digest for each in served.repository("team/app").referrers(subject.digest)}
    assert len(told) == 2
    assert about["other"] in (None, [])


def test_regctl_gets_the_sbom_by_its_subject(served: Registry, regctl: Client, subject: Descriptor) -> None:
    served.push_artifact("team/app", KIND, {"sbom.json": SBOM["sbom.json"]}, subject=subject)
    regctl("registry", "set", "--tls", "disabled", served.host)
    ref = served.ref("team/app:1.0")
    assert regctl("artifact", "get", "--subject", ref, "--filter-artifact-type", KIND) == SBOM["sbom.json"]


def test_containerd_fetches_every_byte_of_an_artifact(served: Registry, ctr: Client, subject: Descriptor) -> None:
    files = {name: data for name, data in SBOM.items() if data}  # containerd refuses a blob without a byte
    sbom = served.push_artifact("team/app:sbom", KIND, files, subject=subject)
    ctr("content", "fetch", "--plain-http", served.ref("team/app:sbom"))
    team = served.repository("team/app")
    manifest = team.manifest(sbom.digest)
    pulled = {digest: ctr("content", "get", digest) for digest in ctr.lines("content", "ls", "--quiet")}
    blobs = {str(blob.digest): team.blob(blob.digest) for blob in manifest.blobs}
    assert pulled == {**blobs, str(sbom.digest): manifest.data}


def test_oras_copies_an_image_with_what_is_about_it(
    served: Registry, oras: Client, subject: Descriptor, tmp_path: Path
) -> None:
    served.push_artifact("team/app", KIND, SBOM, subject=subject)
    with Registry() as other:
        to = ("--from-plain-http", "--to-plain-http", served.ref("team/app:1.0"), other.ref("copy:1.0"))
        oras("cp", "--recursive", *to)
        assert other.repository("copy").files("1.0") == FILES
        copied = {each.digest for each in other.repository("copy").referrers(subject.digest)}
        assert copied == {each.digest for each in served.repository("team/app").referrers(subject.digest)}
        assert len(copied) == 2
