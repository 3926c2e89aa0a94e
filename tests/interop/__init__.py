"""Real programs against a running tinyreg, over both stores. A client that is missing is a visible skip, and
a failure where TINYREG_INTEROP=require stands in the environment; `.ci/install-clients` installs them all."""
