"""`Registry` as its users see it (API.md, "In Python")."""

from __future__ import annotations

import hashlib
import http.client
import os
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tinyreg import DirectoryStore, MemoryStore, Registry
from tinyreg.content import SMALL
from tinyreg.errors import ManifestUnknown, NameInvalid
from tinyreg.server import Server

MANIFEST = b'{"schemaVersion":2}'
TYPE = "application/vnd.oci.image.manifest.v1+json"


def push(registry: Registry, name: str = "team/app", tag: str = "1.0") -> None:
    put(registry, f"/v2/{name}/manifests/{tag}", MANIFEST, TYPE)


def put(registry: Registry, path: str, data: bytes, media_type: str, method: str = "PUT") -> None:
    request = urllib.request.Request(
        registry.url + path, data=data, method=method, headers={"Content-Type": media_type}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 201


def test_it_listens_when_the_with_line_is_done() -> None:
    with Registry() as registry:
        connection = http.client.HTTPConnection(registry.host, timeout=10)
        connection.request("GET", "/v2/")
        assert connection.getresponse().read() == b"{}"
        connection.close()


def test_its_address_in_the_three_forms() -> None:
    with Registry() as registry:
        assert registry.host == f"127.0.0.1:{registry.port}"
        assert registry.url == f"http://{registry.host}"
        assert registry.ref("team/app:1.0") == f"{registry.host}/team/app:1.0"


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert Registry(host="::1", port=5).url == "http://[::1]:5"


def test_it_has_no_url_before_it_is_started() -> None:
    with pytest.raises(RuntimeError, match=r"use `with Registry\(\) as registry:` or call start\(\)"):
        _ = Registry().url


def test_several_at_once_have_ports_and_content_of_their_own() -> None:
    with Registry() as one, Registry() as other:
        push(one)
        assert one.port != other.port
        assert (one.repositories(), other.repositories()) == (["team/app"], [])


def test_start_and_stop_may_both_be_called_twice() -> None:
    registry = Registry()
    assert registry.start() is registry.start()
    registry.stop()
    registry.stop()


def test_a_registry_that_was_never_started_may_be_stopped() -> None:
    Registry().stop()


def test_after_stop_it_starts_again_on_the_same_port_with_the_same_content() -> None:
    with Registry() as registry:
        port = registry.port
        push(registry)
    with registry:
        assert (registry.port, registry.repositories()) == (port, ["team/app"])


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_stop_leaves_no_thread_and_no_descriptor(tmp_path: Path) -> None:
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    registry = Registry(tmp_path / "store").start()
    connection = http.client.HTTPConnection(registry.host, timeout=10)
    connection.request("POST", "/v2/a/blobs/uploads/")
    session = connection.getresponse()
    session.read()
    connection.request("PATCH", session.headers["Location"], bytes(SMALL + 1))
    connection.getresponse().read()
    assert len(list((tmp_path / "store" / "_uploads").iterdir())) == 1
    assert threading.active_count() > threads
    registry.stop()
    connection.close()
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, descriptors)
    assert list((tmp_path / "store" / "_uploads").iterdir()) == []


def test_a_store_is_a_path_or_an_object_or_memory(tmp_path: Path) -> None:
    mine = MemoryStore()
    assert Registry(mine).store is mine
    assert isinstance(Registry().store, MemoryStore)
    for path in (tmp_path / "a", str(tmp_path / "b")):
        assert isinstance(Registry(path).store, DirectoryStore)


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "directory"])
def test_reset_forgets_content_and_requests_and_keeps_the_port(on_disk: bool, tmp_path: Path) -> None:
    with Registry(tmp_path if on_disk else None) as registry:
        push(registry)
        port = registry.port
        assert len(registry.requests) == 1
        registry.reset()
        assert (registry.repositories(), len(registry.requests), registry.port) == ([], 0, port)
        push(registry)
        assert registry.repository("team/app").tags() == ["1.0"]


@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "directory"])
def test_a_repository_tells_what_was_pushed(on_disk: bool, tmp_path: Path) -> None:
    with Registry(tmp_path if on_disk else None) as registry:
        digest = f"sha256:{hashlib.sha256(b'hello').hexdigest()}"
        put(registry, f"/v2/team/app/blobs/uploads/?digest={digest}", b"hello", "x/y", "POST")
        push(registry)
        team = registry.repository("team/app")
        manifest = team.manifest("1.0")
        assert (manifest.data, manifest.media_type) == (MANIFEST, TYPE)
        assert team.manifest(manifest.digest).data == MANIFEST
        assert team.blob(digest) == b"hello"
        assert team.tags() == ["1.0"]
        with pytest.raises(ManifestUnknown):
            team.manifest("2.0")


def test_a_repository_needs_a_proper_name() -> None:
    with pytest.raises(NameInvalid):
        Registry().repository("Team")


def test_what_the_server_raised_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with Registry() as registry:
        monkeypatch.setattr(registry.store, "repositories", None)
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{registry.url}/v2/_catalog", timeout=10)
        assert error.value.status == 500
        assert b'"code":"UNKNOWN"' in error.value.read()
        error.value.close()
        assert [type(each) for each in registry.errors] == [TypeError]


def test_an_unknown_quirk_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="quirk 'no-such' is not known: there are no-referrers"):
        Registry(quirks=["no-such"])


def test_uploads_are_let_go_when_the_server_cannot_stop_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry().start()
    registry.repository("a").start_upload()
    stop = Server.stop

    def late(self: Server) -> None:
        stop(self)
        raise TimeoutError("hangs")

    monkeypatch.setattr(Server, "stop", late)
    with pytest.raises(TimeoutError, match="hangs"):
        registry.stop()
    assert len(registry.repository("a").sessions) == 0


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        (
            {"auth": "tester:secret"},
            TypeError,
            "a dict of names and passwords, Basic, Token or ReadOnly, not str",
        ),
        ({"store": 5}, TypeError, "store: None, a path, a URL or a Store, not int"),
        ({"store": "localhost:5000"}, ValueError, "write http://localhost:5000 for a registry, or ./localhost:5000"),
        ({"upstream": "127.0.0.1:5000"}, ValueError, r"write http\(s\)://host\[:port\]"),
        ({"quirks": "no-delete"}, TypeError, r"a list of names, \['no-delete'\]"),
        ({"max_blob": "1G"}, ValueError, "max_blob='1G': a whole number, 1 or more"),
        ({"max_uploads": 0}, ValueError, "max_uploads=0"),
        ({"max_connections": True}, ValueError, "max_connections=True"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_option_is_told_when_it_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: dict[str, Any], kind: type[Exception], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=says) as caught:
        Registry(**options)
    assert "secret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_port_in_use_is_told_with_what_to_do() -> None:
    with (
        Registry() as taken,
        pytest.raises(OSError, match=rf"127\.0\.0\.1 port {taken.port}: .*; port 0 takes a free one"),
    ):
        Registry(port=taken.port).start()


def test_a_registry_shows_where_it_is() -> None:
    with Registry() as registry:
        assert repr(registry) == f"<Registry {registry.url} MemoryStore>"
    assert repr(registry) == "<Registry stopped MemoryStore>"


def test_a_reference_with_the_host_in_front_is_told_without_it(registry: Registry) -> None:
    with pytest.raises(NameInvalid, match=r"has a host in front: here it is 'team/app:1\.0' alone"):
        registry.push_image(registry.ref("team/app:1.0"))
