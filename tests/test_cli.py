"""`python -m tinyreg`: one line when it is ready, one line when it can't be."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tinyreg import Registry, cli

ROOT = Path(__file__).parent.parent
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts `python -m tinyreg` with arguments; every process is over when the test is."""
    processes: list[subprocess.Popen[str]] = []

    def run(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tinyreg", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**{k: v for k, v in os.environ.items() if not k.startswith("TINYREG_")}, **environment},
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def ready(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("tinyreg ready at http://127.0.0.1:"), process.communicate()
    return line.split()[-1]


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_when_it_is_ready_and_a_signal_ends_it_with_status_0(start: Start, number: signal.Signals) -> None:
    process = start("--port", "0")
    url = ready(process)
    assert get(f"{url}/v2/") == b"{}"
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, "")
    assert err.splitlines()[0].startswith("200 GET /v2/ ")


def test_quiet_says_nothing_of_requests(start: Start) -> None:
    process = start("--port", "0", "--quiet")
    get(f"{ready(process)}/v2/")
    process.terminate()
    assert process.communicate(timeout=10) == ("", "")


def test_the_ready_file_holds_the_url_before_the_line_is_printed(start: Start, tmp_path: Path) -> None:
    process = start("--port", "0", "--ready-file", str(tmp_path / "ready"))
    url = ready(process)
    assert (tmp_path / "ready").read_text() == f"{url}\n"


def test_a_path_keeps_content_for_the_next_process(start: Start, tmp_path: Path) -> None:
    first = start(str(tmp_path / "data"), "--port", "0")
    request = urllib.request.Request(
        f"{ready(first)}/v2/app/manifests/1",
        data=b'{"schemaVersion":2}',
        method="PUT",
        headers={"Content-Type": "application/vnd.oci.image.manifest.v1+json"},
    )
    urllib.request.urlopen(request, timeout=10).close()
    first.kill()
    second = start(str(tmp_path / "data"), "--port", "0")
    assert json.loads(get(f"{ready(second)}/v2/app/tags/list")) == {"name": "app", "tags": ["1"]}


def test_the_environment_stands_in_for_flags_and_a_flag_wins(start: Start) -> None:
    process = start("--port", "0", TINYREG_PORT="1", TINYREG_QUIET="1")
    get(f"{ready(process)}/v2/")
    process.terminate()
    assert process.communicate(timeout=10) == ("", "")


def test_without_flags_it_is_in_memory_on_port_5000_of_loopback() -> None:
    options = cli.parse([], {})
    assert (options.path, options.host, options.port, options.quiet) == (None, "127.0.0.1", 5000, False)


def one_line(start: Start, *arguments: str) -> str:
    process = start(*arguments)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err.count("\n")) == (2, "", 1), err
    return err


def test_a_port_in_use_is_one_line_that_says_what_to_do(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        err = one_line(start, "--port", str(port))
    assert err == f"tinyreg: can't listen on 127.0.0.1 port {port}: Address already in use; --port 0 takes a free one\n"


def test_a_store_that_is_no_folder_is_one_line(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert one_line(start, str(tmp_path / "file")) == f"tinyreg: {tmp_path / 'file'}: File exists\n"


@pytest.mark.parametrize(
    "arguments", [["--prot", "1"], ["--port", "http"], ["--port", "65536"], ["--port", "-1"], ["a", "b"]]
)
def test_a_bad_flag_is_one_line_that_names_it(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.parse(arguments, {})
    err = capsys.readouterr().err
    assert exit_.value.code == 2
    assert err.startswith("tinyreg: ")
    assert arguments[-1] in err or arguments[0] in err
    assert err.count("\n") == 1


def test_main_serves_until_told_and_returns_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The signal handlers, without a process around them."""
    handlers: dict[int, Callable[..., None]] = {}
    monkeypatch.setattr(signal, "signal", lambda number, handler: handlers.update({number: handler}))
    monkeypatch.setattr(cli, "_TICK", 0.01)
    ready_file, over = tmp_path / "ready", threading.Event()

    def stop_when_ready() -> None:
        while not ready_file.exists() and not over.wait(0.01):
            pass
        handlers[signal.SIGTERM]()

    stopper = threading.Thread(target=stop_when_ready)
    stopper.start()
    try:
        assert cli.main(["--port", "0", "--ready-file", str(ready_file)]) == 0
    finally:
        over.set()
        stopper.join()
    assert capsys.readouterr().out.startswith("tinyreg ready at http://127.0.0.1:")


def test_main_returns_2_where_the_port_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert cli.main(["--port", str(taken.getsockname()[1]), "--quiet"]) == 2
    assert "--port 0 takes a free one" in capsys.readouterr().err


def test_main_takes_the_arguments_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tinyreg", "--version"])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 0


def test_a_request_is_logged_in_one_printable_line(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        get(f"{registry.url}/v2/%0d%0aX/tags/list")
    error.value.close()
    cli.log(registry.requests[-1])
    assert capsys.readouterr().err.startswith("400 GET /v2/\\r\\nX/tags/list ")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "registry.example"])
def test_it_warns_where_anybody_on_the_network_may_push(host: str) -> None:  # CWE-306
    assert "anybody who can reach" in (cli.warning(Registry(host=host), host) or "")
    assert cli.warning(Registry(host=host, auth={"a": "b"}), host) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_it_does_not_warn_on_loopback(host: str) -> None:
    assert cli.warning(Registry(host=host), host) is None


def test_the_warning_is_a_line_on_stderr(start: Start) -> None:
    process = start("--port", "0", "--host", "0.0.0.0", "--quiet")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("tinyreg ready at ")
    process.terminate()
    assert process.communicate(timeout=10)[1].startswith("tinyreg: anybody who can reach 0.0.0.0 may push")
