"""What is shipped beside the code fits the code: image, chart, examples."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_driver import __version__, config
from csi_driver.csi import attributes

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.yaml"))
CHART = ROOT / "deploy" / "helm" / "model-csi-driver"


def test_the_chart_installs_the_version_that_it_comes_with() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))

    assert chart["appVersion"] == __version__


def test_the_charts_defaults_are_the_drivers() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))

    assert values["config"]["serviceName"] == config.DEFAULT_NAME
    assert values["config"]["rootDir"] == str(config.Config().root_dir)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_driver_understands_the_volumes_of_an_example(path: Path) -> None:
    documents = [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]
    volumes = [volume for document in documents for volume in inline_volumes(document)]

    assert volumes
    for volume in volumes:
        assert volume["driver"] == config.DEFAULT_NAME
        assert volume["readOnly"] is True
        assert attributes.read(volume["volumeAttributes"], config.DEFAULT_NAME).reference.repository


def test_the_image_is_built_from_files_that_reach_the_builder() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    names = {name for line in copied for name in line.split()}
    assert names == {line.removeprefix("!") for line in sent if line.startswith("!")}
    assert all((ROOT / name).exists() for name in names)


def test_the_image_says_the_version_that_is_in_it() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")

    assert re.findall(r"^ARG VERSION=(.*)$", text, re.MULTILINE) == [__version__]


def test_what_the_image_leaves_out_is_never_imported() -> None:
    [removed] = re.findall(
        r"site-packages && rm -r (.+)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    names = [re.sub(r"\..*", "", path).replace("/", ".") for path in removed.split()]
    program = f"""
import importlib.abc, importlib.util, pkgutil, sys

class Gone(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if any(name == gone or name.startswith(gone + ".") for gone in {names!r}):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Gone())
import csi_driver
for module in pkgutil.walk_packages(csi_driver.__path__, "csi_driver."):
    if module.name != "csi_driver.__main__":
        importlib.import_module(module.name)
"""

    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)

    assert names == ["kubernetes.aio", "kubernetes.client.api", "zstandard._cffi"]


def inline_volumes(item: Any) -> list[dict[str, Any]]:
    """Every inline CSI volume anywhere in a document."""
    if isinstance(item, list):
        return [volume for part in item for volume in inline_volumes(part)]
    if not isinstance(item, dict):
        return []
    inside = [volume for part in item.values() for volume in inline_volumes(part)]
    return [item["csi"], *inside] if isinstance(item.get("csi"), dict) else inside
