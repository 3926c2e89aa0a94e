"""`--tinyreg-url` and `--tinyreg-record` (API.md, "With pytest")."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_plugin import run
from tinyreg import Registry


def test_the_same_tests_run_against_a_real_registry_each_under_a_prefix(
    pytester: pytest.Pytester, registry: Registry
) -> None:
    result = run(
        pytester,
        """
        @pytest.mark.parametrize("number", [1, 2])
        def test_it(registry, make_registry, number):
            assert registry.repositories() == []
            registry.push_image(f"app:{number}")
            assert urllib.request.urlopen(registry.url + f"/v2/app/manifests/{number}").status == 200
            assert registry.repository("app").tags() == [str(number)]
            assert make_registry().repositories() == []
        """,
        f"--tinyreg-url={registry.url}",
    )
    result.assert_outcomes(passed=2)
    assert len(registry.repositories()) == 2
    assert all(name.startswith("tinyreg-") and name.endswith("/0/app") for name in registry.repositories())


def recording(folder: Path, upstream: Registry) -> str:
    """A test that says what it finds in a cassette in `folder`, recorded from `upstream`."""
    return f"""
        def test_it(make_registry):
            team = make_registry({str(folder / "cassette")!r}, upstream={upstream.url!r}).repository("app")
            print("v is", team.files("1"))
    """


def test_a_cassette_is_recorded_anew_when_asked(pytester: pytest.Pytester, registry: Registry, tmp_path: Path) -> None:
    registry.push_image("app:1", layers=[{"v": b"old"}])
    source = recording(tmp_path, registry)
    run(pytester, source, "-s").stdout.fnmatch_lines(["*v is {'v': b'old'}*"])
    registry.push_image("app:1", layers=[{"v": b"new"}])
    run(pytester, source, "-s").stdout.fnmatch_lines(["*v is {'v': b'old'}*"])
    run(pytester, source, "-s", "--tinyreg-record").stdout.fnmatch_lines(["*v is {'v': b'new'}*"])


def test_a_cassette_stays_where_the_upstream_is_not_there_to_record_from(
    pytester: pytest.Pytester, tmp_path: Path
) -> None:
    with Registry() as upstream:
        upstream.push_image("app:1", layers=[{"v": b"old"}])
        source = recording(tmp_path, upstream)
        run(pytester, source, "-s").stdout.fnmatch_lines(["*v is {'v': b'old'}*"])
    result = run(pytester, source, "-s", "--tinyreg-record")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E *Unavailable: {upstream.url} does not answer*"])
    run(pytester, source, "-s").stdout.fnmatch_lines(["*v is {'v': b'old'}*"])
