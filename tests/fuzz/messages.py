"""Requests as bytes: proper ones, and what becomes of them when somebody, or the network, has been at them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.raw import chunked

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "get", "G@T", "", "X" * 300]
TARGETS = [
    "/",
    "/v2/",
    "*",
    "/v2/a/tags/list?n=1&last=b",
    "http://x/v2/",
    "/%00%zz%e2%82",
    "//x",
    "/" + "a/" * 200,
    "?a=b",
]
FIELDS = [
    ("Host", "x"),
    ("Host", "y"),
    ("Content-Length", "5"),
    ("Content-Length", "0"),
    ("Content-Length", "-1"),
    ("Content-Length", "5, 5"),
    ("Content-Length", "99999999999999999999"),
    ("Transfer-Encoding", "chunked"),
    ("Transfer-Encoding", "gzip, chunked"),
    ("Connection", "close"),
    ("Connection", "keep-alive"),
    ("Expect", "100-continue"),
    ("Expect", "200-ok"),
    ("X-Long", "v" * 300),
    ("Range", "bytes=0-"),
    ("Cookie", "\xe9\xff"),
    ("Bad Name", "x"),
    ("", "x"),
]
JUNK = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"\xff",
    b"\x16\x03\x01",
    b"0\r\n\r\n",
    b"%",
    b"HTTP/1.1",
    b";",
    b",",
    b"5",
]


def message(random: random.Random) -> bytes:
    """A request, mostly proper."""
    odd = random.random() < 0.3
    method = random.choice(METHODS if odd else METHODS[:6])
    target = random.choice(TARGETS if odd else TARGETS[:2])
    version = random.choice(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/1.10", "http/1.1", ""]) if odd else "HTTP/1.1"
    fields = [FIELDS[0]]
    if odd:
        fields += random.choices(FIELDS, k=random.choice([0, 1, 2, 5, 150]))
        random.shuffle(fields)
    body = random.choice([b"", b"", b"hello", b"x" * 3000, b"x" * 300_000 if random.random() < 0.02 else b"abc"])
    if body and random.random() < 0.5:
        fields.append(("Content-Length", str(len(body))))
    elif body:
        fields.append(("Transfer-Encoding", "chunked"))
        cut = random.randrange(len(body) + 1)
        body = chunked([part for part in (body[:cut], body[cut:]) if part], random.choice([b"", b"", b"A: b\r\n"]))
    lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def mutated(random: random.Random, data: bytes) -> bytes:
    """`data` with a few bytes flipped, dropped, doubled, or put in."""
    found = bytearray(data)
    for _ in range(random.choice([0, 1, 1, 2, 4])):
        at = random.randrange(len(found) + 1)
        what = random.randrange(6)
        if what == 0 and at < len(found):
            found[at] ^= 1 << random.randrange(8)
        elif what == 1:
            del found[at : at + random.choice([1, 1, 2, 20])]
        elif what == 2:
            found[at:at] = random.choice(JUNK)
        elif what == 3:
            found[at:at] = found[at : at + random.choice([1, 10, 100])]
        elif what == 4:
            del found[at:]
        else:
            found[at : at + 1] = bytes([random.randrange(256)])
    return bytes(found)


def pieces(random: random.Random, data: bytes, size: int | None) -> Iterator[bytes]:
    """`data` in pieces of `size` bytes, or of any."""
    at = 0
    while at < len(data):
        step = size or random.choice([1, 2, 3, 7, 50, 1000, 70_000])
        yield data[at : at + step]
        at += step
