"""The whole thing put together: a context manager with a url; every part knows more of its work than this does.

What not every registry needs is imported where it is needed: that halves the time of `import tinyreg`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .api import Api
from .faults import Faults
from .manifest import Descriptor
from .origin import OwnOrigin
from .quirks import Quirk, find, rules
from .recorder import Recorder, Requests
from .reference import Digest, Name, split
from .repository import SESSION_LIMIT, Repository, Sessions
from .server import CONNECTION_LIMIT, Server
from .store import Store
from .store.checked import Checked
from .store.limited import MAX_BLOB, Limited
from .store.memory import MemoryStore
from .wire import Handler

if TYPE_CHECKING:
    import ssl

    from .auth import Authorizer
    from .image import Made
    from .layer import Files
    from .layout import Loaded
    from .tls import TLS, Identity
    from .view import View


class Registry:
    """A registry on `host`:`port` (0: a free port), listening from `start` to `stop`, or within a `with` block.

    `store` is None (a MemoryStore), a path (a DirectoryStore), a URL (a RemoteStore: a window on another registry) or
    any Store; what it misses is asked of `upstream`, a URL or a Store, and kept. `auth` is a dict of names and
    passwords (Basic), or an Authorizer; `tls` is True for a certificate of this run, `(certfile, keyfile)`, or an
    SSLContext. The constructor opens the store and
    raises what that raises (OSError). `quirks` are names of `quirks.QUIRKS`, or Quirks.

    A blob may have `max_blob` bytes (413 else), `max_uploads` sessions may be open (429 else), and `max_connections`
    clients may be connected (503 else). A client that keeps silent, or takes nothing, for `server.TIMEOUT` seconds is
    cut, and so is one slower than `wire.RATE` once its `wire.PATIENCE` is used up; none keeps another one waiting.
    What a browser sends for another site's page is refused (`origin.OwnOrigin`).
    """

    def __init__(
        self,
        store: Store | str | os.PathLike[str] | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        auth: Authorizer | Mapping[str, str] | None = None,
        tls: TLS | None = None,
        upstream: Store | str | None = None,
        quirks: Iterable[str | Quirk] = (),
        max_blob: int = MAX_BLOB,
        max_uploads: int = SESSION_LIMIT,
        max_connections: int = CONNECTION_LIMIT,
    ) -> None:
        _check(max_blob=max_blob, max_uploads=max_uploads, max_connections=max_connections)
        self.store = open_store(store)
        if upstream is not None:
            from .store.pullthrough import PullThrough

            self.store = PullThrough(self.store, _upstream(upstream))
        self.errors: list[Exception] = []
        self._sessions = Sessions(limit=max_uploads)
        differences = find(quirks)
        self._content = Checked(Limited(self.store, max_blob), rules(differences))
        self.requests = Requests()
        self.auth: Any = _authorizer(auth)
        self._identity = _identity(tls, host)
        handler: Handler = Api(self._content, self._sessions, self.errors, self.auth)
        if self.auth is not None:
            handler = _with_tokens(handler, self.auth)
        for quirk in differences:
            handler = quirk.over(handler)
        self._core = handler
        self.faults = Faults(handler)
        self._handler = Recorder(OwnOrigin(self.faults, host), self.requests)
        self._address = host, port
        self._max_connections = max_connections
        self._server: Server | None = None

    def start(self) -> Registry:
        """Listen, and return once that is so. May be called again. Raises OSError where the port can't be had."""
        if self._server is None:
            context = self._identity.context if self._identity is not None else None
            self._server = self._listening(context)
            if self._identity is not None:
                self._identity.open()
            self._server.errors = self.errors
            self._address = self._address[0], self._server.server_port
            self._server.start()
        return self

    def _listening(self, context: ssl.SSLContext | None) -> Server:
        host, port = self._address
        try:
            return Server(self._handler, host, port, tls=context, limit=self._max_connections)
        except OSError as error:
            raise OSError(error.errno, cannot_listen(error, host, port)) from error

    def stop(self) -> None:
        """Stop at once, cancelling open uploads; no thread and no socket stays. May be called again.

        What was pushed stays in the store: `start` serves it again, on the same port.
        Raises StopTimeout where an answer is still being made after five seconds.
        """
        server, self._server = self._server, None
        if server is not None:
            try:
                server.stop()
            finally:
                self._sessions.clear()
                self.store.close()
                if self._identity is not None:
                    self._identity.close()

    def __enter__(self) -> Registry:
        return self.start()

    def __repr__(self) -> str:
        return f"<Registry {self.url if self._server else 'stopped'} {type(self.store).__name__}>"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port it listens on. Raises RuntimeError before `start`."""
        if not self._address[1]:
            raise RuntimeError("the registry has no port yet: use `with Registry() as registry:` or call start()")
        return self._address[1]

    @property
    def host(self) -> str:
        """`127.0.0.1:40123`: what stands in an image reference."""
        host = self._address[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """`http://127.0.0.1:40123`, or `https://…`."""
        return f"{'https' if self._identity else 'http'}://{self.host}"

    def ref(self, image: str) -> str:
        """`127.0.0.1:40123/team/app:1.0` for `team/app:1.0`."""
        return f"{self.host}/{image}"

    @property
    def ca_file(self) -> str | None:
        """The PEM file of the CA that `tls=True` made, from `start` to `stop`; None where there is none of ours."""
        return self._identity.ca_file if self._identity else None

    def client_context(self) -> ssl.SSLContext:
        """A context for clients, that trusts the registry's certificate. Raises ValueError where there is none."""
        if self._identity is None:
            raise ValueError("the registry speaks plain HTTP: Registry(tls=True)")
        return self._identity.client_context()

    def docker_config(
        self, folder: str | os.PathLike[str], user: str | None = None, password: str | None = None
    ) -> str:
        """Write what clients need to log in and to trust us to `folder`, whose path is returned; see `credentials`.

        `user` is one of `auth`'s; the password is needed only where it is known as a hash. Raises KeyError for an
        unknown user.
        """
        from . import credentials

        if user is not None and password is None:
            from .auth import Basic, Token, innermost

            auth = innermost(self.auth)
            if not isinstance(auth, (Basic, Token)):
                raise KeyError(f"user {user!r} is not known: the registry asks nobody for a name")
            password = auth.users.password(user)
        return credentials.write(folder, self.host, user, password, self.ca_file)

    def reset(self) -> None:
        """Forget content, requests and faults, keeping the port and the settings."""
        self.faults.clear()
        self.faults.inner = self._core
        self._sessions.clear()
        self.store.clear()
        self.requests.clear()
        self.errors.clear()

    def rate_limit(self, limit: int, window: float = 21600) -> None:
        """Let each client pull `limit` manifests in `window` seconds from now on, as Docker Hub does (SPEC M1).

        Raises ValueError for a limit below 0 or no window.
        """
        from .ratelimit import RateLimit

        self.faults.inner = RateLimit(self._core, limit, window)

    def push_image(self, reference: str, layers: Iterable[Files | bytes] | None = None, **options: Any) -> Descriptor:
        """Put an image into the store, under `team/app:1.0`, or untagged as `team/app`; see `image.image`."""
        from . import image

        return self._put(reference, image.image(layers, **options))

    def push_index(self, reference: str, manifests: Sequence[Descriptor], **options: Any) -> Descriptor:
        """Put an index of what was pushed to the same repository into the store; see `image.index`."""
        from . import image

        return self._put(reference, image.index(manifests, **options))

    def push_artifact(
        self, reference: str, artifact_type: str, files: Mapping[str, bytes], **options: Any
    ) -> Descriptor:
        """Put an artifact into the store; see `image.artifact`."""
        from . import image

        return self._put(reference, image.artifact(artifact_type, files, **options))

    def load(self, path: str | os.PathLike[str], name: str | None = None) -> list[str]:
        """Take over an OCI layout (folder, .tar, .tar.gz) or a `docker save` archive; the references it had.

        What has only a tag goes to the repository `name`, or to one named like the file; what has no tag is
        referred to by digest, `app@sha256:…`. Blobs are checked, and served from where they lie by a store in
        memory. Raises LayoutError, with nothing loaded; OSError, NameInvalid.
        """
        from . import layout

        found = layout.load(path, name)
        for repository, what in found.items():
            for digest, content in what.blobs.items():
                self.store.put_blob(repository, digest, content)
            for digest, manifest in what.manifests.items():
                self.store.put_manifest(repository, manifest, [tag for tag, at in what.tags.items() if at == digest])
        return [reference for repository, what in found.items() for reference in what.references(repository)]

    def save(self, path: str | os.PathLike[str], *references: str) -> None:
        """Write an OCI layout, to a folder or a `.tar`, of `references` (`team/app:1.0`, `team/app@sha256:…`) and
        all that they refer to; of every tag where none are given. Raises ManifestUnknown, NameUnknown, OSError.
        """
        from . import layout

        whole = references or [f"{name}:{tag}" for name in self.repositories() for tag in self.repository(name).tags()]
        found: dict[Name, Loaded] = {}
        for reference in whole:
            name, _, digest = reference.partition("@")
            repository, tag = split(name)
            view = self.repository(repository)
            view.collect(view.manifest(digest or tag or "latest"), found.setdefault(repository, layout.Loaded()))
            if tag and not digest:
                found[repository].tags[tag] = view.manifest(tag).digest
        layout.save(path, found)

    def _put(self, reference: str, made: Made) -> Descriptor:
        name, tag = split(reference)
        repository = Repository(self._content, self._sessions, name)
        for blob in made.blobs:
            repository.push_blob(Digest.of(blob), [blob])
        repository.push_manifest(tag or made.descriptor.digest, made.data, made.descriptor.media_type)
        return made.descriptor

    def repositories(self) -> list[str]:
        """The names of the repositories, sorted."""
        return list(self.store.repositories())

    def repository(self, name: str) -> View:
        """The repository, whether or not there is anything in it yet. Raises NameInvalid."""
        from .view import View

        return View(self.store, self._sessions, Name.parse(name))


def _check(**limits: int) -> None:
    for name, limit in limits.items():
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ValueError(f"{name}={limit!r}: a whole number, 1 or more")


def _authorizer(auth: Authorizer | Mapping[str, str] | None) -> Authorizer | None:
    if auth is not None and not isinstance(auth, Mapping):
        if not hasattr(auth, "authorize"):  # which is not shown: it may be a password
            raise TypeError(f"auth: a dict of names and passwords, Basic, Token or ReadOnly, not {type(auth).__name__}")
        return auth
    if auth is None:
        return None
    from .auth import Basic

    return Basic(auth)


def cannot_listen(error: OSError, host: str, port: int, dash: str = "") -> str:
    """What went wrong and what to do, in one line; `dash` stands in front of an option's name."""
    taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
    advice = f"{dash}port 0 takes a free one" if taken else f"give another {dash}host"
    return f"can't listen on {host} port {port}: {error.strerror or error}; {advice}"


def _with_tokens(handler: Handler, auth: Authorizer) -> Handler:
    """The handler, and the token service where `auth` needs one."""
    from .auth import Token, innermost
    from .tokenservice import TokenService

    service = innermost(auth)
    return TokenService(handler, service) if isinstance(service, Token) else handler


def _identity(tls: TLS | None, host: str) -> Identity | None:
    if not tls:
        return None
    from .tls import Identity

    return Identity(tls, host)


def open_store(store: Store | str | os.PathLike[str] | None) -> Store:
    """The store that the argument of `Registry` means. Raises OSError, ValueError for a malformed URL."""
    if store is None:
        return MemoryStore()
    if isinstance(store, str) and "://" in store:
        from .store.remote import RemoteStore  # seldom asked for, and it brings http.client

        return RemoteStore(store)
    if isinstance(store, (str, os.PathLike)):
        from .store.directory import DirectoryStore

        if _ADDRESS.fullmatch(str(store)):
            raise ValueError(f"{store}: write http://{store} for a registry, or ./{store} for a folder")
        return DirectoryStore(store)
    if not hasattr(store, "put_blob"):
        raise TypeError(f"store: None, a path, a URL or a Store, not {type(store).__name__}")
    return store


_ADDRESS = re.compile(r"[A-Za-z0-9.-]+:[0-9]{1,5}")


def _upstream(upstream: Store | str) -> Store:
    """Raises ValueError for a malformed URL."""
    if isinstance(upstream, str):
        from .store.remote import RemoteStore

        return RemoteStore(upstream)
    return open_store(upstream)
