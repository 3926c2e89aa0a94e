"""Answers that go wrong on purpose: a Handler around another; what a right answer is it does not know.

Names are toxiproxy's (latency, jitter, bandwidth, limit_data, reset_peer) and WireMock's (empty, garbage) where they
have one. A fault stands between the client and the registry: it can lose an answer, never change what is stored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from threading import Condition, Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from .content import CHUNK, Content, FileSlice
from .errors import RegistryError
from .refusal import refusal
from .routes import Target
from .selector import Selector
from .wire import Abort, Disconnected, Handler, Headers, Request, Response

if TYPE_CHECKING:
    import random

GARBAGE = b"\x00\x01tinyreg: this is no HTTP\r\n\xff\xfe\r\n"
_LOOK = 0.05
"""Seconds between two looks whether a client that waits is still there."""

Edit = Callable[[Request, Response], Response | None]
_Piece = TypeVar("_Piece", bound=Content)
Act = Callable[["Fault", Request, Handler], Response]

_CODES = {401: "UNAUTHORIZED", 403: "DENIED", 405: "UNSUPPORTED", 416: "RANGE_INVALID", 429: "TOOMANYREQUESTS"} | {
    503: "UNAVAILABLE"
}


_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("code", "message", "digest", "redirect"), (str,)),
    **dict.fromkeys(("status", "limit_data"), (int,)),
    **dict.fromkeys(("latency", "jitter", "bandwidth"), (float, int)),
    "headers": (Mapping,),
}
"""What the words of a fault that are no switches have to be."""


@dataclass(frozen=True)
class Effect:
    """What a fault does: one thing at most, and `latency` before it. See `Faults.add`."""

    status: int | None = None
    code: str | None = None
    message: str | None = None
    headers: Mapping[str, str] | None = None
    latency: float | None = None
    jitter: float | None = None
    bandwidth: float | None = None
    limit_data: int | None = None
    reset_peer: bool | None = None
    corrupt: bool | None = None
    digest: str | None = None
    stall: bool | None = None
    redirect: str | None = None
    garbage: bool | None = None
    empty: bool | None = None
    edit: Edit | None = None
    hold: bool | None = None

    def __post_init__(self) -> None:
        for name, kinds in _KINDS.items():
            value = getattr(self, name)
            if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
                raise TypeError(f"{name}={value!r}: {kinds[0].__name__}, not {type(value).__name__}")
        named = [name for name in ACTS if self._asked(name)]
        if self.reset_peer and self.limit_data is not None:
            named.remove("limit_data")
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)} in one fault: add one fault for each")
        if not named and self.latency is None:
            raise ValueError(f"a fault needs something to do: latency or one of {', '.join(ACTS)}")
        for name, needed in (("code", "status"), ("message", "status"), ("headers", "status"), ("jitter", "latency")):
            if getattr(self, name) is not None and getattr(self, needed) is None:
                raise ValueError(f"{name} needs {needed}")
        if self.status is not None and self.status < 400 and (self.code is not None or self.message is not None):
            raise ValueError(f"code and message need an error's status, not {self.status}")
        if self.edit is not None and not callable(self.edit):
            raise TypeError(f"edit={self.edit!r}: a function of the request and the right answer")
        said = [("Location", self.redirect or ""), ("Docker-Content-Digest", self.digest or "")]
        Headers([*(self.headers or {}).items(), *said]).lines()  # a line break is told now, not when it is sent
        for name in ("latency", "jitter", "limit_data"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name}={getattr(self, name)}: less than nothing")
        if self.bandwidth is not None and self.bandwidth <= 0:
            raise ValueError(f"bandwidth={self.bandwidth}: bytes a second, more than 0")
        if self.status is not None and not 200 <= self.status <= 599:
            raise ValueError(f"status={self.status}: an answer's status is from 200 to 599")

    @property
    def act(self) -> Act:
        """The one thing it does beside waiting."""
        return next((act for name, act in ACTS.items() if self._asked(name)), _pass)

    def _asked(self, name: str) -> bool:
        value = getattr(self, name)
        return value is not None and value is not False


class Fault:
    """A fault that was added; `hits` counts the requests it acted on. As a context manager it is removed at the end."""

    def __init__(self, owner: Faults, selector: Selector, effect: Effect, limits: Limits, words: str) -> None:
        self.selector = selector
        self.effect = effect
        self.hits = 0
        self._owner = owner
        self._limits = limits
        self._words = words
        self._changed = Condition()
        self._released = False
        self._arrived = 0
        import random  # which brings OpenSSL: not before there is a fault

        self.random = random.Random(limits.seed)  # noqa: S311 - repeatable is what is wanted

    def __str__(self) -> str:
        return self._words

    def __enter__(self) -> Fault:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Act no more, and let go of what waits. May be called again."""
        self._owner.remove(self)

    def takes(self, request: Request, target: Target) -> bool:
        """Whether it acts on this request, which is counted."""
        if not self.selector.matches(request.method, target):
            return False
        with self._changed:
            acts = self._limits.count(self.random)
            self.hits += acts
        return acts

    def answer(self, request: Request, inner: Handler) -> Response:
        """The answer, gone wrong."""
        if self.effect.latency is not None:
            spread = self.effect.jitter or 0.0
            self.pause(request, max(0.0, self.effect.latency + self.random.uniform(-spread, spread)))
        return self.effect.act(self, request, inner)

    def arrive(self, request: Request) -> None:
        """Wait until released or removed, and let `wait` know. Raises Disconnected where the client leaves."""
        with self._changed:
            self._arrived += 1
            self._changed.notify_all()
        self.pause(request)

    def pause(self, request: Request, seconds: float | None = None) -> None:
        """Wait so long, or until released or removed. Raises Disconnected where the client leaves meanwhile."""
        deadline = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            while not self._released:
                left = _LOOK if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    return
                if request.gone():
                    raise Disconnected
                self._changed.wait(min(left, _LOOK))

    def wait(self, timeout: float = 5.0, count: int = 1) -> None:
        """Until `count` requests have arrived at it and wait. Raises TimeoutError after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._arrived >= count, timeout):
                raise TimeoutError(f"{self._arrived} of {count} requests arrived at {self} within {timeout:g} s")

    def release(self) -> None:
        """Let the requests that wait go on, and those that would have waited, too."""
        with self._changed:
            self._released = True
            self._changed.notify_all()


@dataclass
class Limits:
    """Which of the requests that match are acted on."""

    times: int | None = None
    after: int = 0
    probability: float = 1.0
    seed: int = 0
    seen: int = field(default=0, init=False)
    acted: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            raise ValueError(f"times={self.times}: such a fault never acts")
        if self.after < 0:
            raise ValueError(f"after={self.after}: less than nothing")
        if not 0 < self.probability <= 1:
            raise ValueError(f"probability={self.probability}: more than 0, and 1 at most")

    def count(self, source: random.Random) -> bool:
        """Whether the next request that matches is acted on."""
        self.seen += 1
        if self.seen <= self.after or self.acted == self.times:
            return False
        if self.probability < 1 and source.random() >= self.probability:
            return False
        self.acted += 1
        return True


class Faults:
    """The Handler that lets the first fault that matches a request answer it; without one, `inner` does."""

    def __init__(self, inner: Handler) -> None:
        self.inner = inner
        self._faults: list[Fault] = []
        self._lock = Lock()

    def __call__(self, request: Request) -> Response:
        """The answer, of a fault or of `inner`."""
        if self._faults:
            target = Target.cut(request.path)
            for fault in list(self._faults):
                if fault.takes(request, target):
                    request.fault = fault
                    return fault.answer(request, self.inner)
        return self.inner(request)

    def add(
        self,
        *,
        method: str | None = None,
        kind: str | None = None,
        repository: str | None = None,
        reference: str | None = None,
        times: int | None = None,
        after: int = 0,
        probability: float = 1.0,
        seed: int = 0,
        **effect: Any,
    ) -> Fault:
        """Let requests that match the first four go wrong: the first `times` of them, not the first `after`, a
        repeatable share of `probability`.

        What happens is one of: `status` (with `code`, `message`, `headers`), `bandwidth` (bytes a second, either way),
        `limit_data` (the answer's body ends after so many bytes), `reset_peer` (at once, or after `limit_data` bytes
        read, or sent where there are none to read), `corrupt` (one byte of the body), `digest` (in place of the true
        one), `stall` (after half of the body), `redirect` (a URL; one without a path gets the request's), `garbage`,
        `empty`, `edit` (a function of the request and the right answer), `hold` (until `release`). Before it, or
        alone: `latency` (seconds, plus or minus `jitter`).

        Raises TypeError for an unknown word and ValueError for a fault that makes no sense.
        """
        words = {"method": method, "kind": kind, "repository": repository, "reference": reference, "times": times}
        said = {**effect, **{name: value for name, value in words.items() if value is not None}}
        text = " ".join(f"{name}={getattr(value, '__name__', value)}" for name, value in said.items())
        selector = Selector(method, kind, repository, reference)
        fault = Fault(self, selector, Effect(**effect), Limits(times, after, probability, seed), text)
        with self._lock:
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Let `fault` act no more."""
        with self._lock, suppress(ValueError):
            self._faults.remove(fault)
        fault.release()

    def clear(self) -> None:
        """Remove them all."""
        for fault in list(self._faults):
            self.remove(fault)

    def assert_all_hit(self) -> None:
        """Raise AssertionError where a fault has not acted, naming each."""
        if missed := [str(fault) for fault in self._faults if not fault.hits]:
            raise AssertionError(f"faults that no request met: {'; '.join(missed)}")

    def __iter__(self) -> Iterator[Fault]:
        return iter(list(self._faults))

    def __len__(self) -> int:
        return len(self._faults)


def _pass(fault: Fault, request: Request, inner: Handler) -> Response:
    return inner(request)


def _status(fault: Fault, request: Request, inner: Handler) -> Response:
    effect, status = fault.effect, fault.effect.status or 0
    if status < 400:
        return Response(status, Headers((effect.headers or {}).items()))
    error = RegistryError(effect.message or f"a fault answers {status}", headers=effect.headers)
    error.status, error.code = status, effect.code or _CODES.get(status, error.code)
    return refusal(error)


def _bandwidth(fault: Fault, request: Request, inner: Handler) -> Response:
    rate = fault.effect.bandwidth or 1.0
    step = max(1, int(rate * _LOOK))

    def slowly(pieces: Iterable[_Piece]) -> Iterator[_Piece]:
        for piece in pieces:
            fault.pause(request, len(piece) / rate)
            yield piece

    request.body.tap = slowly
    response = inner(request)
    return _with_body(response, slowly(_pieces(response.body, step)))


def _limit_data(fault: Fault, request: Request, inner: Handler) -> Response:
    response = inner(request)
    return _with_body(response, _first(_pieces(response.body), fault.effect.limit_data or 0))


def _reset_peer(fault: Fault, request: Request, inner: Handler) -> Response:
    limit = fault.effect.limit_data
    if limit is None:
        return Response(0, body=_reset(), raw=True)
    if request.body.size == 0:
        response = inner(request)
        return _with_body(response, chain(_first(_pieces(response.body), limit), _reset()))
    request.body.tap = lambda pieces: chain(_first(pieces, limit), _reset())
    try:
        return inner(request)
    except Abort:
        return Response(0, body=_reset(), raw=True)


def _corrupt(fault: Fault, request: Request, inner: Handler) -> Response:
    response = inner(request)
    return _with_body(response, _flipped(_pieces(response.body), response.size // 2))


def _digest(fault: Fault, request: Request, inner: Handler) -> Response:
    response = inner(request)
    response.headers["Docker-Content-Digest"] = fault.effect.digest or ""
    return response


def _stall(fault: Fault, request: Request, inner: Handler) -> Response:
    response = inner(request)
    if response.size == 0 or request.method == "HEAD":
        fault.arrive(request)
        return response
    return _with_body(response, _halved(fault, request, response.body, response.size // 2))


def _halved(fault: Fault, request: Request, body: Content | Iterable[Content], half: int) -> Iterator[Content]:
    rest = _pieces(body, max(1, half))
    if half:
        yield next(rest)
    fault.arrive(request)
    yield from rest


def _redirect(fault: Fault, request: Request, inner: Handler) -> Response:
    location = fault.effect.redirect or ""
    if urlsplit(location).path in ("", "/"):
        location = location.rstrip("/") + request.target
    return Response(307, Headers([("Location", location)]))


def _garbage(fault: Fault, request: Request, inner: Handler) -> Response:
    return Response(0, body=GARBAGE, raw=True)


def _empty(fault: Fault, request: Request, inner: Handler) -> Response:
    return Response(0, raw=True)


def _edit(fault: Fault, request: Request, inner: Handler) -> Response:
    response = inner(request)
    changed = fault.effect.edit(request, response) if fault.effect.edit else None
    return response if changed is None else changed


def _hold(fault: Fault, request: Request, inner: Handler) -> Response:
    fault.arrive(request)
    return inner(request)


ACTS: dict[str, Act] = {
    "status": _status,
    "bandwidth": _bandwidth,
    "reset_peer": _reset_peer,  # before `limit_data`, which it can be given with
    "limit_data": _limit_data,
    "corrupt": _corrupt,
    "digest": _digest,
    "stall": _stall,
    "redirect": _redirect,
    "garbage": _garbage,
    "empty": _empty,
    "edit": _edit,
    "hold": _hold,
}


def _with_body(response: Response, body: Iterator[Content]) -> Response:
    """The answer with another body behind a head that says nothing of it."""
    if response.size:
        response.headers["Content-Length"] = str(response.size)
        response.body = body
    return response


def _pieces(body: Content | Iterable[Content], step: int = CHUNK) -> Iterator[Content]:
    """A body in pieces of `step` bytes at most."""
    for part in [body] if isinstance(body, (bytes, memoryview, FileSlice)) else body:
        for at in range(0, len(part), step):
            yield part[at : at + step]


def _first(pieces: Iterable[_Piece], count: int) -> Iterator[_Piece]:
    """The first `count` bytes of it."""
    if count <= 0:
        return
    for piece in pieces:
        yield piece[:count]  # type: ignore[misc]  # a piece of a Content is one
        count -= len(piece)
        if count <= 0:  # asking for one more could wait for a client that sends no more
            return


def _flipped(pieces: Iterable[Content], position: int) -> Iterator[Content]:
    """It with one byte changed."""
    for piece in pieces:
        if 0 <= position < len(piece):
            data = bytearray(bytes(piece))
            data[position] ^= 0xFF
            piece = bytes(data)
        position -= len(piece)
        yield piece


def _reset() -> Iterator[Any]:
    raise Abort(reset=True)
    yield  # what makes this an iterator
