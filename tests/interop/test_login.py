"""Real clients that log in, push, pull and leave, where anonymous users may only pull; the README's table of logins.

What a client can't do stands in a table here, and is asserted: where it learns to, the tables are to be changed, and
the README's with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tinyreg import Basic, Registry, Token
from tinyreg.recorder import Exchange
from tinyreg.routes import Target
from tinyreg.scope import Scope
from tinyreg.wire import Request, Response

from .clients import Done, Sandbox
from .expiry import Expiry
from .visitors import CONFIG, VISITORS, Dxf, Visitor

Cell = tuple[str, str, str]
Visit = Callable[[str, str, str], Visitor]

USERS = {"tester": "secret"}
AUTHS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "Basic": lambda: Basic(USERS, anonymous="pull"),
    "Token": lambda: Token(USERS, anonymous="pull"),
}
# With its first token, which is for looking whether a blob is there, it asks for a wider one only where it reads 403.
OWN: dict[tuple[str, str], Callable[[], Any]] = {
    ("oras_python", "Token"): lambda: Token(USERS, anonymous="pull", denied=403)
}
SCHEMES = ("plain", "TLS")
README = Path(__file__).parents[2] / "README.md"
NAMES = {"oras_python": "oras for Python", "dxf": "python-dxf"}  # in the README, where they are not those of fixtures

# What these say when they should push with a good name and password, and can't.
CANNOT: dict[Cell, str] = {
    ("dxf", "Basic", "plain"): "Auth requires HTTPS",
    ("dxf", "Token", "plain"): "Auth requires HTTPS",
}
CELLS = [(who, auth, scheme) for who in VISITORS for auth in AUTHS for scheme in SCHEMES]
GUARDED = [cell for cell in CELLS if cell[1] != "none" and cell not in CANNOT]

# What a client says of a wrong password: of the login, or of the push where the login asks nobody.
WRONG = {
    "docker": r"failed with status: 401 Unauthorized|unauthorized: wrong name or password",
    "podman": r"logging into .*: invalid username/password",
    "skopeo": r"logging into .*: invalid username/password",
    "buildah": r"logging into .*: invalid username/password",
    "crane": r"401 Unauthorized|UNAUTHORIZED: wrong name or password",
    "regctl": r"failed to ping registry .*: unauthorized",
    "oras": r"unauthorized: wrong name or password",
    "helm": r"response status code 401: unauthorized: wrong name or password",
    "oras_python": r"wrong name or password|Cannot respond to request for authentication",
    "dxf": r"DXFUnauthorizedError: unauthorized",
}
LOGIN_ASKS_NOBODY = {"crane", "oras_python", "dxf"}

# docker wants credentials wherever the base asks for Basic ones, before it asks whether they are needed.
NEEDS_A_LOGIN_TO_PULL = {("docker", "Basic")}

# Whether a client asks for a new token, and finishes, when its token runs out before the next blob's upload is opened,
# and when that happens after an upload was opened, and before the blob is sent.
RENEWS: dict[str, tuple[bool, bool]] = {
    "docker": (False, False),
    "podman": (False, False),
    "skopeo": (False, False),
    "buildah": (False, False),
    "crane": (True, False),
    "regctl": (False, False),
    "oras": (True, False),
    "helm": (True, False),
    "dxf": (True, False),
    "oras_python": (False, False),
}
# What the others of them say: those that do ask for a new token have nothing left of the blob to send with it.
GIVES_UP = {
    "crane": "file already closed",
    "oras_python": "the token is not good",
    "dxf": "400 Client Error",
    "regctl": "unauthorized|digest mismatch",
}
# Its HTTP library opens the file of a blob anew where it was read to the end and not closed yet, which is rare. It is
# held to the whole image then.
MAY_BE_LUCKY = {("crane", 1)}
# What finds credentials and CA in the folder of `docker_config` by environment variables alone.
LIVE_ON_A_FOLDER = ["docker", "podman", "skopeo", "buildah", "crane", "regctl", "oras", "helm"]


@pytest.fixture
def visit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Visit]:
    """Makes a visitor by its name, of a registry with that auth and scheme; it trusts nobody yet."""
    registries = []

    def make(who: str, auth: str, scheme: str) -> Visitor:
        client = request.getfixturevalue(who)
        registries.append(Registry(auth=OWN.get((who, auth), AUTHS[auth])(), tls=scheme == "TLS").start())
        (tmp_path / "visitor").mkdir()
        return VISITORS[who](client, registries[-1], tmp_path / "visitor")

    yield make
    for registry in registries:
        registry.stop()
        assert registry.errors == []


@pytest.fixture
def trusting(visit: Visit, tmp_path: Path) -> Visit:
    """As `visit`; it trusts the registry's CA."""

    def make(who: str, auth: str, scheme: str) -> Visitor:
        visitor = visit(who, auth, scheme)
        if visitor.secure:
            visitor.trust(Path(visitor.registry.docker_config(tmp_path / "trusted")))
        return visitor

    return make


def fine(done: Done | None) -> None:
    assert done is None or done.status == 0, str(done)


def refused(done: Done | None, says: str = "") -> None:
    """It failed, by itself, and said so."""
    assert done is not None
    assert done.status, str(done)
    assert re.search(says, (done.stdout + done.stderr).decode(errors="replace")), str(done)


def pushers(registry: Registry) -> set[str | None]:
    """Who pushed manifests."""
    return {each.user for each in registry.requests.where(method="PUT", kind="manifest", status=201)}


@pytest.mark.parametrize(("who", "auth", "scheme"), [cell for cell in CELLS if cell not in CANNOT])
def test_after_a_login_a_client_pushes_and_after_its_logout_it_only_pulls(
    trusting: Visit, who: str, auth: str, scheme: str
) -> None:
    visitor = trusting(who, auth, scheme)
    fine(visitor.login("tester", "secret"))
    fine(visitor.push("team/app"))
    assert pushers(visitor.registry) == {None if auth == "none" else "tester"}
    fine(visitor.pull("team/app"))
    visitor.logout()
    if auth == "none":
        fine(visitor.push("other/app"))
    else:
        refused(visitor.push("other/app"))
        assert not [name for name in visitor.registry.repositories() if name.startswith("other")]
    if (who, auth) in NEEDS_A_LOGIN_TO_PULL:
        refused(visitor.pull("team/app"))
    else:
        fine(visitor.pull("team/app"))


@pytest.mark.parametrize(("who", "auth", "scheme"), CANNOT)
def test_what_a_client_cannot_do_it_still_cannot(trusting: Visit, who: str, auth: str, scheme: str) -> None:
    visitor = trusting(who, auth, scheme)
    fine(visitor.login("tester", "secret"))
    refused(visitor.push("team/app"), CANNOT[who, auth, scheme])
    assert visitor.registry.repositories() == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_oras_for_python_stays_with_its_first_token_where_too_little_is_answered_401(
    trusting: Visit, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.delitem(OWN, ("oras_python", "Token"))
    visitor = trusting("oras_python", "Token", scheme)
    fine(visitor.login("tester", "secret"))
    refused(visitor.push("team/app"), "the token does not allow repository:team/app:pull,push")
    visitor.use(ORAS_TOKEN=token_to_push(visitor.registry))
    fine(visitor.push("team/app"))
    assert pushers(visitor.registry) == {"tester"}


def test_dxf_pushes_over_plain_http_with_a_token_that_it_is_given(trusting: Visit) -> None:
    visitor = trusting("dxf", "Token", "plain")
    assert isinstance(visitor, Dxf)
    refused(visitor.push("team/app"), CANNOT["dxf", "Token", "plain"])
    visitor.use(DXF_TOKEN=token_to_push(visitor.registry))
    fine(visitor.push_blobs("team/app"))
    fine(visitor.pull("team/app"))
    stored = visitor.registry.requests.where(kind="upload", method="PUT", status=201)
    assert {each.user for each in stored} == {"tester"}


def token_to_push(registry: Registry) -> str:
    scope = Scope("repository", "team/app", frozenset({"pull", "push"}))
    token: str = registry.auth.issue("tester", [scope], "tinyreg")[0]
    return token


@pytest.mark.parametrize(("who", "auth", "scheme"), GUARDED)
def test_a_wrong_password_is_refused_in_the_clients_own_words(
    trusting: Visit, who: str, auth: str, scheme: str
) -> None:
    visitor = trusting(who, auth, scheme)
    login = visitor.login("tester", "wrong")
    if who in LOGIN_ASKS_NOBODY:
        fine(login)
        refused(visitor.push("team/app"), WRONG[who])
    else:
        refused(login, WRONG[who])
        refused(visitor.push("team/app"))
    assert visitor.registry.repositories() == []


@pytest.mark.parametrize("who", VISITORS)
def test_a_certificate_that_nobody_vouched_for_is_refused(visit: Visit, who: str) -> None:
    visitor = visit(who, "none", "TLS")
    if who == "docker":  # whose engine believes whatever a loopback address shows
        fine(visitor.push("team/app"))
    else:
        refused(visitor.push("team/app"), r"(?i)certificate.*(unknown authority|verify failed)")
        assert visitor.registry.repositories() == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("auth", ["Basic", "Token"])
@pytest.mark.parametrize("who", LIVE_ON_A_FOLDER)
def test_a_folder_and_environment_variables_are_all_a_client_needs(
    visit: Visit, sandbox: Sandbox, tmp_path: Path, who: str, auth: str, scheme: str
) -> None:
    lives_on_a_folder(visit(who, auth, scheme), tmp_path / "folder", sandbox.folder / "home")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_oras_for_python_needs_a_folder_and_a_parameter(
    visit: Visit, sandbox: Sandbox, tmp_path: Path, scheme: str
) -> None:
    lives_on_a_folder(visit("oras_python", "Basic", scheme), tmp_path / "folder", sandbox.folder / "home")


def lives_on_a_folder(visitor: Visitor, folder: Path, home: Path) -> None:
    """It pushes and pulls with what `docker_config` writes, and not without; it changes nothing there or at home."""
    refused(visitor.push("team/app"))
    visitor.registry.docker_config(folder, user="tester")
    before = below(home), below(folder)
    visitor.live_on(folder)
    fine(visitor.push("team/app"))
    fine(visitor.pull("team/app"))
    assert pushers(visitor.registry) == {"tester"}
    assert (below(home), below(folder)) == before


def below(folder: Path) -> dict[Path, bytes]:
    """The files in there, and what is in them."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def is_stored(request: Request, response: Response) -> bool:
    """Whether a blob is through."""
    return (Target.cut(request.path).kind, request.method, response.status) == ("upload", "PUT", 201)


def is_opened(request: Request, response: Response) -> bool:
    """Whether an upload is open, and nothing of the blob sent yet."""
    return (Target.cut(request.path).kind, response.status) == ("uploads", 202)


@pytest.mark.parametrize("ending", ["expired", "too old"])
@pytest.mark.parametrize(("moment", "is_due"), [(0, is_stored), (1, is_opened)], ids=["between blobs", "within a blob"])
@pytest.mark.parametrize("who", RENEWS)
def test_a_token_that_ends_in_the_middle_of_a_push_is_renewed_by_those_that_can(
    trusting: Visit, who: str, moment: int, is_due: Callable[[Request, Response], bool], ending: str
) -> None:
    visitor = trusting(who, "Token", "TLS")
    registry = visitor.registry
    fine(visitor.login("tester", "secret"))
    end = registry.auth.expire if ending == "expired" else lambda: registry.auth.advance(301)
    expiry = Expiry(registry, CONFIG, is_due, end)
    pushed = visitor.push("team/app")
    assert expiry.at is not None, str(pushed)
    assert [each for each in registry.requests if 'error="invalid_token"' in challenge(each)], str(pushed)
    if RENEWS[who][moment] or ((who, moment) in MAY_BE_LUCKY and pushed.status == 0):
        fine(pushed)
        fine(visitor.pull("team/app"))
    else:
        refused(pushed, GIVES_UP.get(who, "unauthorized"))
        assert pushers(registry) == set()


def challenge(exchange: Exchange) -> str:
    return str(exchange.response_headers.get("WWW-Authenticate", ""))


def test_the_readme_has_what_the_tables_here_say() -> None:
    text = README.read_text().partition("## Logins")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    told = {row[0]: ["✓" in cell for cell in row[1:]] for row in rows[1:]}
    assert told == {
        NAMES.get(who, who): [
            *((who, auth, scheme) not in CANNOT for scheme in SCHEMES for auth in AUTHS),
            *RENEWS[who],
        ]
        for who in VISITORS
    }
