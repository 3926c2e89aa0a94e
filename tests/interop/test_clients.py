"""What the other tests lean on: programs are found or missed aloud, their failures shown, their traces kept in."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from . import payload
from .clients import Client, Sandbox, find, find_python
from .daemon import daemon

NOISE = "sha256:8e913eb68c8c7e9fefb110704aaf8988e4be560d3c8fdbe2e09e4fe823db62c9"
TAR = "sha256:e6f871c88768b0402d842480b5c36bc26df46459306273780935638f05f815ca"


@pytest.fixture
def python(sandbox: Sandbox) -> Client:
    """A program that does what it is told: `python("print(1)")`."""
    return Client(sandbox, (sys.executable, "-c"))


def test_a_missing_program_is_a_visible_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINYREG_INTEROP", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-client is not on PATH"):
        find("no-such-client")


def test_a_missing_program_is_a_failure_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYREG_INTEROP", "require")
    with pytest.raises(pytest.fail.Exception, match=r"no-such-client is not on PATH: \.ci/install-clients"):
        find("no-such-client")


def test_programs_are_found_where_the_installer_puts_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/installed").touch(0o755)
    monkeypatch.setenv("TINYREG_TOOLS", str(tmp_path))
    assert find("installed") == str(tmp_path / "bin/installed")


def test_a_python_is_found_that_has_the_modules_and_is_missed_aloud(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TINYREG_TOOLS", str(tmp_path))
    monkeypatch.setenv("TINYREG_INTEROP", "require")
    with pytest.raises(pytest.fail.Exception, match=r"python has no json: \.ci/install-clients"):
        find_python("json")
    (tmp_path / "python/bin").mkdir(parents=True)
    (tmp_path / "python/bin/python").symlink_to(sys.executable)
    assert find_python("json") == str(tmp_path / "python/bin/python")
    with pytest.raises(pytest.fail.Exception, match="python has no json and no_such_module: "):
        find_python("json", "no_such_module")
    monkeypatch.delenv("TINYREG_INTEROP")
    with pytest.raises(pytest.skip.Exception, match="no_such_module"):
        find_python("no_such_module")


def test_a_failure_shows_the_command_its_status_and_both_streams(python: Client) -> None:
    with pytest.raises(AssertionError) as caught:
        python("import sys; print('said'); sys.exit('complained')")
    for part in (sys.executable, "ended with status 1", "--- stdout\nsaid", "--- stderr\ncomplained"):
        assert part in str(caught.value)


def test_a_success_where_a_refusal_is_due_fails_the_test(python: Client) -> None:
    with pytest.raises(AssertionError, match="ended with status 0"):
        python.refused("print('all is well')")


def test_a_program_that_hangs_is_ended_with_what_it_started(python: Client, tmp_path: Path) -> None:
    code = f"import subprocess; subprocess.run(['sh', '-c', 'echo $$ > {tmp_path}/pid; sleep 60'])"
    done = python.run(code, timeout=1.0)
    assert done.status is None
    assert "did not end in time" in str(done)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_hang_is_no_refusal(python: Client) -> None:
    with pytest.raises(AssertionError, match="did not end in time"):
        python.refused("import time; time.sleep(60)", timeout=0.5)


def test_a_program_has_the_sandbox_for_its_home(python: Client, sandbox: Sandbox) -> None:
    home = python.text("import os; print(os.path.expanduser('~'), os.environ['DOCKER_CONFIG'])")
    assert home == f"{sandbox.folder}/home {sandbox.folder}/docker"


def test_nothing_of_our_environment_reaches_a_program(python: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    assert python.text("import os; print(os.environ.get('HTTPS_PROXY'))") == "None"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write there")
def test_what_a_program_writes_to_the_system_stays_in_the_sandbox(python: Client, sandbox: Sandbox) -> None:
    python("import pathlib; pathlib.Path('/var/lib/tinyreg-was-here').write_bytes(b'x')")
    assert not Path("/var/lib/tinyreg-was-here").exists()
    assert (sandbox.folder / "private/var/lib/tinyreg-was-here").read_bytes() == b"x"


def test_a_daemon_that_does_not_start_shows_its_log(sandbox: Sandbox, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such port')"]
    with (
        pytest.raises(AssertionError, match="no such port"),
        daemon(sandbox, command, lambda: False, tmp_path / "log"),
    ):
        pass


def test_a_daemon_ends_with_its_block(sandbox: Sandbox, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    log = tmp_path / "log"
    with daemon(sandbox, command, lambda: log.read_bytes() == b"up\n", log) as process:
        assert process.poll() is None
    assert process.returncode == -15


def test_the_payload_is_the_same_on_every_run() -> None:
    image = payload.image({"etc/motd": b"hello\n"})
    assert payload.digest(payload.noise("seed", 1000)) == NOISE
    assert payload.digest(payload.tar({"etc/motd": b"hello\n"})) == TAR
    assert image == payload.image({"etc/motd": b"hello\n"})
    assert payload.untar(next(blob for blob in image.blobs.values() if blob[:2] == b"\x1f\x8b")) == {
        "etc/motd": b"hello\n"
    }


def alive(pid: int) -> bool:
    """Whether the process is still there a moment later: init needs one to take it."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except FileNotFoundError:
            return False
        time.sleep(0.02)
    return True
