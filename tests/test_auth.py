"""Who may do what, over HTTP: Basic, Token, ReadOnly (SPEC K)."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.asking import Answer, ask, basic
from tinyreg import Basic, ReadOnly, Registry, Token
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


def test_the_challenge_can_be_made_odd() -> None:
    with serve(Basic(USERS, challenge=lambda text: f"{text}, Negotiate")) as registry:
        assert ask(registry, "/v2/").headers["WWW-Authenticate"] == 'Basic realm="tinyreg", Negotiate'
    with serve(Token(USERS, challenge=lambda text: "Bearer")) as registry:
        assert ask(registry, "/v2/").headers["WWW-Authenticate"] == "Bearer"


def test_no_secret_is_in_the_log() -> None:
    with serve(USERS) as registry:
        ask(registry, "/v2/", Authorization=GOOD)
        assert registry.requests[-1].headers["Authorization"] == "Basic ***"
        assert GOOD.split()[1] not in repr(list(registry.requests))


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
    shared = Tokens()
    with serve(Token(USERS, tokens=shared)) as one, serve(Token(USERS)) as other:
        good = bearer(one, "repository:app:pull")
        assert ask(other, LIST, **good).status == 401
        with serve(Token(USERS, tokens=shared, realm=f"{one.url}/token")) as third:
            assert f'realm="{one.url}/token"' in ask(third, LIST).headers["WWW-Authenticate"]
            assert ask(third, LIST, **good).status == 200


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
