"""What a browser may ask: nothing for another site, nor under a name that is not ours; who else asks is not its matter.

A page that a developer looks at can send requests to a registry on the developer's machine, and read what it answers
where it has made its own name resolve to that machine (CWE-352, CWE-346, CWE-350: DNS rebinding). Browsers mark what
they send, and a page can't take the marks off; clients of registries send none of them.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from .errors import Denied
from .refusal import refusal
from .wire import Handler, Request, Response

_MARKS = frozenset(("sec-fetch-site", "origin"))
_OURS = ("same-origin", "none")
"""`Sec-Fetch-Site` of a page of our own, and of an address that somebody typed."""


class OwnOrigin:
    """Refuses with 403 what a browser sends for another site's page, and lets everything else through to `inner`.

    That is a request with a `Sec-Fetch-Site` other than `same-origin` and `none`, or with an `Origin` that is not the
    `Host` asked. Over plain HTTP, a browser has to ask for an IP address, `localhost`, or the name `host` that the
    registry was given: by any other name it may have been led here. Clients that are no browsers may use any name.
    """

    def __init__(self, inner: Handler, host: str = "") -> None:
        self.inner = inner
        self.host = host.lower()

    def __call__(self, request: Request) -> Response:
        """The inner Handler's answer, or 403."""
        headers = request.headers
        if not headers.has_any(_MARKS) and not headers.get("user-agent", "").startswith("Mozilla/"):
            return self.inner(request)
        site, origin, host = headers.get("sec-fetch-site"), headers.get("origin"), headers.get("host", "")
        if site not in (None, *_OURS) or (origin is not None and not _same(origin, host)):
            return refusal(Denied("a page of another site asks: a browser may not do that here"))
        if not request.secure and not self._ours(host):
            return refusal(Denied("a browser may ask by IP address or localhost: this name may have been rebound"))
        return self.inner(request)

    def _ours(self, host: str) -> bool:
        name = _hostname(host)
        return name in ("localhost", self.host) or name.endswith(".localhost") or _is_address(name)


def _same(origin: str, host: str) -> bool:
    """Whether an Origin, `scheme://host[:port]` or `null`, is of the host that was asked (RFC 6454 §7)."""
    scheme, mark, authority = origin.lower().partition("://")
    default = {"http": ":80", "https": ":443"}.get(scheme)
    return bool(mark) and default is not None and authority.removesuffix(default) == host.lower().removesuffix(default)


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # brackets that are no address
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
