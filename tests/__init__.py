"""The tests of tinyreg; they mirror its files."""
