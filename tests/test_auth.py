"""Who may do what, over HTTP: Basic, Token, ReadOnly (SPEC K)."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.asking import Answer, ask, basic
from tinyreg import Basic, ReadOnly, Registry, Token
from tinyreg.reference import Digest
from tinyreg.scope import Scope
from tinyreg.tokens import Claims, Tokens
from tinyreg.users import Users

USERS = {"tester": "secret"}
LIST = "/v2/app/tags/list"
UPLOADS = "/v2/app/blobs/uploads/"
GOOD = basic("tester", "secret")


def serve(auth: Any) -> Registry:
    registry = Registry(auth=auth)
    registry.push_image("app:1")
    return registry


@pytest.mark.registry(auth={"tester": "secret"}, tls=True)
def test_the_marker_gives_auth_and_tls(registry: Registry) -> None:
    assert registry.url.startswith("https://")
    assert ask(registry, "/v2/", context=registry.client_context()).status == 401
    assert ask(registry, "/v2/", context=registry.client_context(), Authorization=GOOD).status == 200


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ({}, 401),
        ({"Authorization": GOOD}, 200),
        ({"Authorization": basic("tester", "wrong")}, 401),
        ({"Authorization": basic("nobody", "secret")}, 401),
        ({"Authorization": "Basic Og=="}, 401),  # K2
        ({"Authorization": "Basic %%"}, 401),
        ({"Authorization": "Basic " + base64.b64encode(b"\xff\xfe").decode()}, 401),
        ({"Authorization": "Basic " + base64.b64encode(b"nocolon").decode()}, 401),
        ({"Authorization": "Bearer x"}, 401),
    ],
    ids=str,
)
def test_basic_asks_for_a_name_and_password(authorization: dict[str, str], status: int) -> None:
    with serve(USERS) as registry:
        for path in ("/v2/", LIST):
            answer = ask(registry, path, **authorization)
            assert answer.status == status
            if status == 401:
                assert answer.headers["WWW-Authenticate"] == 'Basic realm="tinyreg"'  # K2
                assert answer.json["errors"][0]["code"] == "UNAUTHORIZED"


def test_anonymous_pull_is_allowed_but_the_base_still_challenges() -> None:  # K1
    with serve(Basic(USERS, anonymous="pull")) as registry:
        assert ask(registry, "/v2/").status == 401
        assert ask(registry, LIST).status == 200
        assert ask(registry, LIST, Authorization="Basic Og==").status == 200
        assert ask(registry, UPLOADS, "POST").status == 401
        assert ask(registry, UPLOADS, "POST", Authorization=GOOD).status == 202
        assert ask(registry, "/v2/_catalog").status == 401
        assert ask(registry, "/v2/_catalog", Authorization=GOOD).status == 200
        assert registry.requests[-1].user == "tester"


@pytest.mark.parametrize(("denied", "code"), [(403, "DENIED"), (401, "UNAUTHORIZED")])
def test_who_has_a_name_but_not_the_right_is_denied(denied: int, code: str) -> None:  # K11
    with serve(Basic(USERS, grants={"tester": {"app": "pull", "mine/*": "pull,push"}}, denied=denied)) as registry:
        assert ask(registry, LIST, Authorization=GOOD).status == 200
        answer = ask(registry, UPLOADS, "POST", Authorization=GOOD)
        assert (answer.status, answer.json["errors"][0]["code"]) == (denied, code)
        assert ask(registry, "/v2/mine/x/blobs/uploads/", "POST", Authorization=GOOD).status == 202
        assert ask(registry, "/v2/app/manifests/1", "DELETE", Authorization=GOOD).status == denied


def test_a_mount_needs_pull_on_its_source() -> None:  # K4, D12
    grants = {"tester": {"app": "pull,push", "open/*": "pull"}}
    with Registry(auth=Basic(USERS, grants=grants)) as registry:
        for name in ("open/a", "secret/a"):
            registry.push_image(f"{name}:1", layers=[{"of": name.encode()}])
        for name, status in (("open/a", 201), ("secret/a", 202)):
            digest = registry.repository(name).manifest("1").layers[0].digest
            for source in ({"from": name}, {}):
                query = urlencode({"mount": digest, **source})
                assert ask(registry, f"{UPLOADS}?{query}", "POST", Authorization=GOOD).status == status
        assert ask(registry, f"{UPLOADS}?mount={digest}&from=UPPER", "POST", Authorization=GOOD).status == 202


def test_read_only_lets_everybody_pull_and_nobody_push() -> None:
    with serve(ReadOnly()) as registry:
        assert [ask(registry, path).status for path in ("/v2/", LIST, "/v2/_catalog")] == [200, 200, 200]
        answer = ask(registry, UPLOADS, "POST")
        assert (answer.status, answer.json["errors"][0]["code"]) == (403, "DENIED")
        assert ask(registry, "/v2/app/manifests/1", "DELETE").status == 403
    with serve(ReadOnly(Basic(USERS))) as registry:
        assert ask(registry, LIST).status == 401
        assert ask(registry, UPLOADS, "POST", Authorization=GOOD).status == 403


ODD: dict[str, Callable[[str], str]] = {
    "no realm": lambda text: re.sub(r' ?realm="[^"]*",?', " ", text).strip(),
    "unknown scheme": lambda text: "Carrier-Pigeon " + text.partition(" ")[2],
    "unquoted": lambda text: text.replace('"', ""),
    "two schemes": lambda text: f"Negotiate, {text}",
}
"""Recipes: what `challenge` is given to see what clients make of an odd WWW-Authenticate header."""


@pytest.mark.parametrize("recipe", ODD)
@pytest.mark.parametrize("kind", [Basic, Token])
def test_the_challenge_can_be_made_odd(kind: Any, recipe: str) -> None:
    with serve(kind(USERS)) as usual, serve(kind(USERS, challenge=ODD[recipe])) as odd:
        for path in ("/v2/", LIST):
            plain = ask(usual, path).headers["WWW-Authenticate"].replace(usual.host, odd.host)
            answer = ask(odd, path)
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == ODD[recipe](plain) != plain
        # Whoever knows how to log in does so all the same.
        good = bearer(odd, "repository:app:pull") if kind is Token else {"Authorization": GOOD}
        assert ask(odd, LIST, **good).status == 200


@pytest.mark.parametrize(
    ("kind", "recipe", "expected"),
    [
        (Basic, "no realm", "Basic"),
        (Basic, "unknown scheme", 'Carrier-Pigeon realm="tinyreg"'),
        (Basic, "unquoted", "Basic realm=tinyreg"),
        (Basic, "two schemes", 'Negotiate, Basic realm="tinyreg"'),
        (Token, "no realm", 'Bearer service="tinyreg"'),
        (Token, "unknown scheme", 'Carrier-Pigeon realm="http://HOST/token",service="tinyreg"'),
        (Token, "unquoted", "Bearer realm=http://HOST/token,service=tinyreg"),
        (Token, "two schemes", 'Negotiate, Bearer realm="http://HOST/token",service="tinyreg"'),
    ],
)
def test_what_the_recipes_make_of_the_challenge(kind: Any, recipe: str, expected: str) -> None:
    with serve(kind(USERS, challenge=ODD[recipe])) as registry:
        assert ask(registry, "/v2/").headers["WWW-Authenticate"].replace(registry.host, "HOST") == expected


def test_read_only_finds_the_users_and_the_token_service_behind_it(tmp_path: Path) -> None:
    with serve(ReadOnly(Token(USERS, anonymous="pull"))) as registry:
        both = bearer(registry, "repository:app:pull,push")
        assert ask(registry, LIST, **both).status == 200
        refused = ask(registry, UPLOADS, "POST", **both)
        assert (refused.status, refused.json["errors"][0]["code"]) == (403, "DENIED")
        assert ask(registry, UPLOADS, "POST").status == 401
        registry.docker_config(tmp_path, user="tester")
        auths = json.loads((tmp_path / "config.json").read_bytes())["auths"]
        assert auths[registry.host]["auth"] == GOOD.split()[1]
    for nobody in (None, ReadOnly()):
        with Registry(auth=nobody) as registry, pytest.raises(KeyError, match="asks nobody for a name"):
            registry.docker_config(tmp_path, user="tester")


@pytest.mark.parametrize("kind", [Basic, Token])
def test_a_status_for_not_allowed_is_401_or_403(kind: Any) -> None:
    with pytest.raises(ValueError, match="denied=404: 401 or 403"):
        kind(USERS, denied=404)


@pytest.mark.parametrize(("denied", "code"), [(403, "DENIED"), (401, "UNAUTHORIZED")])
def test_a_token_that_does_not_reach_is_refused_as_the_keyword_says(denied: int, code: str) -> None:  # K11
    with serve(Token(USERS, denied=denied, grants={"tester": {"app": "pull"}})) as registry:
        asked = bearer(registry, "repository:app:pull,push")
        assert ask(registry, LIST, **asked).status == 200
        answer = ask(registry, UPLOADS, "POST", **asked)
        assert (answer.status, answer.json["errors"][0]["code"]) == (denied, code)
        challenge = answer.headers["WWW-Authenticate"]
        assert challenge.endswith('scope="repository:app:pull,push",error="insufficient_scope"'), challenge


@pytest.mark.parametrize("kind", [Basic, Token])
def test_where_a_blob_is_redirected_to_no_credentials_are_needed(kind: Any) -> None:  # K12, A9, C9
    with Registry() as cellar, serve(kind(USERS)) as registry:
        layer = cellar.push_image("app:1") and cellar.repository("app").manifest("1").layers[0]
        registry.faults.add(redirect=cellar.url, kind="blob")
        good = bearer(registry, "repository:app:pull") if kind is Token else {"Authorization": GOOD}
        # A client that keeps its credentials to itself, as A9 has it.
        connection = http.client.HTTPConnection(registry.host, timeout=10)
        connection.request("GET", f"/v2/app/blobs/{layer.digest}", headers=good)
        first = connection.getresponse()
        first.read()
        connection.close()
        assert (first.status, first.headers["Location"]) == (307, f"{cellar.url}/v2/app/blobs/{layer.digest}")
        with urllib.request.urlopen(first.headers["Location"], timeout=10) as answer:
            assert Digest.of(answer.read()) == layer.digest
        assert "Authorization" not in cellar.requests[-1].headers


# Token


def token(registry: Registry, *scopes: str, user: str | None = "tester", **more: str) -> Answer:
    query = urlencode([("service", "tinyreg"), *(("scope", scope) for scope in scopes), *more.items()])
    return ask(registry, f"/token?{query}", **({"Authorization": basic(user, USERS[user])} if user else {}))


def bearer(registry: Registry, *scopes: str, user: str | None = "tester") -> dict[str, str]:
    return {"Authorization": f"Bearer {token(registry, *scopes, user=user).json['token']}"}


def test_the_challenge_names_realm_service_and_what_is_needed() -> None:  # K3, K9
    with serve(Token(USERS)) as registry:
        realm = f'Bearer realm="http://{registry.host}/token",service="tinyreg"'
        assert ask(registry, "/v2/").headers["WWW-Authenticate"] == realm
        assert ask(registry, LIST).headers["WWW-Authenticate"] == f'{realm},scope="repository:app:pull"'
        push = ask(registry, UPLOADS, "POST", Authorization="Basic x")
        assert push.headers["WWW-Authenticate"] == f'{realm},scope="repository:app:pull,push"'
        odd = ask(registry, "/v2/", Host='a"b')
        assert odd.headers["WWW-Authenticate"] == 'Bearer realm="http://localhost/token",service="tinyreg"'


def test_a_token_opens_what_it_was_given_for() -> None:  # K4, K6
    with serve(Token(USERS)) as registry:
        pull = bearer(registry, "repository:app:pull")
        assert [ask(registry, path, **pull).status for path in ("/v2/", LIST)] == [200, 200]
        assert registry.requests[-1].user == "tester"
        refused = ask(registry, UPLOADS, "POST", **pull)
        assert refused.status == 401
        assert refused.headers["WWW-Authenticate"].endswith(
            'scope="repository:app:pull,push",error="insufficient_scope"'
        )
        both = bearer(registry, "repository:app:push,pull repository:other:pull")
        assert ask(registry, UPLOADS, "POST", **both).status == 202
        assert ask(registry, "/v2/_catalog", **bearer(registry, "registry:catalog:*")).status == 200
        assert ask(registry, "/v2/", **bearer(registry)).status == 200  # K8: a login without a scope


def test_the_answer_of_the_token_endpoint() -> None:  # K6
    with serve(Token(USERS, lifetime=120, grants={"tester": {"app": "pull"}})) as registry:
        answer = token(registry, "repository:app:pull,push", "repository:other:pull", "nonsense", "a:b:c:d e")
        table = answer.json
        assert (answer.status, table["token"], table["expires_in"]) == (200, table["access_token"], 120)
        assert (table["scope"], registry.requests[-1].granted) == ("repository:app:pull", "repository:app:pull")
        assert "refresh_token" not in table
        assert table["issued_at"].endswith("Z")
        assert token(registry, user=None, offline_token="true").json.get("refresh_token") is None
        assert ask(registry, "/token", Authorization=basic("tester", "wrong")).status == 401
        assert ask(registry, "/token", "PUT", b"").headers["Allow"] == "GET, POST"


def form(registry: Registry, **fields: str) -> Answer:
    return ask(registry, "/token", "POST", urlencode(fields).encode(), Content_Type="application/x-www-form-urlencoded")


def test_oauth2_by_password_and_by_refresh_token() -> None:  # K7
    with serve(Token(USERS)) as registry:
        asked = {"service": "tinyreg", "scope": "repository:app:pull"}
        first = form(registry, grant_type="password", username="tester", password="secret", **asked)
        assert (first.status, first.json["scope"], "refresh_token" in first.json) == (200, "repository:app:pull", False)
        login = form(registry, grant_type="password", username="tester", password="secret", access_type="offline")
        refresh = login.json["refresh_token"]
        again = form(registry, grant_type="refresh_token", refresh_token=refresh, **asked)
        assert again.json["refresh_token"] == refresh
        opened = ask(registry, LIST, Authorization=f"Bearer {again.json['access_token']}")
        assert opened.status == 200
        assert token(registry, offline_token="true").json["refresh_token"]
        for bad in (
            {"grant_type": "password", "username": "tester", "password": "wrong"},
            {"grant_type": "refresh_token", "refresh_token": again.json["access_token"]},
            {"grant_type": "other"},
            {},
        ):
            assert form(registry, **bad).status == 401
        assert ask(registry, "/token", "POST", b"x" * 70_000).status == 401
        assert ask(registry, LIST, Authorization=f"Bearer {refresh}").status == 401


def test_anonymous_users_get_tokens_that_pull() -> None:
    with serve(Token(USERS, anonymous="pull")) as registry:
        assert ask(registry, LIST).status == 401
        nobody = bearer(registry, "repository:app:pull,push", user=None)
        assert ask(registry, LIST, **nobody).status == 200
        assert ask(registry, UPLOADS, "POST", **nobody).status == 401
        assert registry.requests[-1].user is None


def test_tokens_run_out_and_can_be_expired() -> None:
    auth = Token(USERS, lifetime=300)
    with serve(auth) as registry:
        for end in (auth.expire, lambda: auth.advance(301)):
            good = bearer(registry, "repository:app:pull")
            assert ask(registry, LIST, **good).status == 200
            end()
            refused = ask(registry, LIST, **good)
            assert (refused.status, refused.headers["WWW-Authenticate"][-21:]) == (401, 'error="invalid_token"')


def test_a_token_of_another_registry_is_good_only_where_the_key_is_shared() -> None:
    with serve(Token(USERS)) as one, serve(Token(USERS)) as other:
        good = bearer(one, "repository:app:pull")
        assert ask(one, LIST, **good).status == 200
        refused = ask(other, LIST, **good)
        assert (refused.status, 'error="invalid_token"' in refused.headers["WWW-Authenticate"]) == (401, True)


def follow(registry: Registry, path: str) -> tuple[str, dict[str, str]]:
    """The token service's URL and query, from a registry's own challenge."""
    said = dict(re.findall(r'(\w+)="([^"]*)"', ask(registry, path).headers["WWW-Authenticate"]))
    return said.pop("realm"), said


def test_a_token_service_serves_another_registry_by_url() -> None:
    shared = Tokens()
    with (
        serve(Token(USERS, tokens=shared, service="desk", grants={"tester": {"app": "pull"}})) as desk,
        serve(Token({}, tokens=shared, service="shop", realm=f"{desk.url}/token")) as shop,
    ):
        realm, query = follow(shop, LIST)
        assert (realm, query) == (f"{desk.url}/token", {"service": "shop", "scope": "repository:app:pull"})
        got = ask(desk, f"/token?{urlencode(query)}", Authorization=GOOD).json
        good = {"Authorization": f"Bearer {got['token']}"}
        assert ask(shop, LIST, **good).status == 200
        assert (shop.requests[-1].user, desk.requests.where(kind="token")[-1].granted) == (
            "tester",
            "repository:app:pull",
        )
        assert ask(shop, UPLOADS, "POST", **good).status == 401
        # A token is good at the service it was asked for, and nowhere else.
        assert ask(desk, LIST, **good).status == 401
        own = ask(desk, "/token?service=desk&scope=repository:app:pull", Authorization=GOOD).json["token"]
        assert ask(desk, LIST, Authorization=f"Bearer {own}").status == 200
        refused = ask(shop, LIST, Authorization=f"Bearer {own}")
        assert (refused.status, 'error="invalid_token"' in refused.headers["WWW-Authenticate"]) == (401, True)
        # So is a refresh token.
        login = form(desk, grant_type="password", username="tester", password="secret", access_type="offline", **query)
        again = {"grant_type": "refresh_token", "refresh_token": login.json["refresh_token"]}
        fresh = form(desk, **again, **query)
        assert ask(shop, LIST, Authorization=f"Bearer {fresh.json['access_token']}").status == 200
        assert form(desk, **again, service="desk").status == 401
        desk.auth.expire()
        assert ask(shop, LIST, **good).status == 401


def test_a_service_of_another_name_gives_tokens_that_are_not_good_here() -> None:
    with serve(Token(USERS)) as registry:
        for service, status in (("other", 401), ("tinyreg", 200), ("", 200)):
            got = ask(registry, f"/token?service={service}&scope=repository:app:pull", Authorization=GOOD)
            assert got.status == 200
            assert ask(registry, LIST, Authorization=f"Bearer {got.json['token']}").status == status


def test_what_was_asked_and_granted_is_in_the_log_by_get_and_by_post() -> None:
    with serve(Token(USERS, grants={"tester": {"app": "pull"}})) as registry:
        token(registry, "repository:app:pull,push", "repository:other:pull", "nonsense")
        fields = {"grant_type": "password", "username": "tester", "scope": "repository:app:push,pull odd"}
        form(registry, password="secret", **fields)
        form(registry, password="wrong", **fields)
        assert [(each.user, each.asked, each.granted) for each in registry.requests.where(kind="token")] == [
            ("tester", "repository:app:pull,push repository:other:pull nonsense", "repository:app:pull"),
            ("tester", "repository:app:push,pull odd", "repository:app:pull"),
            (None, "repository:app:push,pull odd", ""),
        ]


def test_rights_asked_for_one_by_one_add_up() -> None:  # K5
    with serve(Token(USERS)) as registry:
        asked = ("repository:app:pull", "repository:app:push")
        assert ask(registry, UPLOADS, "POST", **bearer(registry, *asked)).status == 202
        assert ask(registry, UPLOADS, "POST", **bearer(registry, " ".join(reversed(asked)))).status == 202
        assert ask(registry, UPLOADS, "POST", **bearer(registry, asked[1])).status == 401
        other = bearer(registry, asked[0], "repository:other:push")
        assert ask(registry, UPLOADS, "POST", **other).status == 401


def test_a_refused_login_names_a_way_to_log_in() -> None:
    with serve(Token(USERS)) as registry:
        for answer in (ask(registry, "/token", Authorization=basic("tester", "x")), form(registry, grant_type="x")):
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="tinyreg"')
        assert ask(registry, "/token", Authorization="Basic Og==").status == 200  # K2: nobody in particular


def test_the_life_of_a_token_is_told_and_kept() -> None:  # K6
    auth = Token(USERS, lifetime=90.9)
    with serve(auth) as registry:
        auth.advance(86_400)
        table = token(registry, "repository:app:pull").json
        assert table["expires_in"] == 90
        ahead = datetime.fromisoformat(table["issued_at"].replace("Z", "+00:00")).timestamp() - time.time()
        assert 86_300 < ahead < 86_500
        good = {"Authorization": f"Bearer {table['token']}"}
        for seconds, status in ((90, 200), (1, 401), (-1, 200)):
            auth.advance(seconds)
            assert ask(registry, LIST, **good).status == status
    for lifetime in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="lifetime="):
            Token(USERS, lifetime=lifetime)
    with serve(Token(USERS, lifetime=0.5)) as registry:
        assert token(registry).json["expires_in"] == 1


def test_a_refresh_token_outlives_expire_and_the_clock() -> None:  # K8
    auth = Token(USERS)
    with serve(auth) as registry:
        refresh = token(registry, offline_token="true").json["refresh_token"]
        auth.expire()
        auth.advance(10_000)
        again = form(registry, grant_type="refresh_token", refresh_token=refresh, scope="repository:app:pull")
        assert ask(registry, LIST, Authorization=f"Bearer {again.json['access_token']}").status == 200


def test_an_altered_or_cut_token_is_not_good() -> None:
    tokens = Tokens()
    text = tokens.issue(Claims("tester", "tinyreg"))
    assert tokens.read(text, "tinyreg") == Claims("tester", "tinyreg")
    for at in range(len(text)):
        assert tokens.read(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :], "tinyreg") is None or at in (
            text.index(".") - 1,
            len(text) - 1,
        )
        assert tokens.read(text[:at], "tinyreg") is None
    assert tokens.read(text, "other") is None
    with pytest.raises(ValueError, match="lifetime=0"):
        Tokens(0)


# Scopes and users


def test_scopes_are_split_at_their_first_and_last_colon() -> None:  # K5
    scope = Scope.parse("repository(plugin):host:5000/a/b:push,pull")
    assert scope == Scope("repository", "host:5000/a/b", frozenset({"pull", "push"}))
    assert str(scope) == "repository:host:5000/a/b:pull,push"
    assert [Scope.parse(text) for text in ("", "a", "a:b", "a:b:", ":b:pull", "a:b:pull,", "a:b:PULL")] == [None] * 7
    assert str(Scope("registry", "catalog", frozenset({"odd", "*"}))) == "registry:catalog:*,odd"


def test_htpasswd_files_are_plain_sha_or_bcrypt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha = "{SHA}" + base64.b64encode(hashlib.sha1(b"two").digest()).decode()

    def checkpw(given: bytes, stored: bytes) -> bool:
        if stored.endswith(b"bad"):
            raise ValueError("damaged")
        return given == b"three"

    monkeypatch.setitem(sys.modules, "bcrypt", SimpleNamespace(checkpw=checkpw))
    file = tmp_path / "htpasswd"
    file.write_text(f"# users\n\na:one\nb:{sha}\nc:$2y$05$abc\nd:$2y$bad\n")
    users = Users(file)
    assert [users.knows(*pair) for pair in (("a", "one"), ("b", "two"), ("c", "three"))] == [True] * 3
    bad = (("a", "two"), ("b", "one"), ("c", "one"), ("d", "x"), ("e", ""))
    assert [users.knows(*pair) for pair in bad] == [False] * 5
    with pytest.raises(KeyError, match="known as a hash only"):
        users.password("a")


def test_bad_htpasswd_files_are_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "htpasswd"
    for line in ("nocolon", ":empty", "a:$apr1$x"):
        file.write_text(f"b:x\n{line}\n")
        with pytest.raises(ValueError, match="line 2: write name:password"):
            Users(file)
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    file.write_text("a:$2y$05$abc\n")
    with pytest.raises(ValueError, match="pip install bcrypt"):
        Users(file)


def test_docker_config_touches_nothing_but_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "USERPROFILE", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.chdir(home)
    with Registry(auth=USERS, tls=True) as registry:
        registry.docker_config(tmp_path / "config", user="tester")
        written = {str(path.relative_to(tmp_path / "config")) for path in (tmp_path / "config").rglob("*")}
        assert written == {
            "config.json",
            "ca.crt",
            "certs.d",
            f"certs.d/{registry.host}",
            f"certs.d/{registry.host}/ca.crt",
        }
    assert list(home.iterdir()) == []


def test_docker_config_writes_what_clients_read_and_keeps_the_rest(tmp_path: Path) -> None:
    with Registry(auth=USERS) as registry:
        (tmp_path / "config.json").write_text('{"auths": {"other": {}}, "x": 1}')
        assert registry.docker_config(tmp_path, user="tester") == str(tmp_path)
        auth = base64.b64encode(b"tester:secret").decode()
        expected = {"auths": {"other": {}, registry.host: {"auth": auth}}, "x": 1}
        assert json.loads((tmp_path / "config.json").read_bytes()) == expected
        registry.docker_config(tmp_path / "new")
        assert json.loads((tmp_path / "new" / "config.json").read_bytes()) == {"auths": {}}
        with pytest.raises(KeyError, match="user 'x' is not known: there are tester"):
            registry.docker_config(tmp_path, user="x")
