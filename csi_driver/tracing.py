"""What a publish spends its time on, as OpenTelemetry spans; nothing of OpenTelemetry is loaded when that is off."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from csi_driver.errors import DriverError, InvalidRequest

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_TIMEOUT = 2.0  # seconds that the collector has for a batch, in which it is asked again


class Tracing:
    """Spans to an OTLP/HTTP collector. What is sent late or refused is dropped: tracing never holds anything up.

    A span's parent is the span it was begun in, also across threads that work is handed to.
    """

    def __init__(self, endpoint: str = "", *, service: str = "", version: str = "", node: str = "") -> None:
        """Spans go to the URL `endpoint`, such as http://collector:4318/v1/traces; with none, tracing is off.

        Sampling and batches follow OpenTelemetry's own variables (OTEL_TRACES_SAMPLER, OTEL_BSP_…). Raises
        `InvalidRequest` when OpenTelemetry is not installed, or the endpoint is no http(s) URL.
        """
        self._provider = _provider(endpoint, service, version, node) if endpoint else None
        self._tracer = self._provider.get_tracer("model-csi", version) if self._provider else None

    def span(
        self, name: str, carrier: Mapping[str, str] | None = None, **attributes: object
    ) -> AbstractContextManager[None]:
        """The time of the `with`, with these attributes, and as failed if it raises.

        `carrier` may bring a parent from another process (W3C Trace Context, `traceparent`).
        """
        return nullcontext() if self._tracer is None else self._span(name, carrier, attributes)

    def close(self) -> None:
        """Hand the last spans to the collector, which may take the time of its timeout for each batch."""
        if self._provider:
            self._provider.shutdown()

    @contextmanager
    def _span(self, name: str, carrier: Mapping[str, str] | None, attributes: Mapping[str, object]) -> Iterator[None]:
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415  loaded by now
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        assert self._tracer is not None  # noqa: S101  `span` asked
        parent = TraceContextTextMapPropagator().extract(carrier) if carrier else None
        with self._tracer.start_as_current_span(
            name, parent, attributes=_plain(attributes), record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except BaseException as error:
                # The driver's own texts hold no secrets; what others say might.
                span.set_status(Status(StatusCode.ERROR, str(error) if isinstance(error, DriverError) else None))
                span.set_attribute("error.type", type(error).__name__)
                raise


def _provider(endpoint: str, service: str, version: str, node: str) -> "TracerProvider":
    if not endpoint.startswith(("http://", "https://")):
        raise InvalidRequest(
            f"setting trace_endpoint is {endpoint!r}: must be a URL such as http://collector:4318/v1/traces"
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        raise InvalidRequest(
            "setting trace_endpoint needs OpenTelemetry: install model-csi-driver[tracing], or leave it empty"
        ) from error
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # a line for each batch that is lost, not for each try
    attributes = {"service.name": service, "service.version": version, "host.name": node, "k8s.node.name": node}
    provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=_TIMEOUT)))
    return provider


def _plain(attributes: Mapping[str, object]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, bool | int | float) else str(value)
        for name, value in attributes.items()
        if value is not None
    }
