"""A small client, as people write them: pulls with retry, resumes, checks digests, follows paging.

Each kind of care is a method of its own, so that the tests can show what happens without it.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import time
import urllib.error
import urllib.request

ATTEMPTS = 4


class Client:
    """Pulls from the registry at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def tags(self, repository: str) -> list[str]:
        """Every tag, page by page."""
        found: list[str] = []
        path = f"/v2/{repository}/tags/list?n=2"
        while path:
            with self.open(path) as answer:
                found += json.load(answer)["tags"]
                path = self.next_page(answer.headers.get("Link", ""))
        return found

    def blob(self, repository: str, digest: str) -> bytes:
        """The blob, resumed where the connection broke, and what its digest says."""
        data = b""
        for _ in range(ATTEMPTS):
            try:
                with self.open(f"/v2/{repository}/blobs/{digest}", self.resume(data)) as answer:
                    data += answer.read()
                break
            except http.client.IncompleteRead as error:
                data += error.partial
        self.check(data, digest)
        return data

    def open(self, path: str, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
        """A GET, asked again while the registry says that it is too busy."""
        for _ in range(ATTEMPTS):
            try:
                answer: http.client.HTTPResponse = urllib.request.urlopen(
                    urllib.request.Request(self.url + path, headers=headers or {}), timeout=10
                )
                return answer
            except urllib.error.HTTPError as error:
                error.close()
                if not self.may_retry(error.code):
                    raise
                time.sleep(float(error.headers.get("Retry-After", "1")))
        raise TimeoutError(f"{path}: still too busy after {ATTEMPTS} attempts")

    def may_retry(self, status: int) -> bool:
        """Whether to ask again."""
        return status in (429, 503)

    def resume(self, data: bytes) -> dict[str, str]:
        """The header that asks for the rest."""
        return {"Range": f"bytes={len(data)}-"} if data else {}

    def check(self, data: bytes, digest: str) -> None:
        """Refuse what is not what was asked for."""
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
            raise ValueError(f"{digest} is corrupt")

    def next_page(self, link: str) -> str:
        """The path of the next page, if there is one."""
        match = re.match(r'<([^>]+)>; rel="next"', link)
        return match[1] if match else ""
