"""The pytest plugin as a suite of somebody's uses it (API.md, "With pytest")."""

from __future__ import annotations

import asyncio
import unittest
from textwrap import dedent

import pytest

from tinyreg import Registry

HEAD = "import urllib.request\nimport pytest\n"


@pytest.fixture(autouse=True)
def installed(pytester: pytest.Pytester) -> None:
    """The inner suite has the plugin by name, whether or not it is installed here."""
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = -p no:cacheprovider")


def run(pytester: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(HEAD + dedent(source))
    return pytester.runpytest_inprocess("-p", "no:randomly", "-p", "conftest_plugin", *arguments)


def test_registry_is_fresh_for_each_test(registry: Registry) -> None:
    assert (registry.repositories(), len(registry.requests)) == ([], 0)


def test_registry_url_is_the_url_of_the_same_tests_registry(registry: Registry, registry_url: str) -> None:
    assert registry_url == registry.url


def test_registries_are_stopped_when_the_test_is_over(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        seen = []

        def test_first(registry, make_registry, tmp_path):
            seen.extend([registry, make_registry(), make_registry(tmp_path)])
            assert len({each.port for each in seen}) == 3

        def test_second():
            for each in seen:
                with pytest.raises(OSError):
                    urllib.request.urlopen(each.url, timeout=5)
        """,
    )
    result.assert_outcomes(passed=2)


def test_options_come_from_the_suite_then_the_marker_then_the_call(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        @pytest.fixture(scope="session")
        def registry_options():
            return {"host": "127.0.0.2", "quirks": ["no-such"]}

        @pytest.mark.registry(quirks=["no-delete"], host="127.0.0.3")
        class TestMarked:
            def test_by_the_class(self, registry):
                assert registry.host.startswith("127.0.0.3:")

            @pytest.mark.registry(host="127.0.0.4")
            def test_by_the_test(self, registry, make_registry):
                assert registry.host.startswith("127.0.0.4:")
                assert make_registry(host="127.0.0.5").host.startswith("127.0.0.5:")

        def test_by_the_suite(make_registry):
            with pytest.raises(ValueError, match="no-such"):
                make_registry()
        """,
    )
    result.assert_outcomes(passed=3)


def test_the_marker_takes_keywords_only(pytester: pytest.Pytester) -> None:
    result = run(pytester, "\n    @pytest.mark.registry('x')\n    def test_it(registry): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the registry marker takes keywords only*"])


def test_what_a_server_raised_fails_the_test_at_teardown(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        def test_it(registry):
            registry.store.repositories = None
            with pytest.raises(OSError):
                urllib.request.urlopen(registry.url + "/v2/_catalog", timeout=5)
        """,
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["E*TypeError: 'NoneType' object is not callable"])


def test_it_is_safe_under_xdist(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        @pytest.mark.parametrize("number", range(20))
        def test_it(registry, number):
            assert urllib.request.urlopen(registry.url + "/v2/", timeout=5).read() == b"{}"
            assert len(registry.requests) == 1
        """,
        "-p",
        "xdist",
        "-n",
        "4",
    )
    result.assert_outcomes(passed=20)


def test_it_is_silent_about_passing_tests(pytester: pytest.Pytester) -> None:
    result = run(pytester, "\n    def test_it(registry): urllib.request.urlopen(registry.url).close()", "-q")
    assert "tinyreg" not in result.stdout.str().replace("127.0.0.1", "")


def test_a_failed_test_shows_what_its_registries_were_asked(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        def test_it(registry, make_registry):
            make_registry()
            registry.faults.add(status=503, kind="catalog")
            urllib.request.urlopen(registry.url + "/v2/").close()
            with pytest.raises(OSError):
                urllib.request.urlopen(registry.url + "/v2/_catalog")
            assert False
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines(
        [
            r"-+ tinyreg http://127\.0\.0\.1:\d+ -+",
            r"200 GET    /v2/ +\d+ B in +\d+ B out +[\d.]+ ms",
            r"503 GET    /v2/_catalog +\d+ B in +\d+ B out +[\d.]+ ms  fault: status=503 kind=catalog",
            r"-+ tinyreg http://127\.0\.0\.1:\d+ -+",
            r"no requests",
        ]
    )


def test_async_tests_talk_to_a_registry_in_its_own_threads(registry: Registry) -> None:
    async def ask() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", registry.port)
        writer.write(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    async def many() -> list[bytes]:
        return await asyncio.gather(*(ask() for _ in range(20)))

    answers = asyncio.run(many())
    assert all(answer.endswith(b"\r\n\r\n{}") for answer in answers)
    assert len(registry.requests.where(kind="base", status=200)) == 20


class TestUnittest(unittest.TestCase):
    """A unittest suite uses the context manager."""

    def setUp(self) -> None:
        self.registry = self.enter(Registry())

    def enter(self, registry: Registry) -> Registry:
        self.addCleanup(registry.stop)
        return registry.start()

    def test_it_serves(self) -> None:
        self.registry.push_image("app:1")
        assert self.registry.repositories() == ["app"]


def test_naming_the_plugin_where_it_is_installed_is_no_error(pytester: pytest.Pytester) -> None:
    pytester.makeconftest('pytest_plugins = ["conftest_plugin"]')
    pytester.makepyfile("def test_it(registry): assert registry.port")
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1)
