"""What a failed connection is told as: the host and the cause, and never a query that may hold a signature."""

import errno
import http.client
import socket
import ssl
from collections.abc import Iterator

import requests

from csi_driver.errors import Unavailable
from csi_driver.registry.retry import Transient
from csi_driver.registry.transport.limits import Overdue, TooLong
from csi_driver.registry.transport.proxies import Proxy
from csi_driver.registry.url import Url

_WANTS_TO_KNOW_WHO = frozenset(
    {"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_HANDSHAKE_FAILURE",
     "TLSV1_ALERT_UNKNOWN_CA"}
)  # fmt: skip

FAILURES = (OSError, http.client.HTTPException, UnicodeError)
"""What the network stack raises: requests' errors are OSErrors, bad host names UnicodeErrors."""

_CERTAINLY_NO_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)


def failure(error: BaseException, url: Url, via: Proxy | None) -> Unavailable:
    """`Transient` where another try may help; plain `Unavailable` for TLS that fails and names that do not exist."""
    chain = list(_chain(error))
    to = f"{url.authority} through the proxy {via.url.authority}" if via else url.authority
    for one in chain:
        if isinstance(one, Overdue):
            told = f"the answer of {to} was not complete after {one.seconds:g} s: it comes too slowly"
            return Transient(told, waited=one.seconds)
    known = next((found for one in chain if (found := _recognised(one, to))), None)
    return known or Transient(f"the connection to {to} failed: {_cause(chain[-1])}")


def root(error: BaseException) -> BaseException:
    """The first cause: what is around it may quote whole URLs."""
    *_, first = _chain(error)
    return first


def _recognised(one: BaseException, to: str) -> Unavailable | None:
    if isinstance(one, ssl.SSLError) and not isinstance(one, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return _tls_failure(one, to)
    if isinstance(one, socket.gaierror):
        told = f"the name of {to} cannot be resolved: {one.strerror}"
        return Unavailable(told) if one.errno == socket.EAI_NONAME else Transient(told)
    if isinstance(one, UnicodeError):
        return _unwritable(one, to)
    if isinstance(one, TimeoutError | requests.Timeout):
        if isinstance(one, OSError) and one.errno == errno.ETIMEDOUT:
            return Transient(f"the connection to {to} failed: {one.strerror}")
        return Transient(f"nothing came from {to} for too long")
    return None


def _unwritable(error: UnicodeError, to: str) -> Unavailable:
    if isinstance(error, UnicodeDecodeError):  # of a Location
        return Unavailable(f"{to} redirects to what is no URL")
    return Unavailable(f"the name of {to} cannot be resolved: a part of it is empty, or longer than 63 letters")


def _tls_failure(error: ssl.SSLError, to: str) -> Unavailable:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unavailable(
            f"the TLS certificate of {to} is not trusted: {error.verify_message or error.reason}; it is never accepted "
            "unverified: name the authority that signed it in pull_config.ca_file, or in `ca` of its hosts.toml"
        )
    if error.reason in _CERTAINLY_NO_TLS:
        return Unavailable(
            f"{to} does not speak TLS on that port ({error.reason}); if it is meant to be used without, list it among "
            "the plain HTTP hosts of the driver's configuration"
        )
    if error.reason in _WANTS_TO_KNOW_WHO:
        return Unavailable(
            f"{to} wants another client certificate, or any ({error.reason}): name one in `client` of its hosts.toml"
        )
    return Unavailable(f"TLS with {to} failed: {error.reason or error}")


def _cause(error: BaseException) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return "it ended in the middle of an answer"
    if isinstance(error, http.client.RemoteDisconnected):
        return "it was closed without an answer"
    if isinstance(error, TooLong | http.client.LineTooLong) or type(error) is http.client.HTTPException:
        return "its answer has longer or more headers than any that makes sense"
    if isinstance(error, http.client.HTTPException):
        return "the answer is not HTTP"
    if isinstance(error, requests.RequestException | UnicodeError):
        return type(error).__name__
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, the way that urllib3 nests them."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        inner = [getattr(current, "reason", None), *current.args, current.__cause__, current.__context__]
        current = next((one for one in inner if isinstance(one, BaseException)), None)
