"""No secret is in the log, in a message or in an answer, wherever a client put it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.asking import ask, basic
from tests.raw import Raw
from tinyreg import Basic, ReadOnly, Registry, Token, cli, mask
from tinyreg.server import Server, StopTimeout
from tinyreg.tokens import Claims, Tokens
from tinyreg.users import Users
from tinyreg.wire import Request, Response

SECRET = "s3cr3t-of-nobody"
USERS = {"tester": SECRET}
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (f"Basic {SECRET}", "Basic ***"),
        (f"bearer {SECRET}", "bearer ***"),
        (f"Basic  {SECRET}", "Basic ***"),
        (SECRET, "***"),  # no scheme
        (f"{SECRET} Basic", "***"),
        (f"Basic\t{SECRET}", "***"),
        ("", "***"),
    ],
)
def test_of_a_secret_field_only_a_known_scheme_is_shown(value: str, shown: str) -> None:
    assert mask.field(value) == shown


@pytest.mark.parametrize("name", ["Authorization", "Proxy-Authorization", "COOKIE", "X-Registry-Auth"])
@pytest.mark.parametrize("value", [SECRET, f"Basic {SECRET}", f"Bearer {SECRET}", f"a={SECRET}"])
def test_secret_header_fields_are_masked_in_the_log_and_others_are_not(
    registry: Registry, name: str, value: str
) -> None:
    with Raw(*registry.host.split(":")) as raw:  # type: ignore[arg-type]
        raw.ask("GET", "/v2/", {name: value, "X-Other": "kept"})
    headers = registry.requests[-1].headers
    assert (headers["X-Other"], headers[name][-3:]) == ("kept", "***")
    assert SECRET not in repr(list(registry.requests))


@pytest.mark.parametrize("name", ["token", "access_token", "refresh_token", "password", "Token", "client_secret"])
def test_secrets_in_a_query_are_masked_in_the_log_and_the_rest_is_kept(registry: Registry, name: str) -> None:
    ask(registry, f"/v2/?{name}={SECRET}&{name}=x{SECRET}&scope=a")
    assert registry.requests[-1].query == {name: ["***", "***"], "scope": ["a"]}
    assert SECRET not in repr(list(registry.requests))
    assert SECRET not in registry.requests.table()


def test_no_password_or_token_is_left_anywhere_after_logins(capsys: pytest.CaptureFixture[str]) -> None:
    with Registry(auth=Token(USERS)) as registry:
        registry.requests.listeners.append(cli.log)
        good = basic("tester", SECRET)
        asked = "/token?service=tinyreg&offline_token=true&scope=repository:app:pull"
        got = ask(registry, asked, Authorization=good).json
        secrets = [SECRET, good.split()[1], got["token"], got["refresh_token"]]
        ask(registry, f"/token?password={SECRET}&token={got['token']}", Authorization=good)
        ask(registry, "/token", Authorization=basic("tester", SECRET + "x"))
        ask(registry, f"/v2/?token={got['token']}", Authorization=f"Bearer {got['token']}")
        ask(registry, "/v2/", Authorization=f"Bearer {got['token']}x")
        ask(registry, "/v2/", Authorization=got["token"])
        for form in (
            f"grant_type=password&username=tester&password={SECRET}",
            f"grant_type=refresh_token&refresh_token={got['refresh_token']}",
            f"grant_type=password&username=tester&password={SECRET}x",
            f"grant_type=refresh_token&refresh_token={got['refresh_token']}x",
        ):
            answer = ask(registry, "/token", "POST", form.encode(), Content_Type=FORM)
            if answer.status == 200:
                secrets.append(answer.json["access_token"])
            else:
                assert not any(secret.encode() in answer.body for secret in secrets)
        assert [each.status for each in registry.requests] == [200, 200, 401, 200, 401, 401, 200, 200, 401, 401]
        shown = [
            repr(list(registry.requests)),
            registry.requests.table(),
            repr(registry.auth),
            repr(registry.errors),
            capsys.readouterr().err,
        ]
    assert "200 GET /token" in shown[-1]
    for text in shown:
        assert [secret for secret in secrets if secret in text] == []


def test_a_refusal_does_not_repeat_what_was_sent() -> None:
    for auth in (Basic(USERS), Token(USERS)):
        with Registry(auth=auth) as registry:
            for value in (f"Basic {SECRET}", basic("tester", f"{SECRET}!"), f"Bearer {SECRET}", SECRET):
                for path in ("/v2/", "/v2/app/tags/list", "/token"):
                    answer = ask(registry, f"{path}?password={SECRET}", Authorization=value)
                    assert SECRET not in f"{answer.headers}{answer.body!r}"


def test_a_location_repeats_nothing_of_the_query() -> None:
    with Registry() as registry:
        answer = ask(registry, f"/v2/app/blobs/uploads/?token={SECRET}", "POST")
        assert (answer.status, SECRET in answer.headers["Location"]) == (202, False)


def test_a_request_that_hangs_is_named_without_its_query() -> None:
    entered, release = threading.Event(), threading.Event()

    def hang(request: Request) -> Response:
        entered.set()
        release.wait(10)
        return Response()

    server = Server(hang)
    server.start()
    with Raw("127.0.0.1", server.server_port) as raw:
        raw.send(f"GET http://u:{SECRET}@x/v2/a%0Ab?token={SECRET} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert entered.wait(5)
        threads = list(server._threads.values())
        with pytest.raises(StopTimeout) as caught:
            server.stop(timeout=0.02)
        release.set()
        for thread in threads:
            thread.join(5)
    assert str(caught.value) == "still being answered after 0.02 s: GET /v2/a\\nb"


@pytest.mark.parametrize(
    "thing",
    [
        Basic(USERS),
        Token(USERS),
        ReadOnly(Basic(USERS)),
        Users(USERS),
        Tokens(),
        Registry(auth=USERS),
        Claims("tester", "tinyreg"),
    ],
    ids=lambda thing: type(thing).__name__,
)
def test_the_repr_of_what_holds_a_secret_does_not_tell_it(thing: Any) -> None:
    assert SECRET not in repr(thing)


def test_the_section_in_pytests_report_has_no_secret(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        f"""
        import urllib.request

        def test_fails(registry):
            asked = urllib.request.Request(registry.url + "/v2/?token=" + "-".join(["s3cr3t", "of", "nobody"]))
            urllib.request.urlopen(asked).close()
            assert len(registry.requests) == {2}
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "conftest_plugin")
    result.stdout.fnmatch_lines(["*tinyreg http://127.0.0.1:*", "200 GET    /v2/ *"])
    assert SECRET not in result.stdout.str()


def test_a_url_is_shown_without_user_password_and_query() -> None:
    assert mask.url(f"https://u:{SECRET}@h:1/p?token={SECRET}") == "https://***@h:1/p"
    assert mask.url(f"ftp://u:{SECRET}/@@h") == "ftp://***@h"
    assert mask.url("https://h:1/p") == "https://h:1/p"
