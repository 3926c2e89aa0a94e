"""The pytest plugin: registries as fixtures, and settings to override; the registry itself is `tinyreg`'s.

Registered as `conftest_plugin`, or by `pytest_plugins = ["conftest_plugin"]`. The server is imported only when
a fixture is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from tinyreg import Registry


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "registry(**options): keywords for the Registry of this test's fixtures")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--tinyreg-url` and `--tinyreg-record`."""
    group = parser.getgroup("tinyreg")
    group.addoption("--tinyreg-url", metavar="URL", help="keep what tests push in this registry, each under a prefix")
    group.addoption("--tinyreg-record", action="store_true", help="record anew what tests replay from a folder")


_made = pytest.StashKey["list[Registry]"]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show what the registries of a test that failed were asked and answered."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]  # pluggy sends its Result in
    if report.failed:
        for registry in item.stash.get(_made, []):
            report.sections.append((f"tinyreg {registry.url}", registry.requests.table()))


@pytest.fixture(scope="session")
def registry_options() -> dict[str, Any]:
    """Keywords for every Registry of this suite; override it."""
    return {}


@pytest.fixture
def make_registry(
    request: pytest.FixtureRequest, registry_options: dict[str, Any]
) -> Iterator[Callable[..., Registry]]:
    """Makes started registries: `make_registry(store=None, **options)`; they are stopped when the test is over.

    A keyword given here wins over the `registry` marker's, and that one over `registry_options`. What a server
    itself raised fails the test.
    """
    from tinyreg import Registry

    made: list[Registry] = []
    request.node.stash[_made] = made
    marked = _marked(request)
    with ExitStack() as stack:

        def make(store: Any = None, **options: Any) -> Registry:
            keywords = {"store": store, **registry_options, **marked, **options}
            keywords["store"] = keywords["store"] if store is None else store
            registry = Registry(**_adapted(request, keywords, len(made)))
            made.append(stack.enter_context(registry))
            return registry

        yield make
    for error in (error for registry in made for error in registry.errors):
        raise error


@pytest.fixture
def registry(make_registry: Callable[..., Registry]) -> Registry:
    """A fresh Registry, listening."""
    return make_registry()


@pytest.fixture
def registry_url(registry: Registry) -> str:
    """The URL of this test's `registry`."""
    return registry.url


def _adapted(request: pytest.FixtureRequest, keywords: dict[str, Any], number: int) -> dict[str, Any]:
    """The keywords as the command line changes them: on another registry, or with cassettes to record again."""
    url: str | None = request.config.getoption("--tinyreg-url")
    if url is not None and keywords["store"] is None:
        from tinyreg.store.prefixed import Prefixed
        from tinyreg.store.remote import RemoteStore

        prefix = f"tinyreg-{uuid4().hex[:12]}/{number}"
        return {**keywords, "store": Prefixed(RemoteStore(url), prefix)}
    if request.config.getoption("--tinyreg-record") and "upstream" in keywords and keywords["store"] is not None:
        from tinyreg.registry import open_store
        from tinyreg.store.remote import RemoteStore

        upstream = keywords["upstream"]
        if isinstance(upstream, str):
            RemoteStore(upstream).reach()  # before what it is to replace is gone
        open_store(keywords["store"]).clear()
    return keywords


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The keywords of the `registry` markers, the closest to the test winning."""
    options: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("registry"))):
        if marker.args:
            raise pytest.UsageError("the registry marker takes keywords only: @pytest.mark.registry(auth=…)")
        options.update(marker.kwargs)
    return options
