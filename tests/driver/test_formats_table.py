"""docs/formats.md says what is mounted of whom, and that is so: every producer in every packing."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csi_driver.oci.media import Packing
from csi_driver.oci.producers.recognition import Producer
from tests.fixtures.driver import RunningDriver, content
from tests.fixtures.models import pack
from tests.fixtures.producers import (
    DOCKER_AI,
    DOCKER_CONFIG,
    FILEPATH,
    KIT,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_TAR,
    OLLAMA,
    TITLE,
    UNPACK,
    archive,
    layer,
    push,
    push_kit,
)
from tests.fixtures.registry import EmbeddedRegistry

FORMATS = Path(__file__).parents[2] / "docs" / "formats.md"
MODEL = "application/vnd.cncf.model"
FILES = {"weights.bin": b"weights" * 1000}


def said() -> list[tuple[str, str]]:
    """Every producer and packing of the table."""
    table = FORMATS.read_text().split("## Packings\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", table, flags=re.MULTILINE)
    return [(producer, packing) for producer, text in rows for packing in re.findall(r"`([^`]+)`", text)]


def packed(packing: str, *, below: str = "") -> bytes:
    """The one file as a layer of this packing holds it."""
    if packing.startswith("tar"):
        return archive({f"{below}{path}": data for path, data in FILES.items()}, packing)
    return pack(FILES["weights.bin"], packing.replace("raw", "tar"))


def modelpack(registry: EmbeddedRegistry, packing: str) -> str:
    annotations = {FILEPATH: "weights.bin"}
    one = layer(registry, f"{MODEL}.weight.v1.{packing}", packed(packing), annotations=annotations)
    return push(registry, "team/m:1", f"{MODEL}.config.v1+json", [one])


def modelkit(registry: EmbeddedRegistry, packing: str) -> str:
    annotations = {FILEPATH: "weights.bin"} if packing.startswith("raw") else {}
    one = layer(registry, f"{KIT}.model.v1.{packing}", packed(packing), annotations=annotations)
    return push_kit(registry, "team/m:1", {"model": {"path": "weights.bin", "digest": one["digest"]}}, [one])


def docker_model_runner(registry: EmbeddedRegistry, packing: str) -> str:
    kind, annotations = ("model.file", {FILEPATH: "weights.bin"}) if packing == "raw" else ("dir.tar", {})
    one = layer(registry, f"{DOCKER_AI}.{kind}", packed(packing), annotations=annotations)
    return push(registry, "team/m:1", f"{DOCKER_AI}.model.config.v0.2+json", [one])


def ollama(registry: EmbeddedRegistry, packing: str) -> str:
    one = layer(registry, f"{OLLAMA}.json", packed(packing), name="weights.bin")
    return push(registry, "team/m:1", DOCKER_CONFIG, [one])


def image(registry: EmbeddedRegistry, packing: str) -> str:
    kind = f"{OCI_TAR}{packing.removeprefix('tar')}"
    return push(registry, "team/m:1", OCI_CONFIG, [layer(registry, kind, packed(packing, below="models/"))])


def generic(registry: EmbeddedRegistry, packing: str) -> str:
    annotations: dict[str, Any] = {TITLE: "weights.bin"} | ({UNPACK: "true"} if packing.startswith("tar") else {})
    kind = "text/plain" if packing == "raw" else f"{OCI_TAR}{packing.removeprefix('tar')}"
    return push(registry, "team/m:1", OCI_EMPTY, [layer(registry, kind, packed(packing), annotations=annotations)])


MAKERS: dict[str, Callable[[EmbeddedRegistry, str], str]] = {
    "modelpack": modelpack,
    "modelkit": modelkit,
    "docker-model-runner": docker_model_runner,
    "ollama": ollama,
    "image": image,
    "generic": generic,
}


def test_the_table_names_every_producer_and_every_packing() -> None:
    assert {producer for producer, _ in said()} == {producer.label for producer in Producer}
    assert {packing for _, packing in said()} == {packing.value for packing in Packing}


@pytest.mark.parametrize(("producer", "packing"), said())
def test_what_the_table_promises_is_mounted(
    registry: EmbeddedRegistry, driver: RunningDriver, producer: str, packing: str
) -> None:
    found = content(driver.publish("a", MAKERS[producer](registry, packing)))
    found.pop("Kitfile", None)
    assert found == FILES
