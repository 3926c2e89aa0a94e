"""Each line of the contract (API.md, "In Python" to "With pytest") runs here as it is written there; what comes of it.

Where the contract lies beside the project, as it does in CI, the last test here looks for its every line in this file.
"""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path

import pytest

from tinyreg import Registry
from tinyreg.layer import File
from tinyreg.manifest import OCI_INDEX, OCI_MANIFEST

from . import raw
from .asking import Answer, ask

CONTRACT = Path(__file__).parents[2] / "shared" / "API.md"
SECTIONS = ("In Python", "Fill it, look into it", "Watch it", "Break it", "With pytest")
MOTD = {"etc/motd": b"hello\n"}
BIG = 20_000  # bytes of a layer, more than any fault here lets through
LIE = "sha256:" + "0" * 64


class TestInPython:
    def test_a_registry_listens_when_the_line_is_done(self) -> None:
        with Registry() as registry:
            port = registry.port
            assert registry.url == f"http://127.0.0.1:{port}"
            assert registry.host == f"127.0.0.1:{port}"
            assert registry.ref("team/app:1.0") == f"127.0.0.1:{port}/team/app:1.0"
            assert ask(registry, "/v2/").status == 200

    def test_start_and_stop_may_be_called_twice(self) -> None:
        registry = Registry()
        assert registry.start() is registry.start()
        before = threading.active_count()
        registry.stop()
        registry.stop()
        assert threading.active_count() < before
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", registry.port), 5):
            pass

    def test_reset_forgets_all_but_the_port_and_the_settings(self, registry: Registry) -> None:
        registry.push_image("team/app:1.0")
        registry.faults.add(status=500)
        assert ask(registry, "/v2/").status == 500
        port = registry.port
        registry.reset()
        assert (registry.repositories(), len(registry.requests), len(registry.faults)) == ([], 0, 0)
        assert (registry.port, ask(registry, "/v2/").status, registry.errors) == (port, 200, [])


class TestFillItLookIntoIt:
    def test_as_written(self, registry: Registry) -> None:
        image = registry.push_image(
            "team/app:1.0",
            layers=[{"etc/motd": b"hello\n"}],
            platform="linux/amd64",
            config={"Env": ["A=1"]},
            annotations={"org.example": "x"},
        )
        arm = registry.push_image("team/app", layers=[{"etc/motd": b"hello\n"}], platform="linux/arm64")  # untagged
        index = registry.push_index("team/app:multi", [image, arm])
        sbom = registry.push_artifact("team/app", "application/spdx+json", {"sbom.json": b"{}"}, subject=image)

        assert (image.digest, image.size, image.media_type) == (
            "sha256:39961bed0a3ede2c6f0b9841095e3350747731cbbe350ec4a75311b96293e414",
            437,
            OCI_MANIFEST,
        )
        assert registry.repositories() == ["team/app"]
        team = registry.repository("team/app")
        assert team.tags() == ["1.0", "multi"]
        manifest = team.manifest("1.0")
        assert (manifest.digest, len(manifest.data), manifest.media_type) == (image.digest, 437, OCI_MANIFEST)
        assert manifest.json["annotations"] == {"org.example": "x"}
        assert manifest.config
        assert manifest.subject is None
        assert b'"Env":["A=1"]' in team.blob(manifest.config.digest)
        (image_layer_digest,) = (each.digest for each in manifest.layers)
        assert team.blob(image_layer_digest)[:2] == b"\x1f\x8b"
        assert team.files("1.0") == {"etc/motd": b"hello\n"}
        assert team.files("multi", "linux/arm64") == MOTD
        assert [each.digest for each in team.referrers(image.digest)] == [sbom.digest]
        assert index.media_type == OCI_INDEX

    def test_content_that_lies_is_stored_as_told(self, registry: Registry) -> None:
        team = registry.repository("team/app")
        team.put_raw("bad", b"not json", media_type="application/vnd.oci.image.manifest.v1+json", digest=None)
        answer = ask(registry, "/v2/team/app/manifests/bad")
        assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"not json", OCI_MANIFEST)
        team.put_raw(LIE, b"other bytes")
        assert ask(registry, f"/v2/team/app/blobs/{LIE}").body == b"other bytes"

    def test_load_and_save(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
        monkeypatch.chdir(tmp_path)
        registry.push_image("team/app:1.0", layers=[MOTD])
        (tmp_path / "tests" / "layouts").mkdir(parents=True)
        registry.save("tests/layouts/app", "team/app:1.0")
        registry.reset()
        assert registry.load("tests/layouts/app") == ["team/app:1.0"]
        registry.save("out.tar", "team/app:1.0")
        registry.reset()
        assert registry.load("out.tar") == ["team/app:1.0"]
        assert registry.repository("team/app").files("1.0") == MOTD

    def test_files_of_a_layer_are_bytes_or_have_a_mode_and_a_layer_may_be_random(self, registry: Registry) -> None:
        registry.push_image("a:1", layers=[{"bin/run": File(b"#!", mode=0o755)}], compression="none")
        layer = registry.repository("a").manifest("1").layers[0]
        assert b"bin/run" in registry.repository("a").blob(layer.digest)
        first, second = (registry.push_image(f"r:{tag}", random=1000, docker=True) for tag in "12")
        assert first == second
        assert len(registry.repository("r").files("1")["random"]) == 1000  # type: ignore[arg-type]


class TestWatchIt:
    def test_as_written(self, registry: Registry) -> None:
        image = registry.push_image("team/app:1.0")
        layer = registry.repository("team/app").manifest("1.0").layers[0]
        ask(registry, "/v2/team/app/manifests/2.0?ns=example")
        ask(registry, f"/v2/team/app/blobs/{layer.digest}", User_Agent="me/1")

        assert [each.status for each in registry.requests] == [404, 200]
        assert len(registry.requests.where(method="GET", kind="blob", repository="team/*")) == 1
        assert len(registry.requests.where(kind="manifest", status=404)) == 1
        e = registry.requests[-1]
        assert (
            e.method,
            e.path,
            e.query,
            e.kind,
            e.repository,
            e.reference,
            e.status,
            e.headers,
            e.response_headers,
        ) == (
            "GET",
            f"/v2/team/app/blobs/{layer.digest}",
            {},
            "blob",
            "team/app",
            layer.digest,
            200,
            e.headers,
            e.response_headers,
        )
        assert (e.headers["user-agent"], e.response_headers["Docker-Content-Digest"]) == ("me/1", layer.digest)
        assert registry.requests[0].query == {"ns": ["example"]}
        assert (e.user, e.client, e.received, e.sent, e.seconds, e.fault) == (
            None,
            "me/1",
            e.received,
            e.sent,
            e.seconds,
            None,
        )
        assert e.received > 100
        assert e.sent > layer.size
        assert 0 < e.seconds < 60
        registry.requests.clear()
        assert len(registry.requests) == 0
        assert image.size

    def test_waiting_for_requests(self, registry: Registry) -> None:
        threads = [threading.Thread(target=ask, args=(registry, f"/v2/a/blobs/{LIE}")) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert len(registry.requests.wait(count=3, kind="blob", timeout=5)) == 3
        for thread in threads:
            thread.join()
        with pytest.raises(TimeoutError, match=r"0 of 1 such requests after 0\.01 s"):
            registry.requests.wait(kind="tags", timeout=0.01)


class TestBreakIt:
    """A line each, and what a client then meets; the request after it, or another one, has its right answer."""

    def blob(self, registry: Registry) -> str:
        registry.push_image("team/app:1.0", random=BIG)
        return f"/v2/team/app/blobs/{registry.repository('team/app').manifest('1.0').layers[0].digest}"

    def get(self, registry: Registry, path: str) -> raw.Reply:
        with raw.Raw("127.0.0.1", registry.port) as connection:
            return connection.ask("GET", path)

    def rest(self, registry: Registry) -> bytes:
        with raw.Raw("127.0.0.1", registry.port) as connection:
            connection.send(raw.request("GET", "/v2/"))
            return connection.rest()

    def test_status_and_headers(self, registry: Registry) -> None:
        path = self.blob(registry)
        registry.faults.add(status=503, method="GET", kind="blob", times=2, headers={"Retry-After": "1"})
        answers = [ask(registry, path) for _ in range(3)]
        assert [each.status for each in answers] == [503, 503, 200]
        assert [each.headers["Retry-After"] for each in answers] == ["1", "1", None]
        assert ask(registry, path, "HEAD").status == 200

    def test_code_and_after(self, registry: Registry) -> None:
        registry.push_image("team/app:1.0")
        registry.faults.add(status=429, code="TOOMANYREQUESTS", kind="manifest", after=100)
        with raw.Raw("127.0.0.1", registry.port) as connection:
            statuses = [connection.ask("GET", "/v2/team/app/manifests/1.0").status for _ in range(100)]
            last = connection.ask("GET", "/v2/team/app/manifests/1.0")
        assert set(statuses) == {200}
        assert (last.status, last.codes) == (429, ["TOOMANYREQUESTS"])

    def test_latency(self, registry: Registry) -> None:
        registry.faults.add(latency=0.2, jitter=0.1)  # seconds before the answer
        assert ask(registry, "/v2/").status == 200
        assert registry.requests[-1].seconds >= 0.1

    def test_bandwidth(self, registry: Registry) -> None:
        path = self.blob(registry)
        registry.faults.add(bandwidth=64_000, kind="blob")  # bytes a second
        size = len(ask(registry, path).body)
        assert registry.requests[-1].seconds >= size / 64_000 * 0.5

    def test_limit_data(self, registry: Registry) -> None:
        path = self.blob(registry)
        registry.faults.add(limit_data=1000, kind="blob")  # the body ends early, the length promised more
        with raw.Raw("127.0.0.1", registry.port) as connection:
            connection.send(raw.request("GET", path))
            head, _, body = connection.rest().partition(b"\r\n\r\n")
        assert len(body) == 1000
        assert int(re.findall(rb"Content-Length: (\d+)", head)[0]) > BIG

    def test_reset_peer(self, registry: Registry) -> None:
        registry.faults.add(
            reset_peer=True, kind="upload", method="PATCH", limit_data=5000
        )  # RST after so many bytes read
        location = ask(registry, "/v2/team/app/blobs/uploads/", "POST").headers["Location"]
        where = "/" + location.split("/", 3)[3] if "://" in location else location
        with raw.Raw("127.0.0.1", registry.port) as connection:
            connection.send(raw.request("PATCH", where, {}, bytes(BIG)))
            with pytest.raises(ConnectionResetError):
                connection.rest()
        assert registry.repositories() == []

    def test_corrupt(self, registry: Registry) -> None:
        path = self.blob(registry)
        right = ask(registry, path)
        registry.faults.add(corrupt=True, kind="blob")  # one byte flipped, the headers as if nothing had happened
        wrong = ask(registry, path)
        assert sum(one != other for one, other in zip(right.body, wrong.body, strict=True)) == 1
        assert stable(wrong) == stable(right)

    def test_digest(self, registry: Registry) -> None:
        registry.push_image("team/app:1.0")
        registry.faults.add(
            digest="sha256:0000000000000000000000000000000000000000000000000000000000000000", kind="manifest"
        )  # a Docker-Content-Digest that lies
        assert ask(registry, "/v2/team/app/manifests/1.0").headers["Docker-Content-Digest"] == LIE

    def test_stall(self, registry: Registry) -> None:
        path = self.blob(registry)
        fault = registry.faults.add(
            stall=True, kind="blob"
        )  # head and half the body, then nothing, until removed or the client goes
        with raw.Raw("127.0.0.1", registry.port, timeout=0.3) as connection, pytest.raises(TimeoutError):
            connection.ask("GET", path)
        fault.remove()
        assert self.get(registry, path).status == 200

    def test_redirect(self, registry: Registry) -> None:
        path = self.blob(registry)
        registry.faults.add(redirect="http://127.0.0.1:1/x", kind="blob")
        answer = self.get(registry, path)
        assert (answer.status, answer.headers["location"]) == (307, "http://127.0.0.1:1/x")

    def test_garbage_and_empty(self, registry: Registry) -> None:
        garbage = registry.faults.add(garbage=True)  # bytes that are no HTTP; empty=True: closed without a word
        said = self.rest(registry)
        assert said
        assert not said.startswith(b"HTTP/")
        garbage.remove()
        registry.faults.add(empty=True)
        assert self.rest(registry) == b""

    def test_edit(self, registry: Registry) -> None:
        seen = []
        registry.faults.add(
            edit=lambda request, response: seen.append((request.method, response.status))
        )  # anything else
        assert (ask(registry, "/v2/").status, seen) == (200, [("GET", 200)])

    def test_hold(self, registry: Registry) -> None:
        path = self.blob(registry)
        answers: list[Answer] = []
        hold = registry.faults.add(hold=True, kind="blob", times=1)  # the request waits …
        thread = threading.Thread(target=lambda: answers.append(ask(registry, path)))
        thread.start()
        hold.wait(timeout=5)
        assert answers == []
        hold.release()
        thread.join(10)
        hold.wait(timeout=5)
        hold.release()  # … has arrived; goes on: races made repeatable
        assert [each.status for each in answers] == [200]

    def test_a_block_and_the_hits(self, registry: Registry) -> None:
        with registry.faults.add(status=500) as fault:  # gone at the end of the block
            assert ask(registry, "/v2/").status == 500
        assert ask(registry, "/v2/").status == 200
        assert fault.hits == 1
        registry.faults.add(status=500, kind="tags")
        with pytest.raises(AssertionError, match="no request met: status=500 kind=tags"):
            registry.faults.assert_all_hit()
        assert ask(registry, "/v2/a/tags/list").status == 500
        registry.faults.assert_all_hit()
        registry.faults.clear()
        assert len(registry.faults) == 0

    def test_a_rate_limit(self, registry: Registry) -> None:
        registry.push_image("team/app:1.0")
        registry.rate_limit(100, window=21600)  # as Docker Hub does: its headers, HEAD free, 429 at zero
        answer = ask(registry, "/v2/team/app/manifests/1.0")
        assert (answer.headers["ratelimit-limit"], answer.headers["ratelimit-remaining"]) == (
            "100;w=21600",
            "99;w=21600",
        )

    def test_how_often(self, registry: Registry) -> None:
        def statuses() -> list[int]:
            with registry.faults.add(status=500, probability=0.1, seed=1):
                return [ask(registry, "/v2/").status for _ in range(60)]

        first = statuses()
        assert 1 <= first.count(500) <= 20
        assert statuses() == first


def stable(answer: Answer) -> list[tuple[str, str]]:
    """The headers, but for the time."""
    return [(name, value) for name, value in answer.headers.items() if name != "Date"]


WITH_PYTEST = """
import pytest

def test_pull(registry): ...               # a fresh Registry for this test
def test_url(registry_url): ...            # its url

@pytest.mark.registry(auth={"tester": "secret"}, tls=True)
def test_private(registry): ...            # keywords go to Registry

def test_mirror(make_registry, tmp_path):  # as many as you like; all stopped at the end
    a, b = make_registry(), make_registry(tmp_path)

@pytest.fixture(scope="session")
def registry_options():                    # override: defaults for every registry of this suite
    return {"auth": {"tester": "secret"}}

# What comes of it, with the same fixtures and marks.

def test_pull_is_by_the_override(registry):
    assert (len(registry.requests), registry.auth is None, registry.ca_file) == (0, False, None)

def test_url_is_the_registrys(registry, registry_url):
    assert registry.url == registry_url

@pytest.mark.registry(auth=None, tls=True)
def test_private_is_by_the_mark(registry):
    assert registry.auth is None
    assert registry.url.startswith("https://")

def test_mirror_has_two(make_registry, tmp_path):
    a, b = make_registry(), make_registry(tmp_path)
    assert a.port != b.port
    b.push_image("team/app:1.0")
    assert list(tmp_path.rglob("index.json"))
"""


def test_with_pytest(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = -p no:cacheprovider")
    pytester.makepyfile(WITH_PYTEST)
    pytester.runpytest_inprocess("-p", "conftest_plugin").assert_outcomes(passed=8)


def statements(section: str) -> list[str]:
    """What the Python blocks of a section of the contract say, a line each, without comments."""
    text = re.search(rf"^##+ {re.escape(section)}.*?\n(.*?)(?=\n##|\Z)", CONTRACT.read_text(), re.DOTALL | re.MULTILINE)
    assert text, section
    lines = "\n".join(re.findall(r"```python\n(.*?)```", text[1], re.DOTALL)).splitlines()
    said = [part.strip() for line in lines for part in re.sub(r"(^|\s+)#.*", "", line).split("; ")]
    return [each for each in said if each not in ("", "...")]


def bare(code: str) -> str:
    """Code without what a formatter may change."""
    return re.sub(r"\s+", "", code).replace(",)", ")")


def test_every_line_of_the_contract_stands_here() -> None:
    if not CONTRACT.exists():
        pytest.skip("the contract is not beside the project")
    here = bare(Path(__file__).read_text())
    told = [each for section in SECTIONS for each in statements(section)]
    assert len(told) > 50
    missing = [each for each in told if not re.search(re.escape(bare(each)).replace("…", ".+?"), here)]
    assert missing == []
