"""Tokens that run out at a chosen moment of a push; which client pushes it does not know."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock

from tinyreg import Registry
from tinyreg.recorder import Exchange
from tinyreg.routes import Target
from tinyreg.wire import Request, Response

PATIENCE = 30.0  # seconds


class Expiry:
    """A Handler that lets one blob go ahead of the others, and calls `expire` once, when `is_due` says so.

    Clients push blobs side by side: were the others let through, one of them could fetch a new token for all before
    the first has met the end of the old one. They wait until an upload has met it, or the first blob is stored.
    `config` never goes first: a client has it in memory, and may send again what of a file it can't.
    """

    def __init__(
        self,
        registry: Registry,
        config: str,
        is_due: Callable[[Request, Response], bool],
        expire: Callable[[], None],
    ) -> None:
        self.config = config
        self.is_due = is_due
        self.expire = expire
        self.at: Request | None = None
        self.first: str | None = None
        self.opened = False
        self.over = Event()
        self.lock = Lock()
        self.inner = registry.faults.inner
        registry.faults.inner = self
        registry.requests.listeners.append(self.look)

    def __call__(self, request: Request) -> Response:
        if not self.goes_ahead(request):
            assert self.over.wait(PATIENCE), f"{request.method} {request.path} has waited for long enough"
        response = self.inner(request)
        if response.status != 202 and Target.cut(request.path).kind == "uploads":
            self.opened = False  # refused: it will ask again
        if self.at is None and self.is_due(request, response):
            self.at = request
            self.expire()  # before the client has the answer: it would send the next request with the old token else
        return response

    def goes_ahead(self, request: Request) -> bool:
        """Whether the request is about the first blob, or about none."""
        target = Target.cut(request.path)
        with self.lock:
            if target.kind == "blob":
                if self.first is None and target.reference != self.config:
                    self.first = target.reference
                return target.reference == self.first
            if target.kind == "uploads":
                opened, self.opened = self.opened, True
                return not opened
        return True

    def look(self, exchange: Exchange) -> None:
        """Let the others go on, once an upload was told."""
        if self.at is not None and exchange.kind == "upload" and exchange.status != 202:
            self.over.set()
