"""TLS for this run: trusted by who is told to, and by nobody else."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import sys
import tempfile
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from tests.asking import ask, basic
from tinyreg import Basic, Registry, Token
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


@pytest.mark.parametrize("which", ["cert", "key"])
def test_a_certificate_or_key_that_is_missing_is_named(tmp_path: Path, which: str) -> None:
    files = own_certificate(tmp_path)
    (tmp_path / which).unlink()
    with pytest.raises(FileNotFoundError) as caught:
        Registry(tls=files)
    assert str(caught.value.filename) == str(tmp_path / which)


def test_files_that_are_no_certificate_and_its_key_are_named(tmp_path: Path) -> None:
    cert, key = own_certificate(tmp_path)
    other = trustme.CA().issue_cert("127.0.0.1")
    other.private_key_pem.write_to_path(tmp_path / "other")
    (tmp_path / "text").write_text("no certificate")
    for pair in ((cert, tmp_path / "other"), (tmp_path / "text", key), (key, cert)):
        with pytest.raises(
            ValueError, match=f"{re.escape(str(pair[0]))} and {re.escape(str(pair[1]))}: no certificate"
        ):
            Registry(tls=pair)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_password(tmp_path: Path) -> None:
    cert, key = own_certificate(tmp_path)
    plain = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        )
    )
    with pytest.raises(ValueError, match="not encrypted"):
        Registry(tls=(cert, key))


def own_certificate(folder: Path) -> tuple[Path, Path]:
    leaf = trustme.CA().issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(folder / "key")
    leaf.cert_chain_pems[0].write_to_path(folder / "cert")
    return folder / "cert", folder / "key"


def test_the_leaf_is_for_loopback_and_for_the_host() -> None:
    with Registry(tls=True, host="127.0.0.5") as registry:
        context = registry.client_context()
        with (
            socket.create_connection(("127.0.0.5", registry.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            shown: Any = secure.getpeercert()
        names = {value for _, value in shown["subjectAltName"]}
        assert names == {"localhost", "127.0.0.1", "0:0:0:0:0:0:0:1", "127.0.0.5"}
        assert ask(registry, "/v2/", context=context).status == 200  # by 127.0.0.5
        with (
            socket.create_connection(("127.0.0.5", registry.port), timeout=10) as plain,
            pytest.raises(ssl.SSLCertVerificationError, match="mismatch"),
        ):
            context.wrap_socket(plain, server_hostname="127.0.0.6")


def test_over_ipv6_too() -> None:
    with Registry(tls=True, host="::1") as registry:
        assert registry.url == f"https://[::1]:{registry.port}"
        assert ask(registry, "/v2/", context=registry.client_context()).status == 200


def test_no_ca_file_is_left_where_the_registry_never_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    registry = Registry(tls=True)
    assert registry.ca_file is None
    assert isinstance(registry.client_context(), ssl.SSLContext)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="in use"):
            Registry(tls=True, port=taken.getsockname()[1]).start()
    assert list(tmp_path.iterdir()) == []
    with registry:
        assert [str(path) for path in tmp_path.iterdir()] == [registry.ca_file]
    assert list(tmp_path.iterdir()) == []


def test_the_token_service_is_challenged_for_over_https() -> None:  # K9
    with Registry(tls=True, auth=Token(USERS)) as registry:
        challenge = ask(registry, "/v2/", context=registry.client_context()).headers["WWW-Authenticate"]
        assert challenge == f'Bearer realm="https://{registry.host}/token",service="tinyreg"'


class Mutual:
    """Both sides of TLS where clients show certificates."""

    def __init__(self, mode: ssl.VerifyMode) -> None:
        self.authority = trustme.CA()
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert("127.0.0.1").configure_cert(self.server)
        self.authority.configure_trust(self.server)
        self.server.verify_mode = mode

    def client(self, name: str | None, authority: trustme.CA | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if name is not None:
            (authority or self.authority).issue_cert("x@example.org", common_name=name).configure_cert(context)
        return context


USERS = {"tester": "secret"}
UPLOADS = "/v2/app/blobs/uploads/"


def test_the_common_name_of_a_client_certificate_is_the_user_and_has_that_ones_rights() -> None:  # K13
    mutual = Mutual(ssl.CERT_OPTIONAL)
    robot, stranger = mutual.client("robot"), mutual.client(None)
    grants = {"robot": {"app": "pull"}}
    with Registry(tls=mutual.server, auth=Basic(USERS, grants=grants)) as registry:
        registry.push_image("app:1")
        assert ask(registry, "/v2/app/tags/list", context=robot).status == 200
        assert registry.requests[-1].user == "robot"
        assert ask(registry, UPLOADS, "POST", context=robot).status == 403
        assert ask(registry, "/v2/", context=stranger).status == 401
        assert registry.requests[-1].user is None
        # A name and password go before the certificate.
        good = {"Authorization": basic("tester", "secret")}
        assert ask(registry, UPLOADS, "POST", context=robot, **good).status == 202
        assert registry.requests[-1].user == "tester"
        bad = {"Authorization": basic("tester", "x")}
        assert ask(registry, "/v2/", context=robot, **bad).status == 401


def test_the_token_service_knows_its_user_by_certificate() -> None:  # K13, K6
    mutual = Mutual(ssl.CERT_OPTIONAL)
    with Registry(tls=mutual.server, auth=Token(USERS, grants={"robot": {"app": "pull"}})) as registry:
        registry.push_image("app:1")
        asked = "/token?scope=repository:app:pull,push"
        for name, granted in (("robot", "repository:app:pull"), (None, "")):
            context = mutual.client(name)
            got = ask(registry, asked, context=context)
            assert (registry.requests[-1].user, got.json["scope"]) == (name, granted)
        good = ask(registry, asked, context=mutual.client("robot")).json["token"]
        answer = ask(registry, "/v2/app/tags/list", context=mutual.client(None), Authorization=f"Bearer {good}")
        assert (answer.status, registry.requests[-1].user) == (200, "robot")


def test_a_certificate_is_needed_where_the_context_says_so_and_one_of_another_ca_is_none() -> None:
    mutual = Mutual(ssl.CERT_REQUIRED)
    with Registry(tls=mutual.server) as registry:
        assert ask(registry, "/v2/", context=mutual.client("robot")).status == 200
        for context in (mutual.client(None), mutual.client("robot", trustme.CA())):
            with pytest.raises(OSError):  # noqa: PT011 - a reset, or an alert, or an end, by TLS version and luck
                reach(registry, context)
        assert [each.user for each in registry.requests] == ["robot"]
        assert registry.errors == []


def reach(registry: Registry, context: ssl.SSLContext) -> None:
    """Ask and close, whatever comes of it."""
    connection = http.client.HTTPSConnection(registry.host, context=context, timeout=10)
    try:
        connection.request("GET", "/v2/")
        connection.getresponse()
    finally:
        connection.close()


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


def test_stop_does_not_wait_for_a_handshake() -> None:
    registry = Registry(tls=True).start()
    with socket.create_connection(("127.0.0.1", registry.port), timeout=10) as silent:
        assert ask(registry, "/v2/", context=registry.client_context()).status == 200
        registry.stop()  # StopTimeout after five seconds, if it did
        assert silent.recv(1) == b""


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
