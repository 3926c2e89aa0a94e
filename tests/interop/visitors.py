"""Clients as visitors of one registry: each logs in, pushes, pulls and leaves in its own words. Knows no test.

What they push is small and always the same: IMAGE, or FILES where a client makes its manifest itself, or CHART.
"""

from __future__ import annotations

import gzip
import json
import shutil
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

from tinyreg import Basic, Registry

from . import payload
from .clients import Client, Done

IMAGE = payload.image({"etc/motd": b"hello\n"}, {"etc/more": b"more\n"})
CONFIG = json.loads(IMAGE.manifest)["config"]["digest"]
FILES = {"one.txt": b"one\n", "two.txt": b"two\n"}
CHART = gzip.compress(payload.tar({"app/Chart.yaml": b"apiVersion: v2\nname: app\nversion: 0.1.0\n"}), mtime=0)


class Visitor(ABC):
    """A client and a registry. Each method runs the client once, or until it fails, and tells how that went."""

    def __init__(self, client: Client, registry: Registry, folder: Path) -> None:
        self.client = client
        self.registry = registry
        self.folder = folder
        self.secure = registry.url.startswith("https")
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Make ready what it pushes, and tell it whether the registry speaks TLS."""

    def trust(self, folder: Path) -> None:
        """Believe the CA in `folder`, which `docker_config` wrote."""
        self.use(SSL_CERT_FILE=str(folder / "ca.crt"))

    def live_on(self, folder: Path) -> None:
        """Take credentials and CA from `folder`, which `docker_config` wrote, by environment variables alone."""
        self.use(DOCKER_CONFIG=str(folder), REGISTRY_AUTH_FILE=str(folder / "config.json"))
        if self.secure:
            self.use(SSL_CERT_FILE=str(folder / "ca.crt"))

    def use(self, **env: str) -> None:
        """Give the client these variables from now on."""
        self.client = replace(self.client, env={**self.client.env, **env})

    def login(self, user: str, password: str) -> Done | None:
        """Log in; None where it can't be told to, only to send name and password with what comes next."""
        return self.client.run(*self.login_words, "-u", user, "-p", password, self.registry.host)

    def logout(self) -> None:
        """Forget name and password."""
        self.client(*self.logout_words, self.registry.host)

    login_words: tuple[str, ...] = ("login",)
    logout_words: tuple[str, ...] = ("logout",)

    @abstractmethod
    def push(self, name: str) -> Done:
        """Push to the repository `name`."""

    @abstractmethod
    def pull(self, name: str) -> Done:
        """Pull what was pushed there; that something else comes is an AssertionError."""

    def out(self) -> Path:
        """An empty folder to pull to."""
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        return out


class Layouts(Visitor):
    """What those have in common that push from an OCI layout, and most that pull to one."""

    def prepare(self) -> None:
        self.layout = payload.write_layout(self.folder / "layout", {"1": IMAGE})

    def checked(self, done: Done, out: Path) -> Done:
        assert done.status or payload.read_layout(out) == IMAGE.files()
        return done


class Docker(Visitor):
    def prepare(self) -> None:
        self.ids: dict[str, str] = {}

    def trust(self, folder: Path) -> None:
        """Nothing: the engine believes whatever a loopback address shows."""

    def push(self, name: str) -> Done:
        ref = self.registry.ref(name)
        self.ids[name] = self.client("import", "-", ref, stdin=payload.tar(FILES)).decode().strip()
        return self.client.run("push", ref)

    def pull(self, name: str) -> Done:
        self.client("image", "rm", "--force", *self.client.lines("image", "ls", "--quiet", "--no-trunc"))
        ref = self.registry.ref(name)
        done = self.client.run("pull", ref)
        if done.status == 0:
            assert self.client.text("image", "inspect", "--format", "{{.Id}}", ref) == self.ids[name]
        return done


class Containers(Layouts):
    """What podman, buildah and skopeo have in common: containers/image."""

    flags: tuple[str | Path, ...] = ()

    def prepare(self) -> None:
        super().prepare()
        self.flags = () if self.secure else ("--tls-verify=false",)

    def trust(self, folder: Path) -> None:
        self.flags = ("--cert-dir", folder / "certs.d" / self.registry.host)

    def login(self, user: str, password: str) -> Done:
        return self.client.run("login", *self.flags, "-u", user, "-p", password, self.registry.host)


class Podman(Containers):
    """podman, and buildah, whose commands are the same."""

    def push(self, name: str) -> Done:
        image = self.client("pull", "--quiet", "oci:layout:1", cwd=self.folder).decode().strip()
        return self.client.run("push", *self.flags, image, f"docker://{self.registry.ref(name)}")

    def pull(self, name: str) -> Done:
        self.client("rmi", "--all", "--force")
        done = self.client.run("pull", "--quiet", *self.flags, self.registry.ref(name))
        assert done.status or done.stdout.decode().strip() == CONFIG[7:]
        return done


class Skopeo(Containers):
    def push(self, name: str) -> Done:
        return self.copy("--dest", f"oci:{self.layout}:1", f"docker://{self.registry.ref(name)}")

    def pull(self, name: str) -> Done:
        out = self.out()
        done = self.copy("--src", f"docker://{self.registry.ref(name)}", f"oci:{out}:1")
        return self.checked(done, out)

    def copy(self, side: str, source: str, target: str) -> Done:
        """Copy, with the flags for the side that is the registry."""
        flags = [str(flag).replace("--", f"{side}-") if str(flag).startswith("--") else flag for flag in self.flags]
        return self.client.run("copy", *flags, source, target)


class Crane(Layouts):
    login_words, logout_words = ("auth", "login"), ("auth", "logout")

    def push(self, name: str) -> Done:
        return self.client.run("push", self.layout, self.registry.ref(name))

    def pull(self, name: str) -> Done:
        out = self.out()
        done = self.client.run("pull", "--format", "oci", self.registry.ref(name), out)
        return self.checked(done, out)


class Regctl(Layouts):
    login_words, logout_words = ("registry", "login"), ("registry", "logout")

    def prepare(self) -> None:
        super().prepare()
        if not self.secure:
            plain = ("--host", f"reg={self.registry.host},tls=disabled")
            self.client = replace(self.client, command=(*self.client.command, *plain))

    def push(self, name: str) -> Done:
        return self.client.run("image", "copy", f"ocidir://{self.layout}:1", self.registry.ref(name))

    def pull(self, name: str) -> Done:
        out = self.out()
        done = self.client.run("image", "copy", self.registry.ref(name), f"ocidir://{out}:1")
        return self.checked(done, out)


class Oras(Layouts):
    def flags(self, flag: str = "--plain-http") -> tuple[str, ...]:
        return () if self.secure else (flag,)

    def login(self, user: str, password: str) -> Done:
        return self.client.run("login", *self.flags(), "-u", user, "-p", password, self.registry.host)

    def push(self, name: str) -> Done:
        source = ("--from-oci-layout", f"{self.layout}:1")
        return self.client.run("cp", *self.flags("--to-plain-http"), *source, f"{self.registry.ref(name)}:1")

    def pull(self, name: str) -> Done:
        out = self.out()
        target = ("--to-oci-layout", f"{out}:1")
        done = self.client.run("cp", *self.flags("--from-plain-http"), f"{self.registry.ref(name)}:1", *target)
        return self.checked(done, out)


class Helm(Visitor):
    logout_words = ("registry", "logout")

    def prepare(self) -> None:
        self.flags = () if self.secure else ("--plain-http",)
        (self.folder / "app-0.1.0.tgz").write_bytes(CHART)

    def login(self, user: str, password: str) -> Done:
        return self.client.run("registry", "login", *self.flags, "-u", user, "-p", password, self.registry.host)

    def push(self, name: str) -> Done:
        return self.client.run("push", *self.flags, self.folder / "app-0.1.0.tgz", f"oci://{self.registry.ref(name)}")

    def pull(self, name: str) -> Done:
        out = self.out()
        chart = (f"oci://{self.registry.ref(name)}/app", "--version", "0.1.0")
        done = self.client.run("pull", *self.flags, *chart, "--destination", out)
        assert done.status or (out / "app-0.1.0.tgz").read_bytes() == CHART
        return done


class OrasPython(Visitor):
    """oras for Python, by `oras_python.py`."""

    def prepare(self) -> None:
        self.config = self.client.sandbox.folder / "oras_python.json"
        self.config.write_text('{"auths": {}}')
        self.use(ORAS_INSECURE="" if self.secure else "1")
        self.files = [self.folder / name for name in FILES]
        for file in self.files:
            file.write_bytes(FILES[file.name])

    def trust(self, folder: Path) -> None:
        self.use(REQUESTS_CA_BUNDLE=str(folder / "ca.crt"))

    def live_on(self, folder: Path) -> None:
        """As others do, but that the file with the credentials is a parameter of its API."""
        self.config = folder / "config.json"
        if self.secure:
            self.trust(folder)

    def run(self, *words: str | Path) -> Done:
        """Run it, with the backend that its user has to choose."""
        backend = "basic" if isinstance(self.registry.auth, Basic) else "token"
        return self.client.run(backend, self.config, *words)

    def login(self, user: str, password: str) -> Done:
        return self.run("login", self.registry.host, user, password)

    def logout(self) -> None:
        self.config.write_text('{"auths": {}}')

    def push(self, name: str) -> Done:
        return self.run("push", f"{self.registry.ref(name)}:1", *self.files)

    def pull(self, name: str) -> Done:
        out = self.out()
        done = self.run("pull", f"{self.registry.ref(name)}:1", out)
        assert done.status or {file.name: file.read_bytes() for file in out.iterdir()} == FILES
        return done


class Dxf(Visitor):
    """python-dxf's command, which takes all it needs from the environment, and a token to push blob after blob with."""

    def prepare(self) -> None:
        self.use(DXF_HOST=self.registry.host, DXF_INSECURE="" if self.secure else "1", DXF_PROGRESS="0")
        for name, data in FILES.items():
            (self.folder / name).write_bytes(data)

    def trust(self, folder: Path) -> None:
        self.use(REQUESTS_CA_BUNDLE=str(folder / "ca.crt"))

    def login(self, user: str, password: str) -> None:
        self.use(DXF_USERNAME=user, DXF_PASSWORD=password)

    def logout(self) -> None:
        secret = ("DXF_USERNAME", "DXF_PASSWORD", "DXF_TOKEN")
        env = {name: value for name, value in self.client.env.items() if name not in secret}
        self.client = replace(self.client, env=env)

    def push(self, name: str) -> Done:
        done = self.client.run("auth", name, "pull", "push")
        if done.status:
            return done
        if token := done.stdout.decode().strip():
            self.use(DXF_TOKEN=token)
        return self.push_blobs(name)

    def push_blobs(self, name: str) -> Done:
        """What comes after the login."""
        for file in FILES:
            done = self.client.run("push-blob", name, self.folder / file, f"@{file}")
            if done.status:
                break
        return done

    def pull(self, name: str) -> Done:
        done = self.client.run("pull-blob", name, *(f"@{file}" for file in FILES))
        assert done.status or done.stdout == b"".join(FILES.values())
        return done


VISITORS: dict[str, type[Visitor]] = {
    "docker": Docker,
    "podman": Podman,
    "skopeo": Skopeo,
    "buildah": Podman,
    "crane": Crane,
    "regctl": Regctl,
    "oras": Oras,
    "helm": Helm,
    "oras_python": OrasPython,
    "dxf": Dxf,
}
"""Each client by the name of its fixture."""
