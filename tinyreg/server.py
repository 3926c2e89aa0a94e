"""A server that listens at once and stops at once, a thread a connection; what is said there is `wire`'s."""

from __future__ import annotations

import os
import socket
import socketserver
import time
from collections import deque
from contextlib import suppress
from threading import Lock, Thread, current_thread
from typing import TYPE_CHECKING, Any

from .wire import Connection, Disconnected, Handler

if TYPE_CHECKING:
    import ssl

TIMEOUT = 60.0
"""Seconds a client may be silent, or not take what it is sent, before its connection is closed."""
CONNECTION_LIMIT = 2000
"""Connections that are served at once: each has a thread, and up to `content.CHUNK` of memory for a body."""
STOP_TIMEOUT = 5.0
"""Seconds that `stop` waits for requests that are still being answered."""
_PAUSE = 0.01
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 27\r\n"
    b"Retry-After: 1\r\nConnection: close\r\n\r\ntoo many are connected now\n"
)
_TURNED_AWAY = 64


class StopTimeout(RuntimeError):
    """A request was still being answered when `stop` gave up; the message names it."""


class Server(socketserver.TCPServer):
    """Listens on `host`:`port` (0: a free one) from the constructor on, and serves from `start` to `stop`.

    A client may be silent, or take nothing, for `timeout` seconds; a TLS handshake may take as long. Where `limit`
    connections are open, others are told 503 and closed.

    Raises OSError where the address can't be had.
    """

    request_queue_size = 128
    # On Windows the option means that two servers may have one port.
    allow_reuse_address = os.name != "nt"
    allow_reuse_port = False

    def __init__(
        self,
        handler: Handler,
        host: str = "127.0.0.1",
        port: int = 0,
        timeout: float = TIMEOUT,
        tls: ssl.SSLContext | None = None,
        limit: int = CONNECTION_LIMIT,
    ) -> None:
        self.handler = handler
        self.tls = tls
        self.timeout_seconds = timeout
        self.limit = limit
        self.refused = 0
        """Connections for which there was no room."""
        self.stopping = False
        self.vanished = 0
        """Clients that left in the middle of a request or of its answer."""
        self.errors: list[Exception] = []
        """What went wrong outside the Handler."""
        self.connections: dict[socket.socket, Connection] = {}
        self._threads: dict[socket.socket, Thread] = {}
        self._turned_away: deque[socket.socket] = deque()
        self._lock = Lock()
        self._acceptor: Thread | None = None
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Connection)

    def server_bind(self) -> None:
        """Bind, without the reverse look-up of the host's name that `http.server` does, which may take seconds."""
        super().server_bind()
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)

    def start(self) -> None:
        """Serve, in threads of our own."""
        self._acceptor = Thread(target=self._accept, name=f"tinyreg {self.server_port}", daemon=True)
        self._acceptor.start()

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """End at once: no new connection, the open ones shut, their threads awaited. May be called again.

        Raises StopTimeout where an answer is still being made after `timeout` seconds.
        """
        with self._lock:
            if self.stopping:
                return
            self.stopping = True
        if self._acceptor is not None:
            self._wake()
            self._acceptor.join()
        self.server_close()
        deadline = time.monotonic() + timeout
        others = {each: thread for each, thread in list(self._threads.items()) if thread is not current_thread()}
        for connection in others:
            _shut(connection)
        while self._turned_away:
            self._turned_away.popleft().close()
        for thread in others.values():
            thread.join(max(0.0, deadline - time.monotonic()))
        if hanging := [self._named(connection) for connection, thread in others.items() if thread.is_alive()]:
            raise StopTimeout(f"still being answered after {timeout:g} s: {', '.join(hanging)}")

    def server_close(self) -> None:
        """Close the listening socket; the base class would wait for threads here, without a deadline."""
        self.socket.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection in a thread of its own."""
        if self.tls is not None:  # the handshake is the thread's: a silent client keeps nobody else waiting
            try:
                request = self.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            except OSError:  # gone already; nothing may be raised into the accept loop
                request.close()
                self.vanished += 1
                return
        thread = Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._threads[request] = thread
        try:
            thread.start()
        except RuntimeError:  # the system has no thread left for us
            del self._threads[request]
            self._turn_away(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve the connection to its end. A client that vanishes is counted and not an error."""
        try:
            self.finish_request(request, client_address)
        except (Disconnected, OSError):
            with self._lock:
                self.vanished += not self.stopping
        except Exception as error:
            self.errors.append(error)
        finally:
            request.close()
            self.connections.pop(request, None)
            self._threads.pop(request, None)

    def _accept(self) -> None:
        while not self.stopping:
            try:
                connection, address = self.socket.accept()
            except OSError:
                if not self.stopping:
                    time.sleep(_PAUSE)  # out of descriptors, for now
                continue
            if self.stopping:
                connection.close()
            elif len(self._threads) >= self.limit:
                self._turn_away(connection)
            else:
                self.process_request(connection, address)

    def _turn_away(self, connection: socket.socket) -> None:
        """Say that there is no room, waiting for nobody. Closed at once, the answer could be lost to a reset."""
        self.refused += 1
        with suppress(OSError):  # gone already
            connection.setblocking(False)
            if self.tls is None:
                connection.send(_FULL)
            connection.shutdown(socket.SHUT_WR)
        self._turned_away.append(connection)
        if len(self._turned_away) > _TURNED_AWAY:
            self._turned_away.popleft().close()

    def _wake(self) -> None:
        """Bring `accept` back: Linux lets a listening socket be shut down, elsewhere somebody has to call."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.server_name, self.server_name)  # noqa: S104
            socket.create_connection((host, self.server_port), timeout=1).close()

    def _named(self, connection: socket.socket) -> str:
        talk = self.connections.get(connection)
        request = talk.current if talk else None
        # Without the query, which may hold a token or a password.
        return f"{request.method} {ascii(request.path)[1:-1]}" if request else "a connection"


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):  # it was over already
        # Not TLS's own shutdown: that takes the cipher from the socket, and its thread would crash, or speak plain.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
