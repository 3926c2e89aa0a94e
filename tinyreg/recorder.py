"""What was asked and what was answered: a Handler around another, and the sequence it fills; it changes no answer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from threading import Condition, RLock
from typing import overload

from . import mask
from .routes import Kind, Target
from .selector import Selector
from .wire import Handler, Headers, Query, Request, Response

KEPT = 10_000
"""Exchanges that are kept; the oldest go first, and `dropped` counts them."""
KEPT_BYTES = 64 * 1024 * 1024
"""Bytes that the heads of the requests kept may have together: most have a few hundred, but each may have 64 KiB."""


class Exchange:
    """A request and its answer, without the bodies and without secrets.

    `reference` is a tag, a digest or a session's id, as the client wrote it; `user` is who asked, where somebody
    had to say so; `asked` and `granted` the scopes a token was asked for, as they were written, and given; `client` the
    User-Agent; `received` and `sent` the bytes that crossed the socket, heads and bodies; `seconds` from the end of
    the request's head to the last of the answer; `fault` the fault that acted, if any; `head_size` the bytes of
    the request's line and headers. `response_headers` are the registry's: Date, Connection and, where the body says it,
    Content-Length are the server's.
    """

    # Most exchanges are never looked at: what can be told from the request is told when somebody asks.
    __slots__ = ("_request", "received", "response_headers", "seconds", "sent", "status")

    def __init__(self, request: Request, status: int, response_headers: Headers) -> None:
        self._request = request
        self.status = status
        self.response_headers = response_headers
        self.received = 0
        self.sent = 0
        self.seconds = 0.0

    @property
    def method(self) -> str:
        return self._request.method

    @property
    def path(self) -> str:
        return self._request.path

    @property
    def query(self) -> Query:
        return mask.parameters(self._request.query)

    @property
    def target(self) -> Target:
        """What the request was about."""
        return Target.cut(self._request.path)

    @property
    def kind(self) -> Kind:
        return self.target.kind

    @property
    def repository(self) -> str:
        return self.target.name

    @property
    def reference(self) -> str:
        return self.target.reference

    @property
    def headers(self) -> Headers:
        return _masked(self._request.headers)

    @property
    def user(self) -> str | None:
        return self._request.user

    @property
    def asked(self) -> str:
        return self._request.asked

    @property
    def granted(self) -> str:
        return self._request.granted

    @property
    def client(self) -> str:
        found: str = self._request.headers.get("user-agent", "")
        return found

    @property
    def fault(self) -> object:
        return self._request.fault

    @property
    def head_size(self) -> int:
        return self._request.head_size

    def __str__(self) -> str:
        fault = f"  fault: {self.fault}" if self.fault else ""
        path = ascii(self.path)[1:-1]
        return f"{self.status} {self.method} {path} {self.sent} B {self.seconds * 1000:.1f} ms{fault}"

    def __repr__(self) -> str:
        return f"<{self}>"


class Requests(Sequence[Exchange]):
    """Exchanges in the order in which they were answered, oldest first; safe to read while more are added.

    An answer stands here before its last byte has left. Only the newest KEPT are kept, fewer where they are large.
    """

    def __init__(self, exchanges: Iterable[Exchange] = ()) -> None:
        self._kept: deque[Exchange] = deque(exchanges)
        self._bytes = 0
        self._lock = RLock()
        self._changed = Condition(self._lock)
        self._waiting = 0
        self.dropped = 0
        self.listeners: list[Callable[[Exchange], None]] = []
        """Called with every exchange, in the thread that answered it."""

    def add(self, exchange: Exchange) -> None:
        """Append one."""
        with self._lock:
            self._kept.append(exchange)
            self._bytes += exchange.head_size
            while len(self._kept) > KEPT or self._bytes > KEPT_BYTES:
                self._bytes -= self._kept.popleft().head_size
                self.dropped += 1
            if self._waiting:
                self._changed.notify_all()
        for listener in self.listeners:
            listener(exchange)

    def where(
        self,
        *,
        method: str | None = None,
        kind: str | None = None,
        repository: str | None = None,
        reference: str | None = None,
        status: int | None = None,
    ) -> Requests:
        """Those that match all that is given, as they are now. Raises ValueError for an unknown kind."""
        selector = Selector(method, kind, repository, reference)
        return Requests(
            each
            for each in self._copy()
            if status in (None, each.status) and selector.matches(each.method, each.target)
        )

    def wait(
        self,
        count: int = 1,
        *,
        timeout: float = 5.0,
        method: str | None = None,
        kind: str | None = None,
        repository: str | None = None,
        reference: str | None = None,
        status: int | None = None,
    ) -> Requests:
        """Those that match, as soon as there are `count`. Raises TimeoutError after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = self.where(method=method, kind=kind, repository=repository, reference=reference, status=status)
                if len(found) >= count:
                    return found
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(
                        f"{len(found)} of {count} such requests after {timeout:g} s; answered were\n{self.table()}"
                    )
                self._waiting += 1
                try:
                    self._changed.wait(left)
                finally:
                    self._waiting -= 1

    def table(self, last: int = 30) -> str:
        """The `last` ones, one a line, with what acted on them."""
        kept = self._copy()
        shown = kept[-last:]
        width = max((len(each.path) for each in shown), default=0)
        lines = [f"… {len(kept) - len(shown)} before"] if len(kept) > len(shown) else []
        for each in shown:
            times = f"{each.received:>8} B in {each.sent:>8} B out {each.seconds * 1000:>8.1f} ms"
            fault = f"  fault: {each.fault}" if each.fault else ""
            lines.append(f"{each.status:>3} {each.method:<6} {ascii(each.path)[1:-1]:<{width}} {times}{fault}")
        return "\n".join(lines) or "no requests"

    def clear(self) -> None:
        """Forget them all."""
        with self._lock:
            self._kept.clear()
            self._bytes = self.dropped = 0

    def _copy(self) -> list[Exchange]:
        with self._lock:
            return list(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    @overload
    def __getitem__(self, index: int) -> Exchange: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Exchange]: ...

    def __getitem__(self, index: int | slice) -> Exchange | Sequence[Exchange]:
        return self._copy()[index]

    def __repr__(self) -> str:
        return self.table()


class Recorder:
    """The Handler that writes down what passes through it."""

    def __init__(self, inner: Handler, requests: Requests) -> None:
        self.inner = inner
        self.requests = requests

    def __call__(self, request: Request) -> Response:
        """The inner Handler's answer; it is in `requests` before its last byte has left."""
        began = time.perf_counter()
        response = self.inner(request)
        # The response is not kept: it holds `done`, and each request would leave a cycle, and an answer's body, maybe a
        # file, to the garbage collector.
        exchange, requests = Exchange(request, response.status, response.headers), self.requests

        def done(received: int, sent: int) -> None:
            first = not exchange.seconds
            exchange.received, exchange.sent = received, sent
            if first:
                exchange.seconds = time.perf_counter() - began or _INSTANT
                requests.add(exchange)

        response.done = done
        return response


_INSTANT = 1e-9
"""Seconds, where the clock has not moved."""


def _masked(headers: Headers) -> Headers:
    """The fields, without what is secret in them."""
    if not headers.has_any(mask.FIELDS):
        return headers
    masked = Headers(headers.items())
    for name in filter(headers.__contains__, mask.FIELDS):
        masked[name] = mask.field(headers[name])
    return masked
