"""Docker Hub's rate limit: a Handler around another that counts pulls of manifests; it keeps nothing else."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from threading import Lock

from .errors import TooManyRequests
from .refusal import refusal
from .routes import Target
from .wire import Handler, Request, Response


class RateLimit:
    """Lets each client pull `limit` manifests in `window` seconds (SPEC M1).

    A GET counts and a HEAD does not; both are told what remains. At zero the answer is 429, with Retry-After.
    """

    def __init__(
        self, inner: Handler, limit: int, window: float = 21600, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if limit < 0 or window <= 0:
            raise ValueError(f"rate_limit({limit}, window={window}): so many pulls, 0 or more, in so many seconds")
        self.inner = inner
        self.limit = limit
        self.window = window
        self._clock = clock
        self._lock = Lock()
        self._used: dict[str, tuple[float, int]] = {}

    def __call__(self, request: Request) -> Response:
        """The inner Handler's answer with what remains, or 429."""
        if request.method not in ("GET", "HEAD") or Target.cut(request.path).kind != "manifest":
            return self.inner(request)
        allowed, remaining, seconds = self._take(request.peer, 1 if request.method == "GET" else 0)
        if allowed:
            response = self.inner(request)
        else:
            retry = {"Retry-After": str(math.ceil(seconds))}
            detail = f"{self.limit} pulls in {self.window:.12g} seconds"
            response = refusal(TooManyRequests("You have reached your pull rate limit.", detail=detail, headers=retry))
        response.headers["ratelimit-limit"] = f"{self.limit};w={self.window:.12g}"
        response.headers["ratelimit-remaining"] = f"{remaining};w={self.window:.12g}"
        response.headers["docker-ratelimit-source"] = request.peer
        return response

    def _take(self, source: str, count: int) -> tuple[bool, int, float]:
        """Whether `source` may go on, what remains then, and the seconds to the end of its window."""
        now = self._clock()
        with self._lock:
            began, used = self._used.get(source, (now, 0))
            if now - began >= self.window:
                began, used = now, 0
            allowed = used + count <= self.limit
            used += count if allowed else 0
            self._used[source] = began, used
        return allowed, self.limit - used, began + self.window - now
