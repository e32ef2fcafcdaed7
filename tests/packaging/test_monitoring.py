"""Dashboard and alerts ask for what the driver tells, by names that it has."""

import json
import re
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from csi_driver.csi.pb import csi_pb2
from csi_driver.metrics import Metrics
from docs.generate import metrics
from docs.generate.manifests import CHART

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / CHART / "monitoring"
OF_HISTOGRAMS = ("_bucket", "_sum", "_count")


def dashboard() -> Any:
    return json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))


def rules() -> list[Any]:
    text = (MONITORING / "rules.yaml").read_text(encoding="utf-8")
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    """Every query of Prometheus in the dashboard and the alerts."""
    board = dashboard()
    panels = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    choices = [item["query"]["query"] for item in board["templating"]["list"] if item["type"] == "query"]
    return [*panels, *choices, *(rule["expr"] for rule in rules())]


@pytest.fixture(scope="module")
def told() -> set[str]:
    """The names of all samples that a driver serves."""
    names = set()
    for item in metrics.all_metrics():
        names |= {f"{item.name}{end}" for end in OF_HISTOGRAMS} if item.kind == "histogram" else {item.name}
    return names


def test_every_query_is_of_metrics_that_the_driver_has(told: set[str]) -> None:
    asked = {name for expression in expressions() for name in re.findall(r"model_csi_\w+", expression)}

    assert asked
    assert asked - told == set()


def test_every_method_and_status_that_a_query_names_is_one() -> None:
    services = csi_pb2.DESCRIPTOR.services_by_name.values()
    methods = {method.name for service in services for method in service.methods}
    text = "\n".join(expressions())

    assert set(re.findall(r'\bop\S?="([^"]+)"', text)) <= methods
    codes = {code for group in re.findall(r'\bcode[!=~]+"([^"]+)"', text) for code in group.split("|")}
    assert codes
    assert codes <= {code.name for code in grpc.StatusCode}


def test_the_dashboard_has_what_grafana_needs_to_load_it() -> None:
    board = dashboard()

    assert board["title"]
    assert board["uid"]
    assert isinstance(board["schemaVersion"], int)
    assert "__inputs" not in board  # which a provisioned dashboard is never asked for
    variables = {item["name"] for item in board["templating"]["list"]}
    assert set(re.findall(r"\$\{?(?!__)(\w+)", json.dumps(board["panels"]))) == variables
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["title"] and panel["description"] and panel["targets"] for panel in panels)


def test_the_panels_of_the_dashboard_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_every_alert_says_what_happened_and_is_in_the_documentation() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")

    assert re.findall(r"^\| `(ModelCsi\w+)` \|", page, flags=re.MULTILINE) == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_what_an_alert_wants_to_see_grow_is_told_before_it_does() -> None:
    """A series that begins with its first event has never grown (Prometheus, "Avoid missing metrics")."""
    grown = [
        re.search(r"increase\((\w+?)(?:\{(.*)\})?\[\w+\]\).* [>=]=? 0$", rule["expr"], re.DOTALL) for rule in rules()
    ]
    samples = [sample for family in Metrics().registry.collect() for sample in family.samples]

    wanted = [(found[1], dict(re.findall(r'(\w+)="(\w+)"', found[2] or ""))) for found in grown if found]
    assert len(wanted) > 3
    for name, labels in wanted:
        assert any(sample.name == name and labels.items() <= sample.labels.items() for sample in samples), (
            name,
            labels,
        )
