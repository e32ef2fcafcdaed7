"""Where the metrics are read: /metrics, and /metrics/detail for what has a series for every volume."""

from collections.abc import Callable, Iterable
from typing import Any, Self

from prometheus_client import CollectorRegistry, make_wsgi_app, start_http_server

from csi_driver.errors import InvalidRequest

_DETAIL = "/metrics/detail"

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Endpoint:
    """Serves in a thread of its own until it is closed."""

    def __init__(self, address: str, *, metrics: CollectorRegistry, detail: CollectorRegistry) -> None:
        """`address` is `host:port`, with or without `tcp://`; raises `InvalidRequest` where nobody can listen."""
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        if not port.isdecimal():
            raise InvalidRequest(f"setting metrics_addr is {address!r}: must be host:port, such as 0.0.0.0:5244")
        try:
            self._server, self._thread = start_http_server(
                int(port),
                addr=host.strip("[]") or "0.0.0.0",  # noqa: S104  the operator's own wish
                registry=metrics,
            )
        except OSError as error:
            raise InvalidRequest(f"setting metrics_addr is {address!r}: cannot listen there: {error}") from error
        self._server.set_app(_by_path(make_wsgi_app(metrics), make_wsgi_app(detail)))

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _by_path(metrics: App, detail: App) -> App:
    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        chosen = detail if environ["PATH_INFO"].rstrip("/") == _DETAIL else metrics
        return chosen(environ, start_response)

    return serve
