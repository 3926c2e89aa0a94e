"""`python -m tinyreg`: one line when it is ready, one line when it can't be."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bcrypt
import pytest
import trustme

from tests.asking import basic
from tinyreg import Registry, cli
from tinyreg.options import FLAGS, parse
from tinyreg.server import StopTimeout

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
    options = parse([], {})
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
        parse(arguments, {})
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
    assert list(tmp_path.iterdir()) == []


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


# Flags


def served(start: Start, *arguments: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
    process = start("--port", "0", *arguments, **environment)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("tinyreg ready at http"), process.communicate()
    return process, line.split()[-1]


def status(url: str, method: str = "GET", context: ssl.SSLContext | None = None, **headers: str) -> int:
    asked = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=10, context=context) as answer:
            code: int = answer.status
            return code
    except urllib.error.HTTPError as error:
        with error:
            return error.code


UPLOADS = "/v2/app/blobs/uploads/"


def test_auth_lets_each_user_in_and_no_password_is_on_stderr(start: Start) -> None:
    process, url = served(start, "--auth", "one:hidden:1", "--auth", "two:hidden2", "--anonymous", "pull")
    assert status(f"{url}/v2/") == 401
    assert status(f"{url}/v2/app/tags/list") == 404
    assert status(url + UPLOADS, "POST") == 401
    for name, password in (("one", "hidden:1"), ("two", "hidden2")):
        assert status(url + UPLOADS, "POST", Authorization=basic(name, password)) == 202
    assert status(f"{url}/v2/?password=hidden2", Authorization=basic("one", "hidden2")) == 401
    process.terminate()
    out, err = process.communicate(timeout=10)
    assert (out, err.count("\n"), "hidden" in err) == ("", 6, False)


def test_token_and_htpasswd(start: Start, tmp_path: Path) -> None:
    entry = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    (tmp_path / "users").write_text(f"tester:{entry}\n")
    _, url = served(start, "--htpasswd", str(tmp_path / "users"), "--token")
    asked = urllib.request.Request(
        f"{url}/token?scope=repository:app:pull,push", headers={"Authorization": basic("tester", "secret")}
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:
        token = json.load(answer)["token"]
    assert status(url + UPLOADS, "POST", Authorization=f"Bearer {token}") == 202
    assert status(url + UPLOADS, "POST", Authorization=f"Bearer x{token}") == 401
    assert status(url + UPLOADS, "POST", Authorization=basic("tester", "secret")) == 401


def test_tls_tells_the_ca_file_on_stderr_and_removes_it(start: Start) -> None:
    process, url = served(start, "--tls", "--quiet")
    assert url.startswith("https://127.0.0.1:")
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line.startswith("tinyreg CA file: ")
    file = Path(line.partition(": ")[2].strip())
    assert status(f"{url}/v2/", context=ssl.create_default_context(cafile=file)) == 200
    process.terminate()
    assert process.communicate(timeout=10) == ("", "")
    assert not file.exists()


def test_a_certificate_of_your_own(start: Start, tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(tmp_path / "key")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    process, url = served(start, "--cert", str(tmp_path / "cert"), "--key", str(tmp_path / "key"), "--quiet")
    assert status(f"{url}/v2/", context=context) == 200
    process.terminate()
    assert process.communicate(timeout=10) == ("", "")


def test_read_only_goes_with_load_and_with_users(start: Start, tmp_path: Path) -> None:
    with Registry() as full:
        full.push_image("app:1")
        full.push_image("other:2")
        full.save(tmp_path / "one.tar", "app:1")
        full.save(tmp_path / "two", "other:2")
    load = ["--load", str(tmp_path / "one.tar"), "--load", str(tmp_path / "two")]
    _, url = served(start, "--read-only", *load)
    assert json.loads(get(f"{url}/v2/_catalog")) == {"repositories": ["app", "other"]}
    assert [status(url + UPLOADS, "POST"), status(f"{url}/v2/app/manifests/1", "DELETE")] == [403, 403]
    _, url = served(start, "--read-only", *load, "--auth", "tester:secret")
    assert status(f"{url}/v2/app/manifests/1") == 401
    assert status(f"{url}/v2/app/manifests/1", Authorization=basic("tester", "secret")) == 200
    assert status(url + UPLOADS, "POST", Authorization=basic("tester", "secret")) == 403


def test_upstream_is_asked_for_what_is_missing(start: Start, registry: Registry) -> None:
    registry.push_image("app:1")
    _, url = served(start, "--upstream", registry.url)
    assert status(f"{url}/v2/app/manifests/1") == 200
    assert len(registry.requests) > 0


def test_a_path_may_be_another_registry(start: Start, registry: Registry) -> None:
    registry.push_image("app:1")
    _, url = served(start, registry.url)
    assert json.loads(get(f"{url}/v2/app/tags/list"))["tags"] == ["1"]


EVERY = {
    "path": ("PATH", "data", "data"),
    "host": ("HOST", "::1", "::1"),
    "port": ("PORT", "1", 1),
    "auth": ("AUTH", "a:b\nc:d e", ["a:b", "c:d e"]),
    "token": ("TOKEN", "1", True),
    "anonymous": ("ANONYMOUS", "pull", "pull"),
    "read_only": ("READ_ONLY", "yes", True),
    "tls": ("TLS", "1", True),
    "cert": ("CERT", "c", "c"),
    "key": ("KEY", "k", "k"),
    "load": ("LOAD", "a b\nc", ["a b", "c"]),
    "upstream": ("UPSTREAM", "http://x", "http://x"),
    "ready_file": ("READY_FILE", "r", "r"),
    "quiet": ("QUIET", "1", True),
}


def test_every_flag_has_its_variable_and_wins_over_it() -> None:
    environment = {f"TINYREG_{name}": said for name, said, _ in EVERY.values()}
    read = vars(parse([], environment))
    assert {name: read[name] for name in EVERY} == {name: value for name, (_, _, value) in EVERY.items()}
    assert vars(parse(["--auth", "x:y", "--load", "z", "--port", "2"], environment)) == read | {
        "auth": ["x:y"],
        "load": ["z"],
        "port": 2,
    }
    assert parse([], {"TINYREG_HTPASSWD": "f"}).htpasswd == "f"
    off = parse([], {"TINYREG_TOKEN": "0", "TINYREG_TLS": "", "TINYREG_AUTH": "", "TINYREG_PORT": ""})
    assert (off.token, off.tls, off.auth, off.port) == (False, False, [], 5000)
    assert {*EVERY, "htpasswd"} == set(read)


def test_the_readme_has_every_flag() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [flag for flag, _, _ in FLAGS if f"`{flag}" not in readme] == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--auth", "hidden"], "--auth: write USER:PASSWORD"),
        (["--auth", ":hidden"], "--auth: write USER:PASSWORD"),
        (["--token"], "--token: say who has one, by --auth USER:PASSWORD or --htpasswd FILE"),
        (["--anonymous", "pull"], "--anonymous: say who has a name, by --auth USER:PASSWORD or --htpasswd FILE"),
        (["--auth", "a:hidden", "--htpasswd", "f"], "--auth and --htpasswd: give one of them"),
        (["--cert", "c"], "--cert: give its key too, by --key FILE"),
        (["--key", "k"], "--key: give its certificate too, by --cert FILE"),
        (["--upstream", "registry.example"], "--upstream registry.example: write http(s)://host[:port]"),
        (["--tok"], "unrecognized arguments: --tok"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_flags_that_make_no_sense_are_one_line_that_says_what_to_do(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse(arguments, {})
    err = capsys.readouterr().err
    assert (exit_.value.code, err) == (2, f"tinyreg: {expected} (see tinyreg --help)\n")


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that `main` says on stderr."""
    assert cli.main(["--port", "0", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err[:9]) == ("", 1, "tinyreg: ")
    return err[9:-1]


def test_what_can_not_be_used_is_one_line_that_says_what_to_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing, odd = str(tmp_path / "missing"), tmp_path / "odd"
    odd.write_text("nonsense\n")
    assert failing(capsys, "--htpasswd", missing) == f"{missing}: No such file or directory"
    assert failing(capsys, "--htpasswd", str(odd)) == f"{odd}, line 1: write name:password, plain, {{SHA}} or bcrypt"
    assert failing(capsys, "--cert", missing, "--key", str(odd)) == f"{missing}: No such file or directory"
    assert failing(capsys, "--cert", str(odd), "--key", str(odd)).startswith(f"{odd} and {odd}: no certificate and")
    assert failing(capsys, "--load", missing).startswith(missing)
    assert failing(capsys, "--load", str(odd)).startswith(f"--load {odd}: ")
    assert failing(capsys, "--load", str(tmp_path)).startswith(f"--load {tmp_path}: ")
    assert failing(capsys, "--auth", "a:b", "--anonymous", "pul").startswith("pul: actions are pull, push, delete")
    for url in ("ftp://u:hidden@x", "http://u:hidden@x:port", "https://"):
        for words in ([url], ["--upstream", url]):
            line = failing(capsys, *words)
            assert line.endswith("is no registry's URL: write http(s)://host[:port]")
            assert "hidden" not in line
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    odd.write_text("a:$2y$05$abc\n")
    assert failing(capsys, "--htpasswd", str(odd)).endswith("pip install bcrypt, or use {SHA} or plain ones")
    monkeypatch.setitem(sys.modules, "trustme", None)
    assert failing(capsys, "--tls").endswith("pip install 'tinyreg[tls]'")
    assert {path.name for path in tmp_path.iterdir()} == {"odd"}


def test_a_host_that_there_is_none_of_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = failing(capsys, "--host", "127.0.0.1.invalid")
    assert line.startswith("can't listen on 127.0.0.1.invalid port 0: ")
    assert line.endswith("; give another --host")


def test_an_unreachable_registry_to_load_into_is_one_line_without_its_password(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with Registry() as full:
        full.push_image("app:1")
        full.save(tmp_path / "app.tar", "app:1")
    line = failing(capsys, "http://u:hidden@127.0.0.1:1", "--load", str(tmp_path / "app.tar"))
    assert line.startswith(f"--load {tmp_path / 'app.tar'}: http://127.0.0.1:1 does not answer")
    assert "hidden" not in line


def test_a_request_that_hangs_at_the_end_is_named_and_the_status_is_0(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def hang(registry: Registry, ready_file: str | None) -> None:
        raise StopTimeout("still being answered after 5 s: GET /v2/")

    monkeypatch.setattr(cli, "_serve", hang)
    assert cli.main(["--port", "0"]) == 0
    assert capsys.readouterr().err == "tinyreg: still being answered after 5 s: GET /v2/\n"


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


def test_the_garbage_collector_looks_as_often_as_before_when_the_command_is_over() -> None:
    before = gc.get_threshold()
    with cli.seldom_collecting():
        assert gc.get_threshold() == (70_000, *before[1:])
    assert gc.get_threshold() == before


def test_a_ready_file_that_an_earlier_one_left_is_gone_before_and_ours_when_it_is_over(tmp_path: Path) -> None:
    ready_file = tmp_path / "ready"
    ready_file.write_text("http://127.0.0.1:1\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert cli.main(["--port", str(taken.getsockname()[1]), "--ready-file", str(ready_file)]) == 2
    assert list(tmp_path.iterdir()) == []


def test_lines_of_the_log_stay_apart_however_many_are_written_at_once(start: Start) -> None:
    process = start("--port", "0")
    url = ready(process)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: get(f"{url}/v2/"), range(400)))
    process.terminate()
    lines = process.communicate(timeout=10)[1].splitlines()
    assert len(lines) == 400
    assert all(re.fullmatch(r"200 GET /v2/ \d+ B [\d.]+ ms", line) for line in lines)
