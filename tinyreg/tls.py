"""A certificate for this run, and the contexts of both sides; what is said inside TLS it does not know."""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path
from types import ModuleType

Certificate = tuple[str | os.PathLike[str], str | os.PathLike[str]]
TLS = bool | Certificate | ssl.SSLContext
"""True for a certificate of our own, `(certfile, keyfile)`, or a context to serve with."""

NAMES = ("localhost", "127.0.0.1", "::1")


class Identity:
    """The server's side of TLS, and what clients need to trust it.

    `ca_file` is the PEM file of the CA, from `open` to `close`; None where somebody else's certificate is served.
    Raises ValueError where `trustme` is needed and missing, and for files that are no certificate and its key; OSError
    for those that can't be read.
    """

    def __init__(self, tls: TLS, host: str) -> None:
        self.ca_file: str | None = None
        self._authority = b""
        if isinstance(tls, ssl.SSLContext):
            self.context = tls
            return
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if isinstance(tls, tuple):
            _load(self.context, *tls)
            return
        trustme = _import_trustme()
        authority = trustme.CA()
        authority.issue_cert(*dict.fromkeys((*NAMES, host))).configure_cert(self.context)
        self._authority = authority.cert_pem.bytes()

    def open(self) -> None:
        """Write the CA's file, if it is ours and not there."""
        if self._authority and self.ca_file is None:
            handle, self.ca_file = tempfile.mkstemp(prefix="tinyreg-ca-", suffix=".pem")
            with open(handle, "wb") as file:
                file.write(self._authority)

    def client_context(self) -> ssl.SSLContext:
        """A context that trusts the certificate. Raises ValueError where only its owner knows how."""
        if not self._authority:
            raise ValueError("the certificate is your own: trust it with ssl.create_default_context(cafile=…)")
        return ssl.create_default_context(cadata=self._authority.decode())

    def close(self) -> None:
        """Remove the CA's file."""
        if self.ca_file is not None:
            Path(self.ca_file).unlink(missing_ok=True)
            self.ca_file = None


def _load(context: ssl.SSLContext, certificate: str | os.PathLike[str], key: str | os.PathLike[str]) -> None:
    for path in (certificate, key):
        Path(path).read_bytes()  # `load_cert_chain` does not say which of them it misses
    try:
        # Without a password OpenSSL would ask the terminal for one.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise ValueError(
            f"{certificate} and {key}: no certificate and its key, in PEM and not encrypted: {error}"
        ) from None


def _import_trustme() -> ModuleType:
    try:
        import trustme
    except ImportError:
        raise ValueError("tls=True makes a certificate with trustme: pip install 'tinyreg[tls]'") from None
    return trustme
