"""Which requests are meant: the words that the log, the faults and the tests all select by; nothing is done to them."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from .routes import KINDS, Target


@dataclass(frozen=True)
class Selector:
    """Requests of a `method` and `kind`, whose `repository` and `reference` match shell patterns; None means any.

    Raises ValueError for a kind that does not exist.
    """

    method: str | None = None
    kind: str | None = None
    repository: str | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise ValueError(f"kind={self.kind!r}: the kinds of request are {', '.join(KINDS)}")
        if self.method is not None and self.method != self.method.upper():
            raise ValueError(f"method={self.method!r}: methods are upper case, {self.method.upper()!r}")

    def matches(self, method: str, target: Target) -> bool:
        """Whether a request with this method and path is meant."""
        return (
            self.method in (None, method)
            and self.kind in (None, target.kind)
            and (self.repository is None or fnmatchcase(target.name, self.repository))
            and (self.reference is None or fnmatchcase(target.reference, self.reference))
        )
