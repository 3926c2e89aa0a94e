"""What clients read to log in and to trust a registry, in files; what is in them it is told."""

from __future__ import annotations

import base64
import json
import os
import shutil
from pathlib import Path


def write(
    folder: str | os.PathLike[str], host: str, user: str | None, password: str | None, ca_file: str | None
) -> str:
    """Write to `folder`, made where it is missing, and return its path.

    `config.json` is what docker, crane, regctl, oras and helm read under `DOCKER_CONFIG=folder`, and podman, skopeo
    and buildah under `REGISTRY_AUTH_FILE=folder/config.json`. `certs.d/HOST/ca.crt` is what podman, skopeo and
    buildah take as `--cert-dir folder/certs.d/HOST`; `ca.crt` what Go programs trust under `SSL_CERT_FILE`. Files of
    other registries in `folder` stay; nothing outside it is touched. Raises OSError.
    """
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    file = path / "config.json"
    config = json.loads(file.read_bytes()) if file.exists() else {}
    auths = config.setdefault("auths", {})
    if user is not None:
        auths[host] = {"auth": base64.b64encode(f"{user}:{password or ''}".encode()).decode()}
    file.write_text(json.dumps(config, indent=2))
    if ca_file is not None:
        certificates = path / "certs.d" / (host.replace(":", "_") if os.name == "nt" else host)
        certificates.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ca_file, certificates / "ca.crt")
        shutil.copyfile(ca_file, path / "ca.crt")
    return str(path)
