"""Content made for tests: stable digests, and what the image-spec says of its form."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
from itertools import permutations
from typing import Any

import pytest

from tinyreg import Registry, image, layer
from tinyreg.errors import ManifestBlobUnknown
from tinyreg.image import Made
from tinyreg.layer import File, Symlink
from tinyreg.manifest import (
    DOCKER_CONFIG,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
)
from tinyreg.reference import Digest

MOTD = {"etc/motd": b"hello\n"}
RICH: dict[str, Any] = {
    "layers": [{"etc/motd": b"hello\n", "bin/sh": File(b"#!", 0o755), "lib": Symlink("usr/lib")}, {".wh.lib": b""}],
    "platform": "linux/arm/v7",
    "config": {"Env": ["A=1"], "Cmd": ["/bin/sh"], "Labels": {"b": "2", "a": "1"}},
    "annotations": {"org.example.b": "y", "org.example.a": "ü"},
}
SUBJECT = Descriptor(OCI_MANIFEST, Digest("sha256:" + "0" * 64), 2, platform={"os": "linux"})

PINNED: dict[str, tuple[Made, str]] = {}


def pin(name: str, made: Made, digest: str) -> None:
    PINNED[name] = made, digest


pin("image", image.image(), "sha256:00334895be0aaa1815beaf199c229760d9b4eaa2b3a1252f5f62046d31601cad")
pin("empty image", image.image([]), "sha256:a64bba914792ce6db2b3e44d811f91bc729e70e564385031ab932ed927db1a0b")
pin("motd", image.image([MOTD]), "sha256:2b2a1c7bd44f897d642e1c527488e751024b5ffba77d80adb571b4c479773206")
pin("rich", image.image(**RICH), "sha256:f3bc7becea3332eb35bf85b23ca49a48a75e4361aa163c8f831216cf22ee98ff")
pin(
    "plain",
    image.image([MOTD], compression="none"),
    "sha256:7bb1e239b6479f1e839cbe56b31e4d3021b99b7a10e1fdee789523d31e36cec2",
)
pin(
    "docker",
    image.image([MOTD], docker=True),
    "sha256:1e1709edb06f381a5b4fee85167195fe04caa78a25ceffda94853fd75ae0f8f6",
)
pin(
    "docker plain",
    image.image([MOTD], docker=True, compression="none"),
    "sha256:b0c4f343fbc2ece5cc717437883f4b0ce7543515ee8074a2d5015dcb05a4b729",
)
pin("random", image.image(random=100_000), "sha256:8b677b47f8abf5dbe2c1a2125084042a5de7bbba5523e1261cc304062c12175e")
pin(
    "about",
    image.image([MOTD], subject=SUBJECT),
    "sha256:4e8c9b3b1fce96bbcdf81b96f9a27d183278f0dc486297bf4b5bcee463f86e83",
)
pin(
    "index",
    image.index([image.image([MOTD]).descriptor, SUBJECT]),
    "sha256:732b48daa44b8d0285daeb87d13b17f1270e11f49c1f12182d96f874ad6b5b09",
)
pin(
    "list",
    image.index([], docker=True, annotations={"a": "b"}),
    "sha256:953b0d1cb95d1a959f165e8bbaaffaf9edcb3ad1d067643327c43860069a2cbb",
)
pin(
    "artifact",
    image.artifact("application/spdx+json", {"sbom.json": b"{}"}, subject=SUBJECT),
    "sha256:906c2dedfb0024f2da67e927137c684681f1a61e163b6f0b9407ab288ac453cc",
)


@pytest.mark.parametrize("name", PINNED)
def test_digests_are_the_same_on_every_machine_and_day(name: str) -> None:
    made, digest = PINNED[name]
    assert made.descriptor.digest == digest
    assert made.descriptor.size == len(made.data)
    assert hashlib.sha256(made.data).hexdigest() == digest.partition(":")[2]


def test_another_process_with_another_hash_seed_makes_the_same() -> None:
    script = "from tinyreg import image; print(image.image([{'b': b'', 'a': b''}], random=9).descriptor.digest)"
    run = subprocess.run([sys.executable, "-c", script], env={"PYTHONHASHSEED": "7"}, capture_output=True, check=True)
    here = image.image([{"a": b"", "b": b""}], random=9).descriptor.digest
    assert run.stdout.decode().strip() == here


@pytest.mark.parametrize("name", ["layers", "config", "annotations"])
def test_the_order_of_a_dict_argument_makes_no_difference(name: str) -> None:
    value = RICH[name][0] if name == "layers" else RICH[name]
    orders = [dict(each) for each in permutations(value.items())]
    made = {image.image(**{**RICH, name: [each, RICH[name][1]] if name == "layers" else each}).data for each in orders}
    assert len(orders) > 1
    assert made == {PINNED["rich"][0].data}


def test_without_layers_there_is_one_with_a_file() -> None:
    (blob,) = image.image().blobs[1:]
    assert layer.apply([blob]) == {"hello": b"hello\n"}


def test_no_layers_and_an_empty_layer_are_two_things() -> None:
    assert len(image.image([]).blobs) == 1
    assert layer.apply(image.image([{}]).blobs[1:]) == {}
    assert len(image.image([{}]).blobs) == 2


def parts(made: Made) -> tuple[Any, Any]:
    """The manifest and the config, decoded, after a look at what refers to what."""
    table, (settings, *blobs) = json.loads(made.data), made.blobs
    assert made.data == json.dumps(table, sort_keys=True, separators=(",", ":")).encode()
    for descriptor, blob in zip([table["config"], *table["layers"]], [settings, *blobs], strict=True):
        assert (descriptor["digest"], descriptor["size"]) == (Digest.of(blob), len(blob))
    return table, json.loads(settings)


@pytest.mark.parametrize(
    ("options", "types"),
    [
        ({}, (OCI_MANIFEST, OCI_CONFIG, "application/vnd.oci.image.layer.v1.tar+gzip")),
        ({"compression": "none"}, (OCI_MANIFEST, OCI_CONFIG, "application/vnd.oci.image.layer.v1.tar")),
        (
            {"docker": True},
            (DOCKER_MANIFEST, DOCKER_CONFIG, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        ),
        (
            {"docker": True, "compression": "none"},
            (DOCKER_MANIFEST, DOCKER_CONFIG, "application/vnd.docker.image.rootfs.diff.tar"),
        ),
    ],
    ids=["oci gzip", "oci plain", "docker gzip", "docker plain"],
)
def test_media_types_follow_schema_and_compression(options: dict[str, Any], types: tuple[str, str, str]) -> None:
    made = image.image([MOTD], **options)
    table, _ = parts(made)
    assert (table["mediaType"], table["config"]["mediaType"], table["layers"][0]["mediaType"]) == types
    assert made.descriptor.media_type == types[0]
    assert table["schemaVersion"] == 2
    tar = layer.pack(MOTD)
    assert (gzip.decompress(made.blobs[1]) if types[2].endswith("gzip") else made.blobs[1]) == tar


def test_a_config_says_what_the_layers_are_before_compression_and_when_they_were_made() -> None:
    made = image.image([MOTD, {"a": b"1"}], config={"Env": ["A=1"]})
    _, settings = parts(made)
    assert settings == {
        "created": "1970-01-01T00:00:00Z",
        "os": "linux",
        "architecture": "amd64",
        "config": {"Env": ["A=1"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest.of(gzip.decompress(blob)) for blob in made.blobs[1:]]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "tinyreg"}] * 2,
    }


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("linux/arm64", {"os": "linux", "architecture": "arm64"}),
        ("linux/arm/v7", {"os": "linux", "architecture": "arm", "variant": "v7"}),
    ],
)
def test_the_platform_stands_in_config_and_descriptor(text: str, place: dict[str, str]) -> None:
    made = image.image([MOTD], platform=text)
    _, settings = parts(made)
    assert made.descriptor.platform == place
    assert {key: settings[key] for key in ("os", "architecture", "variant") if key in settings} == place


@pytest.mark.parametrize("text", ["linux", "", "linux/", "/amd64", "linux/arm/v7/x", "linux//v7", "linux/arm/"])
def test_a_platform_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=rf"platform='{text}': write os/architecture\[/variant\], as in linux/arm64"):
        image.image(platform=text)


@pytest.mark.parametrize("text", ["zstd", "", "GZIP"])
def test_an_unknown_compression_is_refused_and_the_known_ones_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"compression='{text}': there are gzip, none"):
        image.image(compression=text)


def test_annotations_and_a_subject_stand_in_the_manifest_when_there_are_any() -> None:
    table, _ = parts(image.image(annotations={"org.example": "x"}, subject=SUBJECT))
    assert table["annotations"] == {"org.example": "x"}
    assert table["subject"] == {"mediaType": OCI_MANIFEST, "digest": SUBJECT.digest, "size": 2}
    table, _ = parts(image.image(annotations={}))
    assert not {"annotations", "subject", "artifactType"} & table.keys()


def test_a_ready_archive_is_taken_as_it_is() -> None:
    tar = layer.pack(MOTD)
    assert image.image([tar]) == image.image([MOTD])
    assert image.image([b"no tar"], compression="none").blobs[1] == b"no tar"


@pytest.mark.parametrize("count", [0, 1, 5000, (1 << 20) + 3])
def test_random_adds_a_layer_with_so_many_bytes_that_are_always_the_same(count: int) -> None:
    made = image.image(random=count)
    assert made == image.image(random=count)
    (blob,) = made.blobs[1:]
    assert layer.apply([blob]) == {"random": image.random_bytes(count)}
    assert len(image.random_bytes(count)) == count


def test_random_comes_on_top_of_the_layers_given_and_does_not_compress() -> None:
    made = image.image([MOTD], random=5000)
    assert layer.apply(made.blobs[1:]).keys() == {"etc/motd", "random"}
    assert len(gzip.compress(image.random_bytes(5000))) > 5000
    assert image.random_bytes(9, seed=1) != image.random_bytes(9)


@pytest.mark.parametrize(("docker", "media_type"), [(False, OCI_INDEX), (True, DOCKER_LIST)])
def test_an_index_lists_descriptors_with_their_platforms(docker: bool, media_type: str) -> None:
    children = [image.image([MOTD], platform=each).descriptor for each in ("linux/amd64", "linux/arm/v7")]
    made = image.index(children, docker=docker, annotations={"a": "b"})
    table = json.loads(made.data)
    assert table["mediaType"] == made.descriptor.media_type == media_type
    assert [each["digest"] for each in table["manifests"]] == [each.digest for each in children]
    assert table["manifests"][1]["platform"] == {"os": "linux", "architecture": "arm", "variant": "v7"}
    assert table["annotations"] == {"a": "b"}
    assert made.blobs == ()


def test_an_index_may_be_an_artifact_about_something() -> None:
    table = json.loads(image.index([], artifact_type="application/x", subject=SUBJECT).data)
    assert (table["manifests"], table["artifactType"]) == ([], "application/x")
    assert table["subject"]["digest"] == SUBJECT.digest


def test_an_artifact_has_an_empty_config_and_a_titled_layer_for_each_file() -> None:
    made = image.artifact("application/x", {"b.json": b"[]", "a.txt": b"text"}, subject=SUBJECT, annotations={"k": "v"})
    table, settings = parts(made)
    assert settings == {}
    assert table["config"] == {"mediaType": OCI_EMPTY, "digest": EMPTY, "size": 2}
    assert [each["annotations"] for each in table["layers"]] == [{image.TITLE: "b.json"}, {image.TITLE: "a.txt"}]
    assert {each["mediaType"] for each in table["layers"]} == {"application/octet-stream"}
    assert (table["artifactType"], table["annotations"]) == ("application/x", {"k": "v"})
    assert table["subject"]["digest"] == SUBJECT.digest
    assert made.descriptor.artifact_type == "application/x"


EMPTY = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_an_artifact_without_files_refers_to_the_empty_blob_twice() -> None:
    made = image.artifact("application/x", {})
    table = json.loads(made.data)
    assert table["layers"] == [table["config"]] == [{"mediaType": OCI_EMPTY, "digest": EMPTY, "size": 2}]
    assert made.blobs == (b"{}",)


# through Registry


def test_what_is_pushed_is_pulled_as_it_was_made() -> None:
    registry = Registry()
    pushed = registry.push_image("team/app:1.0", **RICH)
    assert pushed == PINNED["rich"][0].descriptor
    manifest = registry.repository("team/app").manifest("1.0")
    assert (manifest.data, manifest.media_type) == (PINNED["rich"][0].data, OCI_MANIFEST)
    assert manifest.annotations == RICH["annotations"]


def test_an_untagged_push_is_there_by_its_digest() -> None:
    registry = Registry()
    pushed = registry.push_image("team/app")
    team = registry.repository("team/app")
    assert (team.tags(), team.manifest(pushed.digest).digest) == ([], pushed.digest)


def test_an_index_of_what_the_repository_does_not_have_is_refused() -> None:
    with pytest.raises(ManifestBlobUnknown, match=SUBJECT.digest):
        Registry().push_index("team/app", [SUBJECT])


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="plattform"):
        Registry().push_image("team/app", plattform="linux/amd64")
