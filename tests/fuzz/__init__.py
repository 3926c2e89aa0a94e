"""Seeded attacks on a registry, by the command `python -m tests.fuzz` and, for a moment each, by the suite."""
