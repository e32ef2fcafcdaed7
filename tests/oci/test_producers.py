"""What producers of ModelPack other than today's modctl write, and how artifacts that are none are told apart."""

import pytest

from csi_driver.oci.layout import placement, plan
from csi_driver.oci.media import Packing, Role
from csi_driver.oci.producers.recognition import Producer, recognise
from tests.oci.artifacts import descriptor, layer, layout, manifest, parsed

TAR = "application/vnd.cncf.model.weight.v1.tar"
TAR_ZSTD = "application/vnd.cncf.model.weight.config.v1.tar+zstd"
OCI_TAR = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCTETS = "application/octet-stream"
TITLE = "org.opencontainers.image.title"
CNAI_PATH = "org.cnai.model.filepath"


def test_artifacts_from_before_the_first_version_say_their_type_on_the_layer() -> None:
    old = descriptor(
        OCI_TAR + "+gzip",
        artifactType="application/vnd.cnai.model.layer.v1.tar+gzip",
        annotations={CNAI_PATH: "w.bin"},
    )
    document = manifest(old, artifact_type=None, config_type="application/vnd.oci.image.config.v1+json")

    (entry,) = plan(parsed(document)).layers

    assert (entry.packing, entry.role, entry.path) == (Packing.TAR_GZIP, Role.WEIGHT, "w.bin")


def test_a6_the_config_type_alone_makes_it_modelpack() -> None:
    document = manifest(layer("a", media_type="application/octet-stream"), artifact_type=None)

    assert [entry.path for entry in plan(parsed(document)).layers] == ["a"]


def test_a_layer_type_alone_makes_it_modelpack() -> None:
    assert [
        entry.path for entry in plan(parsed(manifest(layer("a"), artifact_type=None, config_type=OCI_EMPTY))).layers
    ] == ["a"]


def test_a8_a_tar_layer_needs_no_file_path() -> None:
    said = {TITLE: "x"}

    (entry,) = layout(layer(None, annotations=said, media_type=TAR)).layers

    assert (entry.packing, entry.path) == (Packing.TAR, None)
    assert placement(entry, ["models/x"]) == {"models/x": "models/x"}


def test_a9_a_lone_file_archived_by_its_base_name_goes_where_the_annotation_says() -> None:
    (entry,) = layout(layer("deep/er/w.bin", media_type=TAR)).layers

    assert placement(entry, ["w.bin"]) == {"w.bin": "deep/er/w.bin"}
    assert placement(entry, ["elsewhere/w.bin"]) == {"elsewhere/w.bin": "deep/er/w.bin"}


def test_a10_aikits_label_of_a_tar_is_no_path() -> None:
    (entry,) = layout(layer("config", media_type=TAR_ZSTD)).layers

    assert entry.packing is Packing.TAR_ZSTD
    assert placement(entry, ["config.json", "t/tokenizer.json"]) == {
        "config.json": "config.json",
        "t/tokenizer.json": "t/tokenizer.json",
    }
    assert placement(entry, ["config.json"]) == {"config.json": "config.json"}


@pytest.mark.parametrize("said", [".", "models", "models/", "./", ""])
def test_a11_kitops_directory_of_a_tar_is_not_doubled(said: str) -> None:
    value = layout(layer(said, media_type=TAR))

    assert placement(value.layers[0], ["models/a", "models/b"]) == {"models/a": "models/a", "models/b": "models/b"}
    assert placement(value.layers[0], ["models/a"]) == {"models/a": "models/a"}
    assert value.warnings == ()


def test_a12_a_lone_file_archived_by_its_path_stays_there() -> None:
    (entry,) = layout(layer("sub/w.bin", media_type=TAR)).layers

    assert placement(entry, ["sub/w.bin"]) == {"sub/w.bin": "sub/w.bin"}


def test_an_empty_tar_has_nothing_to_place() -> None:
    (entry,) = layout(layer("a", media_type=TAR)).layers

    assert placement(entry, []) == {}


def test_a23_a_tars_annotation_that_leads_outside_is_ignored_with_a_warning() -> None:
    value = layout(layer("../../abs/x", media_type=TAR))

    assert [entry.path for entry in value.layers] == [None]
    assert "outside" in value.warnings[0]
    assert placement(value.layers[0], ["x"]) == {"x": "x"}


def test_a36_oras_type_for_a_plain_file_is_not_unpacked() -> None:
    (file,) = layout(layer("w.bin"), layer(None, "o", annotations={TITLE: "t.bin"}, media_type=OCI_TAR)).layers[1:]

    assert (file.packing, file.path) == (Packing.RAW, "t.bin")


def test_a36_oras_directory_is_unpacked() -> None:
    said = {TITLE: "dir", "io.deis.oras.content.unpack": "true"}

    (entry,) = layout(layer("w.bin"), layer(None, "o", annotations=said, media_type=OCI_TAR + "+gzip")).layers[1:]

    assert entry.packing is Packing.TAR_GZIP


def test_an_image_layer_without_a_name_is_an_archive() -> None:
    (entry,) = layout(layer("w.bin"), layer(None, "o", media_type=OCI_TAR)).layers[1:]

    assert (entry.packing, entry.path) == (Packing.TAR, None)


@pytest.mark.parametrize(
    ("artifact_type", "config_type", "layer_type", "producer"),
    [
        (None, DOCKER_CONFIG, "application/vnd.ollama.image.model", Producer.OLLAMA),
        (None, "application/vnd.docker.ai.model.config.v0.1+json", OCTETS, Producer.DOCKER_MODEL_RUNNER),
        (None, "application/vnd.docker.ai.model.config.v0.2+json", OCTETS, Producer.DOCKER_MODEL_RUNNER),
        ("application/vnd.kitops.modelkit.manifest.v1+json", OCI_EMPTY, OCTETS, Producer.MODELKIT),
        (None, "application/vnd.kitops.modelkit.config.v1+json", OCTETS, Producer.MODELKIT),
        (None, "application/vnd.oci.image.config.v1+json", OCI_TAR + "+gzip", Producer.IMAGE),
        (None, DOCKER_CONFIG, OCI_TAR, Producer.IMAGE),
        ("application/vnd.unknown.artifact.v1", OCI_EMPTY, OCTETS, Producer.GENERIC),
        ("application/vnd.acme.v1", "application/vnd.oci.image.config.v1+json", OCI_TAR, Producer.GENERIC),
    ],
)
def test_the_types_of_a_manifest_tell_its_producer(
    artifact_type: str | None, config_type: str, layer_type: str, producer: Producer
) -> None:
    document = manifest(layer("f", media_type=layer_type), artifact_type=artifact_type, config_type=config_type)

    assert recognise(parsed(document)) is producer
