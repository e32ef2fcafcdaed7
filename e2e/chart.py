"""What Helm makes of the chart, for tests to look at."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from csi_driver import config
from e2e.node import succeeded

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "model-csi-driver"
CASES = sorted((CHART / "ci").glob("*-values.yaml"))

Values = dict[str, Any]


class Objects(list[dict[str, Any]]):
    """The objects of one rendering, in its order."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [item for item in self if item["kind"] == kind]

    def one(self, kind: str) -> dict[str, Any]:
        [item] = self.of(kind)
        return item

    @property
    def kinds(self) -> set[str]:
        return {item["kind"] for item in self}

    @property
    def pod(self) -> dict[str, Any]:
        """The DaemonSet's pod."""
        spec: dict[str, Any] = self.one("DaemonSet")["spec"]["template"]["spec"]
        return spec

    def container(self, name: str) -> dict[str, Any]:
        return named(self.pod["containers"], name)

    def volume(self, name: str) -> dict[str, Any]:
        return named(self.pod["volumes"], name)

    def config(self, scratch: Path) -> config.Config:
        """The configuration as the driver reads it in its pod."""
        [text] = [item["data"]["config.yaml"] for item in self.of("ConfigMap") if "config.yaml" in item["data"]]
        path = scratch / "config.yaml"
        path.write_text(text, encoding="utf-8")
        return config.load(path, {"CSI_NODE_ID": "node", "POD_IP": "192.0.2.7"})


def named(items: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(item for item in items if item["name"] == name)


class Strict(yaml.SafeLoader):
    """YAML in which no key is there twice: some readers refuse that, and the others each take another one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        assert len(mapping) == len(node.value), f"a key is there twice: {node.start_mark}"
        return mapping


@dataclass(frozen=True, slots=True)
class Helm:
    """Helm's command line, always at work on one chart."""

    program: Path
    chart: Path = CHART

    def run(self, *arguments: str, values: Values | None = None) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [self.program, *arguments, self.chart]
        if arguments[0] != "package":
            command += ["--values", "-"]
        return subprocess.run(
            command, input=json.dumps(values or {}), capture_output=True, text=True, timeout=60, check=False
        )

    def render(
        self,
        values: Values | None = None,
        *,
        kubernetes: str = "1.35",
        release: str = "models",
        namespace: str = "model-csi",
    ) -> Objects:
        """The chart's objects as a release."""
        options = ["--namespace", namespace, "--kube-version", kubernetes]
        said = succeeded(self.run("template", release, *options, values=values))
        return Objects(item for item in yaml.load_all(said, Strict) if item)


def case(name: str) -> Values:
    """The values in the chart's ci/`name`-values.yaml."""
    values: Values = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text(encoding="utf-8")) or {}
    return values
