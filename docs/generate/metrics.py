"""The driver's metrics as readers see them, told by a driver that runs, and the dashboard: docs/monitoring.md."""

import json
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.request import urlopen

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from csi_driver.app import Driver
from csi_driver.config import load
from docs.generate.pages import between, cell


@dataclass(frozen=True, slots=True)
class Told:
    """One metric, by the name of its samples in Prometheus; those of a histogram have endings of their own."""

    name: str
    kind: str
    doc: str


def page(text: str, dashboard: Path) -> str:
    """docs/monitoring.md with its tables renewed, of the metrics and of the panels of the `dashboard` at that path."""
    rows = [f"| `{item.name}` | {item.kind} | {cell(item.doc)} |" for item in all_metrics()]
    text = between(text, "metrics", ["| metric | kind | meaning |", "|---|---|---|", *rows])
    panels = json.loads(dashboard.read_text(encoding="utf-8"))["panels"]
    rows = [f"| {cell(panel['title'])} | {cell(panel['description'])} |" for panel in panels]
    return between(text, "dashboard", ["| panel | what it shows |", "|---|---|", *rows])


def all_metrics() -> list[Told]:
    """Every metric of the driver, in the order in which it serves them."""
    return list(_told(_scraped()))


def _told(families: Iterator[Metric]) -> Iterator[Told]:
    for family in families:
        if not family.name.endswith("_created"):  # when a counter began; prometheus_client's own
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield Told(name, "untyped" if family.type == "unknown" else family.type, family.documentation)


def _scraped() -> Iterator[Metric]:
    """What a driver with nothing to do serves at /metrics."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as scratch:
        config = load(None, {"CSI_NODE_ID": "node", "CSI_ENDPOINT": f"unix://{scratch}/csi.sock"})
        driver = Driver(replace(config, root_dir=Path(scratch, "root"), metrics_addr=address))
        driver.start()
        try:
            with urlopen(f"http://{address}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        finally:
            driver.stop(grace=1.0)
    return iter(text_string_to_metric_families(text))
