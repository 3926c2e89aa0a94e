"""`python -m tests.benchmarks`: tinyreg beside the registries that this machine has. Figures, and no pass marks."""
