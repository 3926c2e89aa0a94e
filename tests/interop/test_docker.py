"""A Docker engine against tinyreg. docker lists no repository and deletes nothing in a registry: HTTP does it here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tinyreg import Registry

from . import payload
from .ask import ask, delete, manifest, unpack
from .clients import Client

FILES = {"etc/motd": b"hello\n", "opt/noise": payload.noise("docker")}


@pytest.fixture
def app(served: Registry, docker: Client) -> str:
    """`team/app:1.0`, imported from a tar and pushed."""
    ref = served.ref("team/app:1.0")
    imported(docker, ref)
    docker("push", ref)
    return ref


def imported(docker: Client, ref: str) -> str:
    """Import the files as an image of that name; returns its id."""
    return docker("import", "-", ref, stdin=payload.tar(FILES)).decode().strip()


def image_id(docker: Client, ref: str) -> str:
    return docker.text("image", "inspect", "--format", "{{.Id}}", ref)


def files_of(docker: Client, ref: str) -> dict[str, bytes]:
    """The files that were imported, as a container of this image has them."""
    container = docker.text("create", ref, "/none")
    exported = payload.untar(docker("export", container))
    docker("rm", container)
    return {path: exported[path] for path in FILES}


def forget(docker: Client, *refs: str) -> None:
    """Remove the images here; that none is left, so that the next pull has to fetch all of it, is checked."""
    docker("rmi", *refs)
    assert docker.lines("image", "ls", "--all", "--quiet") == []


def test_a_pushed_image_is_the_imported_one(served: Registry, docker: Client, app: str) -> None:
    image = unpack(served, "team/app", "1.0")
    assert image.config == image_id(docker, app)
    assert image.files == FILES
    assert manifest(served, "team/app", "1.0").headers["Content-Type"] == payload.DOCKER_MANIFEST


def test_a_pushed_image_is_pulled_back_the_same(docker: Client, app: str) -> None:
    pushed = image_id(docker, app)
    forget(docker, app)
    assert b"Downloaded newer image" in docker("pull", app)
    assert image_id(docker, app) == pushed
    assert files_of(docker, app) == FILES


def test_an_image_is_pulled_by_its_digest(served: Registry, docker: Client, app: str) -> None:
    digest, pushed = payload.digest(manifest(served, "team/app", "1.0").body), image_id(docker, app)
    forget(docker, app)
    ref = served.ref(f"team/app@{digest}")
    docker("pull", ref)
    assert image_id(docker, ref) == pushed


def test_a_pull_of_all_tags_follows_the_list_of_tags(served: Registry, docker: Client, app: str) -> None:
    latest = served.ref("team/app:latest")
    docker("tag", app, latest)
    docker("push", latest)
    assert served.repository("team/app").tags() == ["1.0", "latest"]
    assert served.repositories() == ["team/app"]
    forget(docker, app, latest)
    docker("pull", "--all-tags", served.ref("team/app"))
    assert image_id(docker, app) == image_id(docker, latest)


def test_a_layer_is_mounted_from_the_repository_that_has_it(served: Registry, docker: Client, app: str) -> None:
    copy = served.ref("copies/app:1.0")
    docker("tag", app, copy)
    assert b"Mounted from team/app" in docker("push", copy)
    assert unpack(served, "copies/app", "1.0") == unpack(served, "team/app", "1.0")


def test_a_second_push_of_the_same_image_sends_no_layer(docker: Client, app: str) -> None:
    assert b"Layer already exists" in docker("push", app)


def test_an_image_loaded_from_an_archive_is_pushed_as_it_is(served: Registry, docker: Client, app: str) -> None:
    archive, pushed = docker("save", app), unpack(served, "team/app", "1.0")
    forget(docker, app)
    docker("load", stdin=archive)
    docker("tag", app, served.ref("loaded:1"))
    docker("push", served.ref("loaded:1"))
    assert unpack(served, "loaded", "1").config == pushed.config
    assert unpack(served, "loaded", "1").files == FILES


def test_a_manifest_list_is_created_pushed_and_pulled_through(served: Registry, docker: Client, app: str) -> None:
    arm, multi = served.ref("team/app:arm"), served.ref("team/app:multi")
    docker("import", "-", arm, stdin=payload.tar({"etc/motd": b"hello, arm\n"}))
    docker("push", arm)
    docker("manifest", "create", "--insecure", multi, app, arm)
    docker("manifest", "annotate", "--arch", "arm64", multi, arm)
    docker("manifest", "push", "--insecure", multi)
    pushed = image_id(docker, app)
    forget(docker, app, arm)
    docker("pull", "--platform", "linux/amd64", multi)
    assert image_id(docker, multi) == pushed
    assert listed(served) == {
        "amd64": payload.digest(manifest(served, "team/app", "1.0").body),
        "arm64": payload.digest(manifest(served, "team/app", "arm").body),
    }


def listed(served: Registry) -> dict[str, str]:
    """The digests in the manifest list `team/app:multi`, by architecture."""
    answer = manifest(served, "team/app", "multi")
    assert answer.headers["Content-Type"] == payload.DOCKER_LIST
    entries = json.loads(answer.body)["manifests"]
    return {entry["platform"]["architecture"]: entry["digest"] for entry in entries}


def test_manifest_inspect_reads_what_is_served(docker: Client, app: str) -> None:
    told = docker.json("manifest", "inspect", "--insecure", app)
    assert told["config"]["digest"] == image_id(docker, app)


def test_a_base_image_is_pulled_by_a_build_and_the_result_pushed(
    served: Registry, docker: Client, app: str, tmp_path: Path
) -> None:
    forget(docker, app)
    (tmp_path / "context").mkdir()
    (tmp_path / "context/more").write_bytes(b"more\n")
    (tmp_path / "context/Dockerfile").write_text(f"FROM {app}\nCOPY more /etc/more\n")
    classic = docker.sandbox.client("docker", **docker.env, DOCKER_BUILDKIT="0")
    classic("build", "--tag", served.ref("built:1"), tmp_path / "context")
    docker("push", served.ref("built:1"))
    assert unpack(served, "built", "1").files == {**FILES, "etc/more": b"more\n"}


def test_a_pull_of_what_was_deleted_fails(served: Registry, docker: Client, app: str) -> None:
    digest = payload.digest(manifest(served, "team/app", "1.0").body)
    delete(served, "team/app", digest)
    assert ask(served, "GET", "/v2/team/app/tags/list").body == b'{"name":"team/app","tags":[]}'
    forget(docker, app)
    assert "manifest unknown" in docker.refused("pull", app)
