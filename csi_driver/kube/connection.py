"""How the API server is reached: the one user of the package `kubernetes`, of its low-level client alone.

The generated classes of the API would cost 80 MiB and a second; objects are plain JSON here.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.incluster_config import InClusterConfigLoader
from kubernetes.config.kube_config import load_kube_config
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse
from urllib3.util.retry import Retry

from csi_driver import __version__
from csi_driver.errors import Unavailable

_MOST_BYTES = 4 << 20  # an object of etcd has at most 1.5 MiB (its --max-request-bytes)
_PIECE = 1 << 16
_CONNECTIONS = 8
_WRONG_FILES = (ConfigException, OSError, ValueError, TypeError, KeyError, yaml.YAMLError)  # the loaders check little


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answered; a body may hold secrets."""

    status: int
    body: bytes = field(repr=False)


class Connection:
    """One identity at one API server. The arguments are those of `Api`; raises `Unavailable`."""

    def __init__(self, *, timeout: float, kubeconfig: Path | None, environ: Mapping[str, str], account: Path) -> None:
        self._timeout = timeout
        self._kubeconfig = kubeconfig
        self._environ = environ
        self._account = account
        self._configuration = Configuration()
        self.read_token()
        # A kept connection may have died meanwhile: what only reads is then asked once more. Nothing else is repeated.
        self._configuration.retries = Retry(total=1, connect=0, read=1, redirect=0, status=0, other=0)
        self._configuration.connection_pool_maxsize = _CONNECTIONS
        if kubeconfig is None:
            self._configuration.proxy = None  # HTTPS_PROXY is for registries; the cluster's own address needs none
        self._client = ApiClient(self._configuration)
        self._client.user_agent = f"model-csi-driver/{__version__}"

    def read_token(self) -> None:
        """Take address, CA and token from their files."""
        try:
            if self._kubeconfig:
                load_kube_config(  # type: ignore[no-untyped-call]
                    str(self._kubeconfig), client_configuration=self._configuration, persist_config=False
                )
            else:
                account = InClusterConfigLoader(  # type: ignore[no-untyped-call]
                    str(self._account / "token"), str(self._account / "ca.crt"), environ=self._environ
                )
                account.load_and_set(self._configuration)  # type: ignore[no-untyped-call]
        except _WRONG_FILES as error:
            where = self._kubeconfig or self._account
            raise Unavailable(
                f"the Kubernetes API cannot be asked: {where}: {error}; run in a pod with a service account, or set "
                "kubernetes.kubeconfig"
            ) from None

    def ask(self, method: str, path: str, body: Mapping[str, object] | None, kind: str) -> Answer:
        """One exchange, whatever the status."""
        deadline = time.monotonic() + 2 * self._timeout
        try:
            request = self._client.param_serialize(
                method,
                path,
                header_params={"Accept": "application/json", "Content-Type": kind},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = self._client.call_api(*request, _request_timeout=(self._timeout, self._timeout))
            return Answer(answer.status, self._read(answer.response, deadline))
        except (ApiException, HTTPError, ConfigException, OSError) as error:
            raise Unavailable(f"the Kubernetes API cannot be asked for {method} {path}: {_reason(error)}") from None
        except ValueError:  # http.client's, which quotes the header, and so the token
            raise Unavailable(
                "the Kubernetes API cannot be asked: the token has characters that no header may"
            ) from None

    def close(self) -> None:
        self._client.rest_client.close()

    def _read(self, response: HTTPResponse, deadline: float) -> bytes:
        """The whole body, of bounded size and in bounded time."""
        body = bytearray()
        try:
            while len(body) <= _MOST_BYTES and time.monotonic() <= deadline:
                piece = response.read1(_PIECE)
                if not piece:
                    return bytes(body)
                body += piece
        finally:
            response.close()  # does nothing to a connection whose answer was read to its end
        raise OSError(f"the answer has more than {_MOST_BYTES >> 20} MiB, or takes longer than {2 * self._timeout:g} s")


def _reason(error: BaseException) -> str:
    """What lies beneath: urllib3 wraps the system's words in its own."""
    while cause := getattr(error, "reason", None) if isinstance(error, HTTPError) else None:
        if not isinstance(cause, BaseException):
            break
        error = cause
    return str(getattr(error, "reason", None) or error)[:300]
