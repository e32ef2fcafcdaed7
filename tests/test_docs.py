"""What the documentation says about the code is what the code says."""

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_driver.cache.layout import Places
from csi_driver.cli.exits import MEANINGS
from csi_driver.config import IGNORED, Config, load
from csi_driver.csi.status import CODES
from csi_driver.errors import AccessDenied, DriverError
from csi_driver.oci.config_blob import MAX_CONFIG_BYTES
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.digest import EMPTY_DIGEST, Digest
from csi_driver.oci.layout import plan
from csi_driver.oci.manifest import MAX_MANIFEST_BYTES, OCI_MANIFEST, Manifest
from csi_driver.oci.paths import MAX_COMPONENT_BYTES, MAX_COMPONENTS, MAX_PATH_BYTES
from csi_driver.oci.producers import docker_model_runner, ollama
from csi_driver.oci.producers.recognition import Producer, recognise
from csi_driver.oci.reference import Reference
from csi_driver.puller.policy import check
from docs.generate.schema import NAMED

DOCS = Path(__file__).parent.parent / "docs"


def settings(section: Any, prefix: str = "") -> list[tuple[str, str, str]]:
    """Name, default and description of every setting."""
    found: list[tuple[str, str, str]] = []
    for item in fields(section):
        if item.default_factory is not MISSING:
            found += settings(item.default_factory, f"{item.name}.")
        elif "doc" in item.metadata:
            doc = f"{item.metadata['doc']} *Live.*" if item.metadata["live"] else item.metadata["doc"]
            found.append((f"{prefix}{item.name}", shown(item.default), doc))
    return found


def shown(default: object) -> str:
    """A default as the table of settings has it."""
    text = str(default).lower() if isinstance(default, bool) else str(default).removesuffix(".0")
    return f"`{text}`" if default not in ("", (), None) else ""


def test_every_setting_is_documented_and_nothing_else_is() -> None:
    text = (DOCS / "configuration.md").read_text()
    table = re.findall(r"^\| `([a-z_.]+)` \| ?(.*) \| (.*) \|$", text, flags=re.MULTILINE)
    assert table == settings(Config)


def test_the_policy_in_the_documentation_is_one(tmp_path: Path) -> None:
    [text] = re.findall(r"```yaml\n(policy:\n.*?)```", (DOCS / "security.md").read_text(), flags=re.DOTALL)
    (tmp_path / "config.yaml").write_text(text)
    policy = load(tmp_path / "config.yaml", {}).policy
    check(policy, Reference.parse("docker.io/org/model"), "research-1")
    for reference, namespace in (
        ("docker.io/org/model", "payments"),
        ("registry.example.com/team/experimental", "payments"),
        ("registry.example.com/quarantine/model", "research-1"),
    ):
        with pytest.raises(AccessDenied):
            check(policy, Reference.parse(reference), namespace)


def test_every_example_of_settings_is_one_that_the_driver_takes(tmp_path: Path) -> None:
    blocks = [
        (page.name, yaml.safe_load(text))
        for page in sorted(DOCS.glob("*.md"))
        for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    ]
    plain = [settings for page, settings in blocks if page == "configuration.md"]
    of_chart = [settings["config"] for _, settings in blocks if "config" in settings]
    assert plain
    assert of_chart
    for given in (*plain, *of_chart):
        (tmp_path / "config.yaml").write_text(yaml.safe_dump({key: given[key] for key in given.keys() - {*NAMED}}))
        load(tmp_path / "config.yaml", {})


def test_every_ignored_setting_of_the_go_driver_is_named() -> None:
    text = (DOCS / "configuration.md").read_text()
    assert {name for name in IGNORED if f"`{name}`" in text} == IGNORED


@pytest.mark.parametrize("page", sorted([*DOCS.glob("*.md"), DOCS.parent / "README.md"]), ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_place_below_the_data_root_is_described() -> None:
    page = (DOCS / "architecture.md").read_text().split("\n## On disk\n")[1].split("```")[1]
    described = set(re.findall(r"^  ([a-z]+)", page, flags=re.MULTILINE))
    places = Places(Path("/root"))
    assert described == {path.name for path in (places.version, places.lock, places.secret, *places.directories)}


def test_every_status_that_a_pods_events_show_is_explained() -> None:
    codes = re.findall(r"^\| `([A-Z_]+)` \|", (DOCS / "volumes.md").read_text(), flags=re.MULTILINE)
    of_errors = {code.name for kind, code in CODES.items() if issubclass(kind, DriverError)}
    assert sorted(codes) == sorted(of_errors)


def test_the_table_of_exit_codes_is_the_command_lines_own() -> None:
    table = re.findall(r"^\| (\d+) \| (.*) \|$", (DOCS / "command-line.md").read_text(), flags=re.MULTILINE)
    assert table == [(str(code.value), meaning) for code, meaning in MEANINGS]


def test_the_table_of_producers_is_how_they_are_recognised() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| .* \| (.*) \| .* \|$", producers_section("Producers"), flags=re.MULTILINE)
    types = [
        (label, *found) for label, text in rows for found in re.findall(r"(artifact|config|layer) `([^`]+)`", text)
    ]
    assert {label for label, *_ in rows} == {producer.label for producer in Producer}
    assert {label for label, *_ in types} == {producer.label for producer in Producer}
    for label, member, media_type in types:
        assert recognise(manifest_with(**{member: media_type})).label == label, media_type


def test_the_table_of_files_without_names_is_what_they_are_called() -> None:
    text = producers_section("Files without names")
    rows = re.findall(r"^\| `([a-z-]+)` \| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \|$", text, flags=re.MULTILINE)
    configs = {
        "ollama": "application/vnd.docker.container.image.v1+json",
        "docker-model-runner": "application/vnd.docker.ai.model.config.v0.1+json",
    }
    for label, media_type, one, several in rows:
        for count, name in ((1, one), (2, several)):
            layout = plan(manifest_with(config=configs[label], layer=media_type, count=count))
            assert (layout.producer, layout.layers[0].path) == (label, name), media_type
    prefixes = {ollama.PREFIX: ollama.NAMED, docker_model_runner.PREFIX: docker_model_runner.NAMED}
    assert {media_type for _, media_type, _, _ in rows} == {p + kind for p, kinds in prefixes.items() for kind in kinds}


def test_the_limits_are_those_of_the_code() -> None:
    said = " ".join(producers_section("Limits").split())
    assert (
        f"A manifest has at most {MAX_MANIFEST_BYTES >> 20} MiB and a configuration {MAX_CONFIG_BYTES >> 20} MiB"
        in said
    )
    path = f"a path at most {MAX_PATH_BYTES} bytes in {MAX_COMPONENTS} components of {MAX_COMPONENT_BYTES} bytes"
    assert path in said


def producers_section(title: str) -> str:
    return (DOCS / "formats.md").read_text().split(f"## {title}\n")[1].split("\n## ")[0]


def manifest_with(
    *, artifact: str | None = None, config: str = "application/vnd.acme", layer: str = "text/plain", count: int = 1
) -> Manifest:
    layers = tuple(Descriptor(layer, Digest.of(bytes([number])), 1) for number in range(count))
    return Manifest(OCI_MANIFEST, artifact, Descriptor(config, EMPTY_DIGEST, 0), layers)
