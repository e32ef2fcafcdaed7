"""How certificates are verified: always, and by which authorities."""

import os
import ssl
from collections.abc import Sequence
from pathlib import Path

from csi_driver.errors import Unavailable
from csi_driver.registry.trust import Trust


def tls_context(*authorities: Path, clients: Sequence[tuple[Path, Path]] = ()) -> ssl.SSLContext:
    """Verifies by the system's CAs, or those of requests where the system has none, and by `authorities` as well.

    `clients` are pairs of a certificate and its key that the node shows to whoever asks. Raises `Unavailable` with the
    name of a file that is of no use.
    """
    context = ssl.create_default_context()
    system = ssl.get_default_verify_paths()
    if system.cafile is None and system.capath is None:
        from requests import certs  # noqa: PLC0415  hardly ever needed

        context.load_verify_locations(certs.where())
    for path in authorities:
        try:
            context.load_verify_locations(path)
        except OSError as error:  # ssl.SSLError is one
            raise _useless(path, "certificates of authorities in PEM form", error) from error
    for certificate, key in reversed(clients):  # the last of each kind of key is the one that is used
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:
            raise _useless(certificate, f"a certificate with its key {key}, both in PEM form", error) from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def stamp(trust: Trust) -> tuple[tuple[int, ...], ...]:
    """What changes when one of the files does; raises `Unavailable` for one that is not there."""
    found = []
    for path in (*trust.authorities, *(path for pair in trust.clients for path in pair)):
        try:
            status = os.stat(path)
        except OSError as error:
            raise _useless(path, "a file in PEM form", error) from error
        found.append((status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(found)


def _no_password() -> str:
    """Asked for where a key is encrypted; without this function OpenSSL would ask at the terminal."""
    raise ValueError("the key is encrypted, and a driver has nobody to ask for its password")


def _useless(path: Path, wanted: str, error: Exception) -> Unavailable:
    said = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return Unavailable(f"{path} must be {wanted}: {said}; mend the file, or name another where this one is named")
