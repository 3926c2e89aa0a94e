"""Fixtures for the whole suite: tinyreg's own plugin by its name, installed or from a bare checkout."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ["pytester", "conftest_plugin"]

settings.register_profile("untimed", deadline=None)  # a busy machine is no reason to fail
settings.load_profile("untimed")
