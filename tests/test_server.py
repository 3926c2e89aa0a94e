"""A server that listens at once and stops at once."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from tinyreg import server as server_module
from tinyreg.server import Server, StopTimeout
from tinyreg.wire import Connection, Request, Response

from .raw import Listener, Raw, Watch, request

MakeServer = Callable[..., Server]


def answer(request: Request) -> Response:
    return Response(200, body=request.path.encode())


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    """Makes servers, not started; stops them at the end, when none may have raised."""
    made: list[Server] = []

    def make(handler: Callable[[Request], Response] = answer, host: str = "127.0.0.1", port: int = 0) -> Server:
        made.append(Server(handler, host, port))
        return made[-1]

    yield make
    for each in made:
        each.stop()
    assert [each.errors for each in made if each.errors] == []


def dial(server: Server) -> Raw:
    return Raw(server.server_name, server.server_port)


def listener(server: Server, **options: bool | int) -> Listener:
    """Put a Listener in the place of the server's socket."""
    found = Listener(server.socket, **options)  # type: ignore[arg-type]
    server.socket = cast("socket.socket", found)
    return found


def descriptors() -> set[tuple[str, str]]:
    """What this process has open; a descriptor may go while we look."""
    found = set()
    for each in os.listdir("/proc/self/fd"):
        try:
            found.add((each, os.readlink(f"/proc/self/fd/{each}")))
        except OSError:
            continue
    return found


def test_a_server_listens_before_it_is_started(make_server: MakeServer) -> None:
    server = make_server()
    with dial(server) as raw:
        raw.send(request("GET", "/early"))
        server.start()
        assert raw.read().body == b"/early"


def test_a_free_port_is_chosen_and_told(make_server: MakeServer) -> None:
    one, other = make_server(), make_server()
    assert one.server_port > 0
    assert one.server_port != other.server_port
    assert one.server_name == "127.0.0.1"


def test_making_a_server_asks_no_name_server(make_server: MakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda *arguments: pytest.fail("a look-up"))
    make_server()


def test_a_port_in_use_is_an_oserror(make_server: MakeServer) -> None:
    with pytest.raises(OSError, match="in use"):
        Server(answer, "127.0.0.1", make_server().server_port)


def test_a_port_can_be_had_again_at_once(make_server: MakeServer) -> None:
    first = make_server()
    first.start()
    with dial(first) as raw:
        assert raw.ask("GET", "/1").body == b"/1"
        first.stop()
        again = make_server(port=first.server_port)
        again.start()
    with dial(again) as raw:
        assert raw.ask("GET", "/2").body == b"/2"


def test_a_server_may_have_an_ipv6_address(make_server: MakeServer) -> None:
    try:
        server = make_server(host="::1")
    except OSError:
        pytest.skip("the machine has no IPv6")
    server.start()
    with dial(server) as raw:
        assert raw.ask("GET", "/six").body == b"/six"


def test_several_servers_serve_side_by_side(make_server: MakeServer) -> None:
    servers = [make_server(lambda request, n=n: Response(body=b"%d" % n)) for n in range(5)]
    for each in servers:
        each.start()
    connections = [dial(each) for each in servers]
    assert [raw.ask("GET", "/").body for raw in connections] == [b"0", b"1", b"2", b"3", b"4"]
    servers[0].stop()
    assert connections[1].ask("GET", "/").body == b"1"
    for raw in connections:
        raw.close()


def test_many_connections_at_once_are_all_served(make_server: MakeServer) -> None:
    server = make_server()
    connections = [dial(server) for _ in range(100)]
    server.start()
    for raw in connections:
        raw.send(request("GET", "/x"))
    assert [raw.read().body for raw in connections] == [b"/x"] * 100
    for raw in connections:
        raw.close()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_starting_and_stopping_leaves_no_thread_and_no_descriptor() -> None:
    threads, before = set(threading.enumerate()), descriptors()
    for _ in range(20):
        server = Server(answer)
        server.start()
        with dial(server) as busy, dial(server):
            assert busy.ask("GET", "/").status == 200
            server.stop()
        assert not server.connections
    assert set(threading.enumerate()) == threads
    assert descriptors() == before


def test_a_stopped_server_is_not_listening(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        dial(server)


def test_stopping_twice_is_as_good_as_once(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    server.stop()
    server.stop()
    assert server.errors == []


def test_a_server_that_was_never_started_can_be_stopped(make_server: MakeServer) -> None:
    server = make_server()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        dial(server)


def test_stopping_does_not_wait_for_idle_connections(make_server: MakeServer) -> None:
    server = make_server()
    server.start()
    connections = [dial(server) for _ in range(10)]
    assert {raw.ask("GET", "/").status for raw in connections} == {200}
    began = time.monotonic()
    server.stop(timeout=60)
    assert time.monotonic() - began < 2
    assert [raw.rest() for raw in connections] == [b""] * 10
    assert server.vanished == 0
    for raw in connections:
        raw.close()


def test_stopping_does_not_wait_for_a_client_that_is_half_through_a_request(make_server: MakeServer) -> None:
    reading = threading.Event()

    def read(request: Request) -> Response:
        reading.set()
        return Response(body=b"".join(map(bytes, request.body)))

    server = make_server(read)
    server.start()
    with dial(server) as raw:
        raw.send(request("PUT", "/", {"Content-Length": "10"}) + b"half")
        assert reading.wait(5)
        server.stop(timeout=60)
        assert raw.rest() == b""
    assert server.vanished == 0


def test_only_the_request_that_hangs_is_named_when_stop_gives_up(make_server: MakeServer) -> None:
    entered, release = threading.Event(), threading.Event()

    def hang(request: Request) -> Response:
        if request.method == "GET":
            entered.set()
            release.wait(10)
        return Response()

    server = make_server(hang)
    server.start()
    with dial(server) as raw, dial(server) as idle:
        raw.send(request("GET", "/v2/slow?n=1"))
        assert entered.wait(5)
        assert idle.ask("HEAD", "/").status == 200
        threads = list(server._threads.values())
        with pytest.raises(StopTimeout, match=r"after 0\.02 s: GET /v2/slow$"):
            server.stop(timeout=0.02)
        release.set()
        for thread in threads:
            thread.join(5)
            assert not thread.is_alive()


def test_a_connection_that_hangs_between_requests_is_named_as_such(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, entered, release = make_server(), threading.Event(), threading.Event()

    def hang(self: Connection) -> None:
        entered.set()
        release.wait(10)

    monkeypatch.setattr(Connection, "handle", hang)
    server.start()
    with dial(server):
        assert entered.wait(5)
        threads = list(server._threads.values())
        with pytest.raises(StopTimeout, match="a connection"):
            server.stop(timeout=0.02)
        release.set()
        for thread in threads:
            thread.join(5)


def test_a_handler_may_stop_its_own_server(make_server: MakeServer) -> None:
    stopped = threading.Event()

    def stop(request: Request) -> Response:
        server.stop(timeout=1)
        stopped.set()
        return Response()

    server = make_server(stop)
    server.start()
    with dial(server) as raw:
        raw.send(request("GET", "/stop"))
        raw.rest()
        assert stopped.wait(5)
    with pytest.raises(ConnectionRefusedError):
        dial(server)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_stop_wakes_accept_by_a_call_where_a_listening_socket_cannot_be_shut_down(
    make_server: MakeServer, host: str
) -> None:
    server = make_server(host=host)
    listener(server, deaf=True)
    server.start()
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 2
    assert server._acceptor is not None
    assert not server._acceptor.is_alive()
    assert server.connections == {}


def test_accept_survives_an_oserror(make_server: MakeServer) -> None:
    server = make_server()
    found = listener(server, failures=2)
    server.start()
    with dial(server) as raw:
        assert raw.ask("GET", "/").status == 200
    assert found.failures == 0


def test_an_exception_outside_the_handlers_care_is_kept_and_ends_its_connection_only() -> None:
    error = RuntimeError("ours")

    def fail(request: Request) -> Response:
        if request.path == "/bad":
            raise error
        return Response()

    server = Server(fail)
    server.start()
    try:
        with dial(server) as raw, dial(server) as other:
            raw.send(request("GET", "/bad"))
            assert raw.rest() == b""
            assert other.ask("GET", "/good").status == 200
    finally:
        server.stop()
    assert server.errors == [error]
    assert server.vanished == 0


def test_a_client_that_connects_and_leaves_was_not_in_the_middle_of_anything(make_server: MakeServer) -> None:
    server, watch = make_server(), Watch()
    server.socket = cast("socket.socket", Listener(server.socket, wrap=watch))
    server.start()
    dial(server).close()
    assert watch.closed.wait(5)
    assert server.vanished == 0


def test_a_client_that_resets_before_the_tls_handshake_does_not_end_the_server() -> None:
    trustme = pytest.importorskip("trustme")
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    server = Server(answer, tls=context)
    try:
        with dial(server) as raw:  # in the queue of a server that does not accept yet
            raw.send(b"hello")
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.start()
        with dial(server) as raw:
            raw.socket = trusting.wrap_socket(raw.socket, server_hostname="127.0.0.1")
            assert raw.ask("GET", "/still").body == b"/still"
        assert server.vanished == 1
    finally:
        server.stop()
    assert server.errors == []


def test_a_stop_right_behind_a_tls_handshake_is_no_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    trustme = pytest.importorskip("trustme")
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    server, shaken, shut = Server(answer, tls=context), threading.Event(), threading.Event()
    shake, shut_one = ssl.SSLSocket.do_handshake, server_module._shut

    def slow(connection: ssl.SSLSocket, block: bool = False) -> None:
        shake(connection, block)
        if connection.server_side:
            shaken.set()
            assert shut.wait(5)

    def tell(connection: socket.socket) -> None:
        shut_one(connection)
        shut.set()

    monkeypatch.setattr(ssl.SSLSocket, "do_handshake", slow)
    monkeypatch.setattr(server_module, "_shut", tell)
    server.start()
    with dial(server) as raw:
        raw.socket = trusting.wrap_socket(raw.socket, server_hostname="127.0.0.1")
        assert shaken.wait(5)
        server.stop()
    assert shut.is_set()
    assert server.errors == []


@pytest.mark.parametrize("reuse", [True, False])
def test_the_address_is_taken_over_from_the_dead_but_not_where_it_could_be_shared(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, reuse: bool
) -> None:
    """False is Windows: there SO_REUSEADDR lets two servers have one port."""
    assert Server.allow_reuse_address is (os.name != "nt")
    monkeypatch.setattr(Server, "allow_reuse_address", reuse)
    server = make_server()
    assert bool(server.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)) is reuse
    server.start()
    with dial(server) as raw:
        assert raw.ask("GET", "/x").body == b"/x"
    with pytest.raises(OSError, match="in use"):
        Server(answer, "127.0.0.1", server.server_port)
