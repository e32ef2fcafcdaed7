"""What `make docs` writes is what the code and the chart say now."""

import json
from pathlib import Path
from typing import Any

import pytest

from csi_driver.config import IGNORED
from docs.generate import files, manifests, pages, schema, settings, values

ROOT = Path(__file__).parents[2]


def test_every_generated_file_is_current() -> None:
    stale = [str(path.relative_to(ROOT)) for path in files.stale(ROOT)]

    assert not stale, f"not current: {', '.join(stale)}; run make docs"


def test_the_chart_takes_every_setting_that_an_operator_may_make_and_no_other() -> None:
    names = {item.name for item in settings.all_settings()} - schema.OF_THE_CHART | IGNORED

    assert set(leaves(schema.of_settings())) == names


def test_a_size_may_be_text_and_a_count_may_not() -> None:
    features, pull = (schema.of_settings()[name]["properties"] for name in ("features", "pull_config"))

    assert features["disk_usage_limit"]["type"] == ["integer", "string"]
    assert pull["concurrency"]["type"] == "integer"


def test_what_the_driver_would_refuse_at_its_start_is_refused_before() -> None:
    described = schema.of_settings()
    pull, kubernetes = (described[name]["properties"] for name in ("pull_config", "kubernetes"))

    assert described["log_format"]["enum"] == ["text", "json"]
    assert (pull["stall_timeout_in_seconds"]["minimum"], pull["stall_timeout_in_seconds"]["maximum"]) == (1, 3600)
    assert (kubernetes["node_labels"]["minimum"], kubernetes["node_labels"]["maximum"]) == (0, 100)
    assert pull["concurrency"]["minimum"] == 0, "which means the default, as in the Go driver"


def test_a_list_is_a_list_and_a_mapping_a_mapping() -> None:
    policy = schema.of_settings()["policy"]["properties"]

    assert policy["allow"]["type"] == "array"
    assert policy["namespaces"]["type"] == "object"


def test_settings_that_a_running_driver_follows_are_told_to_the_chart() -> None:
    assert "- log_level\n" in settings.live_names()
    assert "service_name" not in settings.live_names()


def test_a_page_without_its_part_is_an_error() -> None:
    with pytest.raises(ValueError, match="the page has no part"):
        pages.between("# A page\n", "values", ["a line"])


def test_a_part_is_replaced_and_the_rest_of_its_page_kept() -> None:
    page = "above\n<!-- p: written by `make docs` -->\nold\n<!-- end of p -->\nbelow\n"

    assert pages.between(page, "p", ["new"]) == page.replace("old", "new")


def test_values_are_listed_with_their_defaults_and_what_is_said_of_them(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(
        "# Of the file.\n\n# -- Of a.\n# more\na: 1\n# not marked\nb:\n  # -- Of c.\n  c: {d: [2]}\n  e: ''\n"
        "f:\n  g: {h: 3}\n",
        encoding="utf-8",
    )

    assert [(value.name, value.default, value.doc) for value in values.all_values(path)] == [
        ("a", "`1`", "Of a. more"),
        ("b.c", '`{"d": [2]}`', "Of c."),
        ("b.e", '`""`', ""),
        ("f", '`{"g": {"h": 3}}`', ""),
    ]


def test_every_value_of_the_chart_is_explained_and_has_a_schema() -> None:
    listed = values.all_values(ROOT / manifests.CHART / "values.yaml")
    described = json.loads((ROOT / manifests.CHART / "values.schema.json").read_text(encoding="utf-8"))

    assert [value.name for value in listed if not value.doc] == []
    assert [value.name for value in listed if not has_schema(described, described, value.name.split("."))] == []


def has_schema(whole: Any, part: Any, path: list[str]) -> bool:
    while "$ref" in part:
        part = whole["definitions"][part["$ref"].rpartition("/")[2]]
    return not path or (
        path[0] in part.get("properties", {}) and has_schema(whole, part["properties"][path[0]], path[1:])
    )


def leaves(tree: dict[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, part in tree.items():
        inner = part.get("properties")
        found += leaves(inner, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return found
