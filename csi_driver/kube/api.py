"""The Kubernetes API as this driver asks it: single objects by their path, as JSON."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from csi_driver.errors import (
    AccessDenied,
    Conflict,
    DriverError,
    InvalidRequest,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from csi_driver.inflight import Lock

if TYPE_CHECKING:
    from csi_driver.kube.connection import Answer, Connection

Object = Mapping[str, Any]

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its service account (Kubernetes, "Accessing the Kubernetes API from a Pod")."""

_MERGE_PATCH = "application/merge-patch+json"  # RFC 7386
_LONGEST = 300


class Api:
    """The API server, asked as the service account of the driver's pod, or as a kubeconfig file says.

    Nothing is imported or connected before the first request. No request takes longer than `timeout` seconds for each
    of connecting and answering, twice that where a connection that was kept turns out to be dead. The token is read
    again every minute, and when it is refused, as projected tokens are replaced. Safe to use from several threads.

    Every request raises `NotFound` (404), `AccessDenied` (403), `Unauthenticated` (401), `Conflict` (409),
    `InvalidRequest` (any other 4xx) or `Unavailable`.
    """

    def __init__(
        self,
        *,
        timeout: float,
        kubeconfig: Path | None = None,
        environ: Mapping[str, str] = os.environ,
        account: Path = ACCOUNT,
    ) -> None:
        self._timeout = timeout
        self._kubeconfig = kubeconfig
        self._environ = environ
        self._account = account
        self._lock = Lock()
        self._connection: Connection | None = None

    def get(self, path: str) -> Object:
        """The object at `path`."""
        return self._ask("GET", path)

    def create(self, path: str, body: Object) -> Object:
        """The object that `body` became in the collection at `path`."""
        return self._ask("POST", path, body)

    def patch(self, path: str, body: Object) -> Object:
        """The object at `path` with the members of `body` changed, and those that are None there removed."""
        return self._ask("PATCH", path, body, _MERGE_PATCH)

    def close(self) -> None:
        """Close the connections that are kept alive; the next request opens new ones."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection:
            connection.close()

    def _ask(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        connection = self._connected()
        answer = connection.ask(method, path, body, kind)
        if answer.status == 401:  # the token may have been replaced since it was read
            connection.read_token()
            answer = connection.ask(method, path, body, kind)
        if answer.status >= 300:
            raise _refusal(answer, f"{method} {path}")
        document = _parsed(answer.body)
        if document is None:
            raise Unavailable(f"the Kubernetes API answered {method} {path} with something that is no JSON object")
        return document

    def _connected(self) -> "Connection":
        # Costs 0.3 s and 16 MiB, which a driver that never asks need not pay.
        from csi_driver.kube.connection import Connection  # noqa: PLC0415

        with self._lock:
            if self._connection is None:
                self._connection = Connection(
                    timeout=self._timeout, kubeconfig=self._kubeconfig, environ=self._environ, account=self._account
                )
            return self._connection


def core(resource: str, name: str = "", *, namespace: str = "") -> str:
    """The path of an object of the core group, or of the collection where no name is given."""
    parts = ["namespaces", namespace] if namespace else []
    parts += [resource, name] if name else [resource]
    return "/api/v1/" + "/".join(quote(part, safe="") for part in parts)


def storage(resource: str, name: str) -> str:
    """The path of an object of the group storage.k8s.io that belongs to no namespace."""
    return f"/apis/storage.k8s.io/v1/{quote(resource, safe='')}/{quote(name, safe='')}"


def _refusal(answer: "Answer", what: str) -> DriverError:
    document = _parsed(answer.body) or {}
    told = f"the Kubernetes API answered {answer.status} to {what}{_in_brackets(str(document.get('message') or ''))}"
    match answer.status:
        case 401:
            return Unauthenticated(f"{told}: check the driver's service account")
        case 403:
            return AccessDenied(f"{told}: check the roles of the driver's service account")
        case 404:
            return NotFound(told)
        case 409:
            return Conflict(told)
        case status if 400 <= status < 500 and status not in (408, 429):
            return InvalidRequest(told)
    return Unavailable(told)


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _in_brackets(text: str) -> str:
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return f" ({line[:_LONGEST]})" if line else ""
