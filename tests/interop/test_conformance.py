"""The OCI conformance program against tinyreg, with negative controls: a registry that is none, a run that was none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tinyreg import Registry

from .clients import Done, Sandbox
from .conformance import Report, read_report

PASSES = {"1.1": 690, "dev": 790}  # a few less than there are: what a run that means something has to have
DISABLED = {  # by the program itself: 1.1 of the spec has no DELETE of an upload
    "1.1": {f"OCI Conformance Test/{name} blobs/post cancel/blob-post-cancel" for name in ("sha256", "sha512")},
    "dev": set[str](),
}


class Nothing(BaseHTTPRequestHandler):
    """Answers 404 to everything, and says no word about it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002


@pytest.fixture
def nothing() -> Iterator[str]:
    """The host of a server that is no registry."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def conformance(sandbox: Sandbox, host: str, version: str) -> Done:
    """Run the program against `host`; its results go to `results` in the sandbox."""
    client = sandbox.client(
        "conformance",
        OCI_REGISTRY=host,
        OCI_TLS="disabled",
        OCI_VERSION=version,
        OCI_REPO1="conformance/one",
        OCI_REPO2="conformance/two",
        OCI_RESULTS_DIR=str(sandbox.folder / "results"),
    )
    return client.run(timeout=120)


def report(sandbox: Sandbox) -> Report:
    return read_report(sandbox.folder / "results/junit.xml")


@pytest.mark.parametrize("version", ["1.1", "dev"])
def test_no_conformance_test_fails_and_none_is_skipped(served: Registry, sandbox: Sandbox, version: str) -> None:
    done = conformance(sandbox, served.host, version)
    found = report(sandbox)
    assert (found.failures, found.errors, found.skipped) == (0, 0, 0), str(found)
    assert set(found.others) == DISABLED[version]
    assert found.passed >= PASSES[version]
    assert done.status == 0, str(done)


def test_a_server_that_is_no_registry_fails(sandbox: Sandbox, nothing: str) -> None:
    assert conformance(sandbox, nothing, "1.1").status == 1
    found = report(sandbox)
    assert found.failures > 500
    assert any("unexpected status code" in said for said in found.others.values())


def test_a_registry_that_deletes_nothing_has_tests_skipped(sandbox: Sandbox) -> None:
    with Registry(quirks=["no-delete"]) as registry:
        conformance(sandbox, registry.host, "dev")
    found = report(sandbox)
    assert (found.failures, found.errors) == (0, 0), str(found)
    assert found.skipped > 0


def test_a_run_that_never_began_has_no_report_though_its_status_is_0(sandbox: Sandbox, nothing: str) -> None:
    assert conformance(sandbox, nothing, "no such version").status == 0
    with pytest.raises(FileNotFoundError):
        report(sandbox)


@pytest.mark.parametrize(
    "suites",
    [
        "<testsuites/>",
        '<testsuites><testcase status="passed"/><testcase status="failure"/></testsuites>',
        '<testsuites failures="1"><testcase status="passed"/></testsuites>',
        '<testsuites><testcase status="passed"/><testcase status="skipped"/></testsuites>',
        '<testsuites><testcase status="passed"/><testcase/></testsuites>',
    ],
    ids=["no test", "a failure not counted", "a failure that is none", "a skip not counted", "no status"],
)
def test_a_report_whose_counts_do_not_fit_its_tests_is_refused(tmp_path: Path, suites: str) -> None:
    (tmp_path / "junit.xml").write_text(suites)
    with pytest.raises(ValueError, match="but holds"):
        read_report(tmp_path / "junit.xml")
