"""The command that oras for Python does not have: `login`, `push` and `pull` by its own API. Knows no test.

Run as `oras_python.py BACKEND CONFIG ACTION HOST|REF …`: the backend is `basic` or `token`, the config a file. It reads
the environment's ORAS_INSECURE (1: plain HTTP) and ORAS_TOKEN (a token to begin with).
"""

from __future__ import annotations

import os
import sys
import time

import oras.client  # type: ignore[import-not-found]


def main(backend: str, config: str, action: str, where: str, *words: str) -> None:
    time.sleep = lambda seconds: None  # it asks five times where it is refused, and would wait for two minutes
    host = where.partition("/")[0]
    insecure = os.environ.get("ORAS_INSECURE") == "1"
    client = oras.client.OrasClient(hostname=host, insecure=insecure, auth_backend=backend)
    if token := os.environ.get("ORAS_TOKEN"):
        client.auth.set_token_auth(token)
    if action == "login":
        client.login(*words, hostname=host, config_path=config)
    elif action == "push":
        client.push(where, files=list(words), config_path=config, disable_path_validation=True)
    else:
        client.pull(where, outdir=words[0], config_path=config)


main(*sys.argv[1:])
