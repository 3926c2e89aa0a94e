"""Fixtures for the whole suite: tinyreg's own plugin, by its entry point or, from a bare checkout, by its name."""

from __future__ import annotations

from importlib.metadata import entry_points

from hypothesis import settings

pytest_plugins = ["pytester"]
if not any(point.value == "conftest_plugin" for point in entry_points(group="pytest11")):
    pytest_plugins.append("conftest_plugin")

settings.register_profile("untimed", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("untimed")
