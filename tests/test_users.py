"""Who is who: dicts and htpasswd files, and rules of who may do what."""

from __future__ import annotations

import hmac
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bcrypt
import pytest

from tests.asking import ask, basic
from tinyreg import Basic, Registry
from tinyreg.scope import Scope
from tinyreg.users import NOBODY, Rules, Users


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What passwords were compared with."""
    seen: list[bytes] = []
    real: Callable[[bytes, bytes], bool] = hmac.compare_digest

    def compare(stored: bytes, given: bytes) -> bool:
        seen.append(stored)
        return real(stored, given)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    return seen


@pytest.mark.parametrize("prefix", ["2a", "2b", "2y"])
def test_a_real_bcrypt_entry_lets_its_user_in_and_nobody_else(tmp_path: Path, prefix: str) -> None:
    entry = bcrypt.hashpw("sécret".encode(), bcrypt.gensalt(4)).decode().replace("$2b$", f"${prefix}$")
    (tmp_path / "htpasswd").write_text(f"tester:{entry}\nplain:sécret\n", encoding="utf-8")
    with Registry(auth=Basic(tmp_path / "htpasswd")) as registry:
        for name, password, status in (
            ("tester", "sécret", 200),
            ("plain", "sécret", 200),
            ("tester", "secret", 401),
            ("tester", entry, 401),
            ("tester", "x" * 100, 401),  # longer than any that bcrypt has
            ("tester", "\x00", 401),
            ("nobody", "sécret", 401),
        ):
            assert ask(registry, "/v2/", Authorization=basic(name, password)).status == status
        assert registry.errors == []


def test_a_damaged_bcrypt_entry_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text("tester:$2y$05$abc\n")
    assert not Users(tmp_path / "htpasswd").knows("tester", "$2y$05$abc")


def test_names_and_passwords_are_compared_in_constant_time_for_unknown_names_too(compared: list[bytes]) -> None:
    users = Users({"tester": "secret"})
    assert [users.knows(*pair) for pair in (("tester", "secret"), ("tester", "x"), ("x", "secret"), ("x", NOBODY))] == [
        True,
        False,
        False,
        False,
    ]
    assert compared == [b"secret", b"secret", NOBODY.encode(), NOBODY.encode()]


def test_an_unknown_name_costs_as_much_as_a_bcrypt_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[bytes] = []

    def checkpw(given: bytes, stored: bytes) -> bool:
        checked.append(stored)
        return True

    monkeypatch.setitem(sys.modules, "bcrypt", SimpleNamespace(checkpw=checkpw))
    (tmp_path / "htpasswd").write_text("a:plain\nb:$2y$05$b\n")
    assert not Users(tmp_path / "htpasswd").knows("nobody", "x")
    assert checked == [b"$2y$05$b"]


@pytest.mark.parametrize("entry", ["$1$salt$x", "$5$salt$x", "$6$salt$x", "$apr1$x$y", "{SSHA}x", "$argon2id$v=19$x"])
def test_hashes_of_other_programs_are_refused_and_not_taken_as_passwords(tmp_path: Path, entry: str) -> None:
    (tmp_path / "htpasswd").write_text(f"tester:{entry}\n")
    with pytest.raises(ValueError, match="line 1: write name:password") as caught:
        Users(tmp_path / "htpasswd")
    assert entry not in str(caught.value)


@pytest.mark.parametrize("password", ["$20", "$", "{x}", "a:b", " "])
def test_plain_entries_may_look_odd(tmp_path: Path, password: str) -> None:
    (tmp_path / "htpasswd").write_text(f"tester:{password}\n")
    assert Users(tmp_path / "htpasswd").knows("tester", password.strip())


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_bytes(b"a:\xff\n")
    with pytest.raises(ValueError, match="an htpasswd file is text, in UTF-8"):
        Users(tmp_path / "htpasswd")
    with pytest.raises(FileNotFoundError):
        Users(tmp_path / "missing")


@pytest.mark.parametrize("name", ["", "a:b"])
def test_a_name_that_basic_can_not_write_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="without a colon"):
        Users({name: "x"})


@pytest.mark.parametrize(
    ("grants", "name", "asked", "granted"),
    [
        ({"team/*": "pull,push"}, "team/app", "pull,push", "pull,push"),
        ({"team/*": "pull, push"}, "team/a/b", "push", "push"),
        ({"team/*": "pull"}, "other", "pull", ""),
        ({"team/*": "pull", "team/app": "push"}, "team/app", "pull,push,delete", "pull,push"),
        ({"*": "*"}, "x", "*", "pull,push,delete,*"),
        ({"*": "pull"}, "x", "*", "pull"),
        ({}, "x", "pull", ""),
    ],
)
def test_rules_are_a_pattern_of_repositories_and_a_user(
    grants: dict[str, str], name: str, asked: str, granted: str
) -> None:
    rules = Rules({"tester": grants})
    wanted = Scope("repository", name, frozenset(asked.split(",")))
    assert rules.granted("tester", wanted).actions == frozenset(granted.split(",")) - {""}
    everything = {"pull", "push", "delete", "*"} if asked == "*" else set(asked.split(","))
    assert rules.granted("somebody", wanted).actions == everything
    assert rules.granted(None, wanted).actions == frozenset()


@pytest.mark.parametrize("words", [{"anonymous": "pul"}, {"anonymous": {"*": "x"}}, {"grants": {"t": {"*": "Pull"}}}])
def test_an_action_that_there_is_none_of_is_refused(words: Any) -> None:
    with pytest.raises(ValueError, match="actions are pull, push, delete and"):
        Basic({}, **words)
