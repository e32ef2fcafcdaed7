"""Traces: a collector is told what each publish spent its time on, and never holds one up."""

import gzip
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from csi_driver.errors import InvalidRequest, NotFound
from csi_driver.tracing import Tracing
from tests.fixtures.driver import Node
from tests.fixtures.registry import EmbeddedRegistry

OK, ERROR = 0, 2  # STATUS_CODE_UNSET and STATUS_CODE_ERROR of opentelemetry.proto.trace.v1


@dataclass
class Collector:
    """An OTLP/HTTP collector."""

    url: str = ""
    spans: list[Any] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)

    def named(self, name: str) -> Any:
        (span,) = [span for span in self.spans if span.name == name]
        return span


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                collector.resources.append({one.key: one.value.string_value for one in group.resource.attributes})
                collector.spans += [span for scope in group.scope_spans for span in scope.spans]
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        collector.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()


def test_a_publish_is_a_trace_of_its_steps(registry: EmbeddedRegistry, node: Node) -> None:
    registry.push_model("team/model", "v1", {"model.safetensors": b"weights"})
    with collecting() as collector:
        node.trace_endpoint = collector.url
        with node.driver() as driver:
            driver.publish("a", registry.reference("team/model", "v1"))
    root, pull = collector.named("NodePublishVolume"), collector.named("pull")
    assert {collector.named(name).parent_span_id for name in ("resolve", "pull")} == {root.span_id}
    assert {collector.named(name).parent_span_id for name in ("fetch", "assemble")} == {pull.span_id}
    assert {span.trace_id for span in collector.spans} == {root.trace_id}
    assert {span.status.code for span in collector.spans} == {OK}
    assert collector.resources[0]["service.name"] == "model.csi.modelpack.org"
    assert collector.resources[0]["k8s.node.name"] == "node-1"


def test_a_failure_is_told_with_its_reason(registry: EmbeddedRegistry, node: Node) -> None:
    with collecting() as collector:
        node.trace_endpoint = collector.url
        with node.driver() as driver, pytest.raises(NotFound) as failure:
            driver.publish("a", registry.reference("team/missing", "v1"))
    span = collector.named("NodePublishVolume")
    assert (span.status.code, span.status.message) == (ERROR, str(failure.value))


def test_a_collector_that_does_not_answer_holds_nothing_up(registry: EmbeddedRegistry, node: Node) -> None:
    registry.push_model("team/model", "v1", {"model.safetensors": b"weights"})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        node.trace_endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces"
        with node.driver() as driver:
            driver.publish("a", registry.reference("team/model", "v1"))
            driver.unpublish("a")


def test_a_caller_may_bring_the_trace_that_its_call_belongs_to() -> None:
    with collecting() as collector:
        tracing = Tracing(collector.url)
        with tracing.span("call", {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}):
            pass
        tracing.close()
    span = collector.named("call")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == ("ab" * 16, "cd" * 8)


def test_what_a_foreign_error_says_is_not_told() -> None:
    with collecting() as collector:
        tracing = Tracing(collector.url)
        with pytest.raises(ValueError, match="password"), tracing.span("call"):
            raise ValueError("password=hunter2")
        tracing.close()
    assert b"hunter2" not in collector.named("call").SerializeToString()


def test_an_endpoint_that_is_no_url_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"trace_endpoint is 'collector:4318'"):
        Tracing("collector:4318")


def test_without_an_endpoint_nothing_of_opentelemetry_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"node_id: here\nroot_dir: {tmp_path}/root\n")
    script = (
        "import pathlib, sys; from csi_driver.app import Driver; from csi_driver.config import load;"
        f"Driver(load(pathlib.Path({str(file)!r}), {{}}));"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
