"""How long a mode goes on, what it counts, and how it fails: with what repeats it."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class Broken(AssertionError):
    """An invariant does not hold; the message has the seed and the case."""


@dataclass
class Run:
    """A mode's budget: so many `requests`, or `seconds`, whichever ends first; `first` is the case to begin with.

    Each case has a random generator of its own, made of the seed and its number, so that one alone can be repeated.
    """

    seed: int = 0
    requests: int | None = None
    seconds: float | None = None
    first: int = 0
    done: int = 0
    """Requests so far."""
    case: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    figures: dict[str, str] = field(default_factory=dict)
    """What a mode has measured."""
    began: float = field(default_factory=time.monotonic)

    def cases(self) -> Iterator[random.Random]:
        """A generator for each case, until the budget is used up."""
        self.case = self.first
        while not self.over():
            yield random.Random(f"{self.seed}/{self.case}")
            self.case += 1

    def over(self) -> bool:
        """Whether the budget is used up."""
        if self.requests is not None and self.done >= self.requests:
            return True
        return self.seconds is not None and time.monotonic() - self.began >= self.seconds

    def count(self, status: int | str, requests: int = 1) -> None:
        """Requests were made, and answered so."""
        self.done += requests
        self.answers[str(status)] += requests

    @contextmanager
    def guarded(self, mode: str, what: Callable[[], str] = str) -> Iterator[None]:
        """Failures in the block say how to repeat them."""
        try:
            yield
        except Exception as error:
            again = f"python -m tests.fuzz {mode} --seed {self.seed} --first {self.case} --requests 1"
            raise Broken(f"{again}\n{what()}\n{type(error).__name__}: {error}") from error

    def __str__(self) -> str:
        seconds = time.monotonic() - self.began
        answers = ", ".join(f"{count} × {status}" for status, count in sorted(self.answers.items()))
        lines = [f"{self.done} requests in {seconds:.1f} s, {self.case + 1 - self.first} cases; {answers}"]
        return "\n".join(lines + [f"  {name}: {value}" for name, value in self.figures.items()])
