"""Media types: packing and role."""

import pytest

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.media import (
    Packing,
    Role,
    essence,
    is_model_type,
    is_oci_layer,
    layer_media_type,
    packing_of,
    role_of,
)


@pytest.mark.parametrize("namespace", ["cncf", "cnai"])
@pytest.mark.parametrize("role", [role for role in Role if role is not Role.OTHER])
@pytest.mark.parametrize("packing", list(Packing))
def test_the_twenty_layer_types_of_model_spec_are_understood(namespace: str, role: Role, packing: Packing) -> None:
    media_type = f"application/vnd.{namespace}.model.{role}.v1.{packing}"

    assert packing_of(media_type) is packing
    assert role_of(media_type) is role
    assert is_model_type(media_type)


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.OTHER])
@pytest.mark.parametrize("packing", list(Packing))
def test_a_written_layer_type_is_read_back(role: Role, packing: Packing) -> None:
    media_type = layer_media_type(role, packing)

    assert (role_of(media_type), packing_of(media_type)) == (role, packing)


def test_files_without_a_role_have_no_layer_type() -> None:
    with pytest.raises(ValueError, match="without a role"):
        layer_media_type(Role.OTHER, Packing.RAW)


@pytest.mark.parametrize(
    ("media_type", "packing", "role"),
    [
        ("application/vnd.cncf.model.weight.v1.gguf", Packing.RAW, Role.WEIGHT),
        ("application/vnd.cncf.model.weight.v1.safetensors", Packing.RAW, Role.WEIGHT),
        ("Application/VND.cncf.Model.Weight.Config.V1.Tar+Gzip ; charset=utf-8", Packing.TAR_GZIP, Role.WEIGHT_CONFIG),
        ("application/vnd.cnai.model.layer.v1.tar+gzip", Packing.TAR_GZIP, Role.WEIGHT),
        ("application/vnd.cnai.model.config.v1.tar", Packing.TAR, Role.WEIGHT_CONFIG),
        ("application/vnd.cncf.model.mystery.v1.raw", Packing.RAW, Role.OTHER),
        ("application/octet-stream", Packing.RAW, Role.OTHER),
        ("text/plain; charset=utf-8", Packing.RAW, Role.OTHER),
        ("application/gzip", Packing.RAW, Role.OTHER),
        ("application/vnd.acme.weights.tar", Packing.TAR, Role.OTHER),
        ("application/vnd.acme.weights.tar.gz", Packing.TAR_GZIP, Role.OTHER),
        ("application/vnd.acme.weights.tar.zst", Packing.TAR_ZSTD, Role.OTHER),
        ("application/vnd.oci.image.layer.v1.tar+zstd", Packing.TAR_ZSTD, Role.OTHER),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", Packing.TAR_GZIP, Role.OTHER),
        ("application/vnd.kitops.modelkit.model.v1.raw+gzip", Packing.RAW_GZIP, Role.OTHER),
        ("application/vnd.kitops.modelkit.code.v1.RAW+zstd;a=b", Packing.RAW_ZSTD, Role.OTHER),
        ("application/vnd.cncf.model.weight.v1.gguf+gzip", Packing.RAW_GZIP, Role.WEIGHT),
        ("application/vnd.acme.model+json", Packing.RAW, Role.OTHER),
        ("", Packing.RAW, Role.OTHER),
    ],
)
def test_a14_types_of_the_wild_are_understood(media_type: str, packing: Packing, role: Role) -> None:
    assert packing_of(media_type) is packing
    assert role_of(media_type) is role


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.cncf.model.weight.v1.raw+xz",
        "application/vnd.kitops.modelkit.model.v1.raw+xz",
        "application/vnd.cncf.model.weight.v1.tar+xz",
        "application/vnd.cncf.model.weight.v1.tar+gzip+encrypted",
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
    ],
)
def test_a14_what_cannot_be_unpacked_is_refused_by_name(media_type: str) -> None:
    with pytest.raises(UnsupportedArtifact, match="use raw"):
        packing_of(media_type)


def test_only_archives_are_trees() -> None:
    assert [packing for packing in Packing if packing.is_tree] == [Packing.TAR, Packing.TAR_GZIP, Packing.TAR_ZSTD]


def test_layers_of_images_are_recognised() -> None:
    assert is_oci_layer("application/vnd.oci.image.layer.v1.tar+gzip")
    assert is_oci_layer("application/vnd.oci.image.layer.nondistributable.v1.tar")
    assert is_oci_layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    assert not is_oci_layer("application/vnd.cncf.model.weight.v1.tar")


def test_a_type_is_compared_without_case_and_parameters() -> None:
    assert essence(" Text/Plain ; charset=utf-8") == "text/plain"
    assert essence(None) == ""
