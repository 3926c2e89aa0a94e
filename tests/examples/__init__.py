"""What a suite of somebody's looks like that tests a client of registries with tinyreg."""
