"""Alerts and dashboard before a real Prometheus, with what real drivers told."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from csi_driver.cli.exits import ExitCode
from e2e import node, prometheus
from e2e.chart import CHART
from e2e.conftest import Program
from e2e.distribution import DockerRegistry
from e2e.node import succeeded
from e2e.prometheus import INTERVAL, Prometheus

RULES = CHART / "monitoring" / "rules.yaml"
DASHBOARD = CHART / "monitoring" / "dashboard.json"
START = 1_700_000_000
NOTHING_HAPPENED = ("Other calls that failed", "Damage found in the cache", "How far pulls are")  # all are done
LABELS = {"container": "model-csi-driver", "node": "node-a", "pod": "driver-a", "namespace": "model-csi"}


def test_every_alert_is_raised_when_it_should_be(program: Program, tmp_path: Path) -> None:
    for path in (RULES, Path(__file__).with_name("alerts.yaml")):
        shutil.copy(path, tmp_path)
    promtool = program("promtool")

    for arguments in (["check", "rules", "rules.yaml"], ["test", "rules", "alerts.yaml"]):
        process = subprocess.run([promtool, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        succeeded(process)


@pytest.fixture(scope="module")
def scrapes(program: Program, docker_registry: DockerRegistry, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a real driver tells before, and after one model was mounted twice, one not found and one not to be had."""
    program("unshare")
    scratch = tmp_path_factory.mktemp("measured")
    weights = {"good": bytes(1 << 20), "lost": b"lost" * 1000}
    for name, content in weights.items():
        (scratch / name).mkdir()
        (scratch / name / "model.safetensors").write_bytes(content)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"

    def scrape() -> str:
        with urlopen(f"http://{address}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    with node.running(tmp_path_factory.mktemp("node"), metrics_addr=address) as driver:
        models = f"{docker_registry.host}/models"
        for name in weights:
            succeeded(driver.model_csi("push", scratch / name, f"{models}/{name}:v1"))
        lose(docker_registry, weights["lost"])
        before = scrape()
        driver.mount(f"{models}/good:v1", "one")
        driver.mount(f"{models}/good:v1", "two")
        for name in ("missing", "lost"):
            refused = driver.model_csi("mount", f"{models}/{name}:v1", driver.target(name))
            assert refused.returncode == ExitCode.NOT_FOUND, refused.stderr
        after = scrape()
    return [before] * 4 + [after] * 8


def lose(registry: DockerRegistry, content: bytes) -> None:
    """A blob is gone from the registry's disk, as after an accident."""
    blobs = (registry.access_log.parent / "content").rglob("data")
    [blob] = [path for path in blobs if path.stat().st_size == len(content) and path.read_bytes() == content]
    blob.unlink()


@pytest.fixture(scope="module")
def server(program: Program, scrapes: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    up = ["up 1\n"] * len(scrapes)
    text = prometheus.history([a + b for a, b in zip(scrapes, up, strict=True)], LABELS, START)
    scratch = tmp_path_factory.mktemp("prometheus")
    with prometheus.serving(program("prometheus"), program("promtool"), scratch, text) as running:
        yield running


def panels() -> list[Any]:
    found: list[Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return found


def shown(server: Prometheus, expression: str) -> list[tuple[dict[str, str], float]]:
    """What Grafana would show of an expression a minute and a half after the mounts."""
    for name, value in (("$__rate_interval", "2m"), ("$__range", "1h"), ("$node", ".*")):
        expression = expression.replace(name, value)
    return server.query(expression, START + 10 * INTERVAL)


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_every_panel_shows_what_happened(server: Prometheus, panel: Any) -> None:
    values = {target["expr"]: shown(server, target["expr"]) for target in panel["targets"]}

    if panel["title"] in NOTHING_HAPPENED:
        assert not any(value for series in values.values() for _, value in series), values
    else:
        assert all(values.values()), values
    for series, target in zip(values.values(), panel["targets"], strict=True):
        wanted = {part.split("}}")[0] for part in target["legendFormat"].split("{{")[1:]}
        assert all(wanted <= labels.keys() for labels, _ in series)


def test_the_panels_have_the_numbers_of_what_happened(server: Prometheus) -> None:
    def sums(title: str) -> list[float]:
        [panel] = [panel for panel in panels() if panel["title"] == title]
        return [sum(value for _, value in shown(server, target["expr"])) for target in panel["targets"]]

    assert sums("Drivers that answer") == [1]
    assert sums("Pulls under way") == [0]
    assert sums("Models found on the node") == [pytest.approx(1 / 3)]  # the second of three
    assert sums("Download rate")[0] > 5000  # a mebibyte in two minutes
    mounted, failed = sums("Mounts of models, by outcome")
    assert mounted == pytest.approx(failed)
    assert sums("Failed pulls, by reason") == [pytest.approx(failed / 2)]
