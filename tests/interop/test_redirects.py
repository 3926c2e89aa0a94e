"""A registry that wants a password sends its clients to another one, where they fetch the rest. Whether the password
came along is seen in what the second one was asked; for each client it is pinned as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tinyreg import Registry

from . import payload
from .clients import Client, Sandbox
from .commands import LAYERS, content


@pytest.fixture
def first(sandbox: Sandbox) -> Iterator[Registry]:
    """The registry that wants the password, which all clients of the sandbox know."""
    with Registry(auth={"tester": "secret"}) as registry:
        registry.push_image("team/app:1.0", layers=LAYERS, random=1000)
        registry.docker_config(sandbox.folder / "docker", user="tester")
        registry.docker_config(sandbox.folder / "home/.docker", user="tester")
        sandbox.env["REGISTRY_AUTH_FILE"] = str(sandbox.folder / "docker/config.json")
        yield registry
    assert registry.errors == []


@pytest.fixture
def second() -> Iterator[Registry]:
    """The registry behind the redirect, that lets everybody in and has the same."""
    with Registry() as registry:
        registry.push_image("team/app:1.0", layers=LAYERS, random=1000)
        yield registry
    assert registry.errors == []


def pull(name: str, first: Registry, out: Path) -> tuple[str | Path, ...]:
    ref = first.ref("team/app:1.0")
    return {
        "crane": ("pull", "--format", "oci", ref, out),
        "skopeo": ("copy", "--src-tls-verify=false", f"docker://{ref}", f"oci:{out}:1"),
        "oras": ("cp", "--from-plain-http", "--to-oci-layout", ref, f"{out}:1"),
        "regctl": ("image", "copy", "--host", f"reg={first.host},tls=disabled", ref, f"ocidir://{out}:1"),
    }[name]


def secrets(registry: Registry, kind: str) -> list[bool]:
    """For each request, whether it came with an Authorization."""
    return ["authorization" in each.headers for each in registry.requests.where(method="GET", kind=kind)]


# To another port of the same host, and to another host. All four drop it for another host; another port is another
# host to those that compare both (crane's and oras's own transports; skopeo, with the http.Client of Go 1.19).
KEPT = {
    ("crane", "127.0.0.1"): False,
    ("skopeo", "127.0.0.1"): False,
    ("oras", "127.0.0.1"): False,
    ("regctl", "127.0.0.1"): True,
    ("crane", "localhost"): False,
    ("skopeo", "localhost"): False,
    ("oras", "localhost"): False,
    ("regctl", "localhost"): False,
}


@pytest.mark.parametrize(("name", "host"), KEPT)
def test_a_client_follows_with_or_without_its_password(
    first: Registry, second: Registry, request: pytest.FixtureRequest, tmp_path: Path, name: str, host: str
) -> None:
    client: Client = request.getfixturevalue(name)
    fault = first.faults.add(redirect=f"http://{host}:{second.port}", kind="blob", method="GET")
    client(*pull(name, first, tmp_path / "out"))
    assert payload.read_layout(tmp_path / "out") == content(first)
    assert fault.hits == 4
    assert [each.status for each in first.requests.where(method="GET", kind="blob")] == [307] * 4
    assert secrets(first, "blob") == [True] * 4
    assert secrets(second, "blob") == [KEPT[name, host]] * 4


@pytest.mark.parametrize("name", ["crane", "skopeo", "oras", "regctl"])
def test_without_a_redirect_the_second_registry_is_asked_nothing(
    first: Registry, second: Registry, request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    client: Client = request.getfixturevalue(name)
    client(*pull(name, first, tmp_path / "out"))
    assert payload.read_layout(tmp_path / "out") == content(first)
    assert list(second.requests) == []


@pytest.mark.parametrize(("flag", "sent"), [("--location", False), ("--location-trusted", True)], ids=str)
def test_curl_sends_its_password_along_only_when_told_to(
    first: Registry, second: Registry, curl: Client, flag: str, sent: bool
) -> None:
    first.faults.add(redirect=f"http://localhost:{second.port}", kind="manifest")
    body = curl(flag, "--user", "tester:secret", f"{first.url}/v2/team/app/manifests/1.0")
    assert body == first.repository("team/app").manifest("1.0").data
    assert secrets(first, "manifest") == [True]
    assert secrets(second, "manifest") == [sent]
    if sent:
        assert second.requests[-1].headers["authorization"] == "Basic ***"
