"""What clients send by mistake or in bad will when they log in: the right status, nobody else hurt."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.asking import ask, basic
from tests.raw import Raw, Reply
from tests.raw import request as written
from tinyreg import Basic, Registry, Token, recorder

USERS = {"tester": "secret"}
GOOD = basic("tester", "secret")
LIST = "/v2/app/tags/list"
FORM = "application/x-www-form-urlencoded"


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


WRONG = [
    "secret",
    "Basic",
    "Basic ",
    GOOD.split()[1],
    GOOD.replace(" ", ""),
    "Basic " + base64.urlsafe_b64encode(b"\xc3\xbf\xc3\xbe:\xc3\xbf~~>>>").decode(),
    "Basic " + coded(b"tester:secre").rstrip("=") + "-_",
    "Basic " + coded(b"testers:secre").rstrip("="),  # no padding
    GOOD[:10] + " " + GOOD[10:],
    "Basic " + coded(b"tester:\xff\xfe"),
    "Basic " + coded(b"\xe4:x"),
    "Basic \xe4\xf6",
    "Basic =",
    "Basic " + coded(b"tester"),
    "Basic " + coded(b":secret"),
    "Basic " + coded(b"tester:"),
    "Basic " + coded(b"x" * 20_000),
    "Bearer",
    "Bearer ",
    "Bearer .",
    "Bearer ..",
    "Bearer a.b.c",
    "Bearer \xe4\xf6.\xfc",
    "Bearer " + "x" * 60_000,
    "Bearer " + "." * 30_000,
    "Negotiate x",
    ",",
]


@pytest.fixture(params=[Basic, Token])
def registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    with Registry(auth=request.param(USERS)) as registry:
        registry.push_image("app:1")
        yield registry
        assert registry.errors == []


def raw(registry: Registry) -> Raw:
    return Raw("127.0.0.1", registry.port)


@pytest.mark.parametrize("value", WRONG, ids=lambda value: ascii(value[:30]))
def test_credentials_that_can_not_be_read_are_401_with_the_challenge(registry: Registry, value: str) -> None:
    usual = ask(registry, "/v2/").headers["WWW-Authenticate"].split(",")[0]
    with raw(registry) as client:
        client.send(request(registry, "GET", LIST, [("Authorization", value)]))
        answer = client.read()
        assert (answer.status, answer.codes) == (401, ["UNAUTHORIZED"])
        assert answer.headers["www-authenticate"].split(",")[0] == usual
        assert "***" in registry.requests[-1].headers["Authorization"]
        # The same connection goes on.
        client.send(request(registry, "GET", "/v2/", [("Authorization", value)]))
        assert client.read().status == 401


def request(registry: Registry, method: str, target: str, headers: Any = (), body: Any = None) -> bytes:
    return written(method, target, headers, body, host=registry.host)


def test_the_challenge_for_unreadable_credentials_is_the_realms_own_and_can_be_rewritten() -> None:
    with Registry(auth=Basic(USERS, realm="mine", challenge=str.upper)) as registry:
        for value in ("Basic %%", basic("tester", "wrong")):
            answer = ask(registry, "/v2/", Authorization=value)
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'BASIC REALM="MINE"')


def test_a_name_without_a_colon_is_nobody_even_where_the_password_is_empty() -> None:
    with Registry(auth={"open": ""}) as registry:
        for text, status in ((b"open", 401), (b"open:", 200)):
            assert ask(registry, "/v2/", Authorization=f"Basic {coded(text)}").status == status


@pytest.mark.parametrize("value", [each for each in WRONG if each.startswith("Basic ")], ids=lambda v: ascii(v[:30]))
def test_the_token_service_refuses_what_it_can_not_read(value: str) -> None:
    with Registry(auth=Token(USERS, anonymous="pull")) as registry:
        with raw(registry) as client:
            client.send(request(registry, "GET", "/token", [("Authorization", value)]))
            answer = client.read()
        assert (answer.status, answer.codes) == (401, ["UNAUTHORIZED"])
        assert answer.headers["www-authenticate"] == 'Basic realm="tinyreg"'
        assert registry.errors == []
        # A negative control: nobody in particular is served.
        assert ask(registry, "/token").status == 200


@pytest.mark.parametrize(
    "scope",
    [
        "",
        ":",
        "::",
        ":" * 5000,
        "repository",
        "repository:",
        "repository::",
        "repository:app",
        "repository:app:",
        "repository::pull",
        "repository:app:PULL",
        "repository:app:pull;push",
        "repository:app:,pull",
        "repository():app:pull",
        "Repository:app:pull",
        "repository:app:" + "pull," * 2000 + "!",
        "répository:app:pull",
        "\x00",
        "a" * 30_000,
        "registry:other:*",
        "unknown:app:pull",
    ],
    ids=lambda scope: ascii(scope[:30]),
)
def test_a_scope_of_a_wrong_shape_gives_a_token_that_opens_nothing(scope: str) -> None:  # K5, K6
    with Registry(auth=Token(USERS)) as registry:
        query = urlencode({"service": "tinyreg", "scope": scope})
        got = ask(registry, f"/token?{query}", Authorization=GOOD)
        assert (got.status, got.json["scope"]) == (200, "")
        assert (registry.requests[-1].asked, registry.requests[-1].granted) == (scope, "")
        bearer = f"Bearer {got.json['token']}"
        assert ask(registry, "/v2/", Authorization=bearer).status == 200
        assert ask(registry, LIST, Authorization=bearer).status == 401
        assert registry.errors == []


def test_thousands_of_scopes_are_answered() -> None:
    with Registry(auth=Token(USERS, grants={"tester": {"a*": "pull"}})) as registry:
        scopes = " ".join(f"repository:{kind}{number}:pull" for number in range(2000) for kind in "xyz")
        body = urlencode({"grant_type": "password", "username": "tester", "password": "secret"})
        asked = urlencode({"scope": f"{scopes[:40_000]} repository:app:pull,push"})
        got = ask(registry, "/token", "POST", f"{body}&{asked}".encode(), Content_Type=FORM)
        assert (got.status, got.json["scope"]) == (200, "repository:app:pull")


def test_a_name_that_is_not_ascii_is_given_and_written_in_ascii() -> None:
    with Registry(auth=Token(USERS)) as registry:
        got = ask(registry, f"/token?{urlencode({'scope': 'repository:äpp:pull'})}", Authorization=GOOD)
        assert (got.status, got.json["scope"], got.body.isascii()) == (200, "repository:äpp:pull", True)


PASSWORD = "grant_type=password&username=tester&password=secret"


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (FORM, PASSWORD, 200),
        (f"{FORM}; charset=utf-8", PASSWORD, 200),  # K7
        (FORM.upper(), PASSWORD, 200),
        ("application/json", PASSWORD, 401),
        ("application/json", '{"grant_type": "password"}', 401),
        (None, PASSWORD, 401),
        (FORM, "", 401),
        (FORM, "&&&===", 401),
        (FORM, "\xff\x00%ff%zz", 401),
        (FORM, PASSWORD.replace("grant_type", "type"), 401),
        (FORM, PASSWORD.replace("=password&", "=Password&"), 401),
        (FORM, PASSWORD.replace("username", "user"), 401),
        (FORM, PASSWORD.replace("&password=secret", ""), 401),
        (FORM, PASSWORD.replace("secret", ""), 401),
        (FORM, "grant_type=refresh_token", 401),
        (FORM, "grant_type=refresh_token&refresh_token=", 401),
        (FORM, "grant_type=refresh_token&refresh_token=%e4.%f6", 401),
        (FORM, "grant_type=refresh_token&refresh_token=a.b.c", 401),
        (FORM, "grant_type=authorization_code&code=x", 401),
        (FORM, PASSWORD + "&x=" + "y" * 70_000, 401),
    ],
    ids=lambda value: ascii(value)[:40],
)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_a_form_is_refused_unless_it_is_a_good_one(kind: str | None, body: str, status: int, chunked: bool) -> None:
    with Registry(auth=Token(USERS)) as registry:
        data = body.encode("latin-1")
        pieces = [data[at : at + 1000] for at in range(0, len(data), 1000)]
        with raw(registry) as client:
            headers = [("Content-Type", kind)] if kind else []
            client.send(request(registry, "POST", "/token", headers, pieces if chunked else data))
            answer: Reply = client.read()
        assert answer.status == status
        if status == 401:
            assert (answer.codes, "token" in answer.json) == (["UNAUTHORIZED"], False)
        else:
            assert answer.json["access_token"]
        assert registry.errors == []


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_of_the_token_service_are_405_with_allow(method: str) -> None:  # K6, K7
    with Registry(auth=Token(USERS)) as registry:
        answer = ask(registry, "/token", method, Authorization=GOOD)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST")
        assert answer.body == b"" if method == "HEAD" else answer.json["errors"][0]["code"] == "UNSUPPORTED"


def test_without_token_auth_there_is_no_token_service() -> None:
    for auth in (None, Basic(USERS)):
        with Registry(auth=auth) as registry:
            assert ask(registry, "/token", Authorization=GOOD).status == 404


def test_a_flood_of_logins_is_refused_one_by_one_while_others_are_served(registry: Registry) -> None:
    threads, each = 6, 60
    statuses: list[int] = []
    go = threading.Barrier(threads + 1)

    def flood(number: int) -> None:
        go.wait()
        with raw(registry) as client:
            for attempt in range(each):
                wrong = [("Authorization", basic("tester", f"{number}-{attempt}"))]
                for target in ("/v2/", "/token") if isinstance(registry.auth, Token) else ("/v2/", LIST):
                    client.send(request(registry, "GET", target, wrong))
                    statuses.append(client.read().status)

    attackers = [threading.Thread(target=flood, args=(number,)) for number in range(threads)]
    for thread in attackers:
        thread.start()
    go.wait()
    served = [login(registry) for _ in range(20)]
    for thread in attackers:
        thread.join(30)
    assert served == [200] * 20
    assert statuses == [401] * threads * each * 2
    assert len(registry.requests.where(status=401)) >= len(statuses)
    assert login(registry) == 200
    assert registry.store.repositories() == ["app"]


def login(registry: Registry) -> int:
    """What a good user's list of tags is answered."""
    if isinstance(registry.auth, Token):
        got = ask(registry, "/token?scope=repository:app:pull", Authorization=GOOD).json["token"]
        return ask(registry, LIST, Authorization=f"Bearer {got}").status
    return ask(registry, LIST, Authorization=GOOD).status


def test_what_a_flood_leaves_behind_is_bounded(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "KEPT", 50)
    before = {name: sized(value) for name, value in vars(registry.auth).items()}
    with raw(registry) as client:
        for attempt in range(200):
            client.send(request(registry, "GET", "/v2/", [("Authorization", basic(f"user{attempt}", "x"))]))
            assert client.read().status == 401
    assert len(registry.requests) == 50
    assert {name: sized(value) for name, value in vars(registry.auth).items()} == before


def sized(value: Any) -> Any:
    """What a thing keeps, by the number of its things."""
    inner = getattr(value, "__dict__", {})
    return {name: len(each) for name, each in inner.items() if hasattr(each, "__len__")}
