"""The two engines that need a process of their own: dockerd and containerd. Knows how they are started, no more."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .clients import PLACES, Client, Sandbox, find, missing
from .daemon import daemon

CONTAINERD = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
address = "{folder}/c.sock"
# A blob that one namespace has is not there for the next one: what a test pulls is really fetched.
[plugins."io.containerd.metadata.v1.bolt"]
content_sharing_policy = "isolated"
"""


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a short path: that of a Unix socket has to stay under 108 bytes, podman's --runroot under 50."""
    with tempfile.TemporaryDirectory(prefix="td", dir="/tmp") as folder:
        yield Path(folder)


@contextmanager
def docker_engine() -> Iterator[str]:
    """A Docker engine of our own, at the DOCKER_HOST that this gives: no network, no iptables, no root but its own."""
    program, client = find("dockerd"), find("docker")
    wants_root("dockerd")
    with short_folder() as folder:
        sandbox = Sandbox(folder)
        host = f"unix://{folder}/docker.sock"
        info = Client(sandbox, (client, "--host", host, "info"))
        # its containerd makes a folder /opt/containerd
        command = sandbox.isolated(dockerd(program, folder), (*PLACES, "/opt"))
        with daemon(sandbox, command, lambda: info.run().status == 0, folder / "log"):
            yield host


def dockerd(program: str, folder: Path) -> list[str]:
    """The command of the engine. `deprecated-key-path` keeps it from writing /etc/docker/key.json."""
    settings = folder / "daemon.json"
    settings.write_text(json.dumps({"deprecated-key-path": str(folder / "key.json")}))
    return [
        *(program, "--config-file", str(settings)),
        *("--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"),
        *("--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec"),
        *("--host", f"unix://{folder}/docker.sock", "--pidfile", f"{folder}/pid"),
    ]


@contextmanager
def containerd_engine() -> Iterator[Path]:
    """A containerd of our own, at the socket that this gives."""
    program, client = find("containerd"), find("ctr")
    wants_root("containerd")
    with short_folder() as folder:
        sandbox = Sandbox(folder)
        settings, socket = folder / "config.toml", folder / "c.sock"
        settings.write_text(CONTAINERD.format(folder=folder))
        version = Client(sandbox, (client, "--address", str(socket), "version"))
        command = sandbox.isolated([program, "--config", str(settings)])
        with daemon(sandbox, command, lambda: version.run().status == 0, folder / "log"):
            yield socket


def wants_root(program: str) -> None:
    """Count the program as missing where it could not start."""
    if os.geteuid() != 0:
        missing(f"{program} wants root")
