"""TLS for this run: trusted by who is told to, and by nobody else."""

from __future__ import annotations

import http.client
import socket
import ssl
import sys
import urllib.error
from pathlib import Path

import pytest
import trustme

from tests.asking import ask
from tinyreg import Registry
from tinyreg.server import Server


def test_clients_that_trust_the_ca_are_served_and_others_refuse() -> None:
    with Registry(tls=True) as registry:
        context = registry.client_context()
        assert ask(registry, "/v2/", context=context).body == b"{}"
        connection = http.client.HTTPSConnection("localhost", registry.port, context=context, timeout=10)
        connection.request("GET", "/v2/")
        assert connection.getresponse().status == 200
        connection.close()
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(registry, "/v2/", context=ssl.create_default_context())


def test_large_blobs_cross_tls_unharmed_and_a_stall_ends_with_stop() -> None:
    with Registry(tls=True) as registry:
        registry.push_image("app:1", random=3_000_000)
        layer = registry.repository("app").manifest("1").layers[0]
        path = f"/v2/app/blobs/{layer.digest}"
        assert ask(registry, path, context=registry.client_context()).body == registry.repository("app").blob(
            layer.digest
        )
        stall = registry.faults.add(stall=True, kind="blob")
        connection = http.client.HTTPSConnection(registry.host, context=registry.client_context(), timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        stall.wait()
        answer.close()
        connection.close()
        registry.requests.wait(2, kind="blob")


def test_the_ca_file_goes_with_the_registry_and_comes_again() -> None:
    registry = Registry(tls=True)
    for _ in range(2):
        with registry:
            path = registry.ca_file
            assert path
            assert ask(registry, "/v2/", context=registry.client_context()).status == 200
        assert not Path(path).exists()


def test_without_trustme_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(ValueError, match=r"pip install 'tinyreg\[tls\]'"):
        Registry(tls=True)


def test_your_own_certificate_or_context_is_served(tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(tmp_path / "key")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    client, server = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.configure_trust(client)
    leaf.configure_cert(server)
    for tls in ((tmp_path / "cert", tmp_path / "key"), server):
        with Registry(tls=tls) as registry:
            assert ask(registry, "/v2/", context=client).status == 200
            assert registry.ca_file is None
            with pytest.raises(ValueError, match="your own"):
                registry.client_context()


def test_a_client_certificate_names_its_user() -> None:  # K13
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context()
    authority.configure_trust(client)
    authority.issue_cert("x@example.org", common_name="robot").configure_cert(client)
    with Registry(tls=server, auth={"tester": "secret"}) as registry:
        assert ask(registry, "/v2/", context=client).status == 200
        assert registry.requests[-1].user == "robot"


def test_plain_registries_have_no_ca_and_no_context() -> None:
    registry = Registry()
    assert registry.ca_file is None
    with pytest.raises(ValueError, match="plain HTTP"):
        registry.client_context()


def test_a_client_that_never_shakes_hands_keeps_nobody_waiting_and_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server.__init__, "__defaults__", ("127.0.0.1", 0, 0.5, None, 100))
    with Registry(tls=True) as registry:
        with socket.create_connection(("127.0.0.1", registry.port), timeout=10) as silent:
            assert ask(registry, "/v2/", context=registry.client_context()).status == 200
            assert silent.recv(1) == b""
        assert not plain(registry).startswith(b"HTTP/1.1 200")
        assert ask(registry, "/v2/", context=registry.client_context()).status == 200


def plain(registry: Registry) -> bytes:
    """What plain HTTP is answered; a reset is no answer."""
    with socket.create_connection(("127.0.0.1", registry.port), timeout=10) as client:
        try:
            client.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
            return client.recv(100)
        except ConnectionError:
            return b""


def test_the_docker_config_has_the_ca_where_clients_look(tmp_path: Path) -> None:
    with Registry(tls=True) as registry:
        registry.docker_config(tmp_path)
        assert registry.ca_file
        authority = Path(registry.ca_file).read_bytes()
        assert (tmp_path / "ca.crt").read_bytes() == authority
        assert (tmp_path / "certs.d" / registry.host / "ca.crt").read_bytes() == authority
