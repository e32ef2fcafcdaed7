"""inspect: what it says of artifacts that are no ModelPack."""

from csi_driver.cli.exits import ExitCode
from tests.cli.conftest import Command
from tests.fixtures.producers import DOCKER_CONFIG, OCI_CONFIG, OCI_TAR, OLLAMA, archive, kit_of, layer, push
from tests.fixtures.registry import EmbeddedRegistry


def test_inspect_tells_the_producer_and_where_its_files_go(model_csi: Command, registry: EmbeddedRegistry) -> None:
    layers = [layer(registry, f"{OLLAMA}.{kind}", b"x" + kind.encode()) for kind in ("model", "template")]
    document = model_csi("inspect", push(registry, "library/m:1", DOCKER_CONFIG, layers), "--output", "json").document
    assert document["producer"] == "ollama"
    assert [(one["path"], one["role"]) for one in document["layers"]] == [
        ("model.gguf", "weight"),
        ("template", "weight.config"),
    ]


def test_inspect_reads_the_kitfile_of_a_modelkit(model_csi: Command, registry: EmbeddedRegistry) -> None:
    outcome = model_csi("inspect", kit_of(registry, "team/kit:1", None, {"m/w": b"w"}))
    assert (outcome.code, outcome.err) == (0, "")
    assert "modelkit" in outcome.out


def test_inspect_says_what_an_image_is(model_csi: Command, registry: EmbeddedRegistry) -> None:
    layers = [layer(registry, OCI_TAR, archive({"models/w": b"w"}))]
    outcome = model_csi("inspect", push(registry, "team/image:1", OCI_CONFIG, layers))
    assert (outcome.code, outcome.err) == (ExitCode.OK, "")
    assert "Producer      image" in outcome.out
