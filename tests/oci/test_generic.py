"""What ORAS, and whoever pushes files as ORAS does, becomes in a volume."""

import pytest

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.layout import Layout, placement, plan
from csi_driver.oci.media import ORAS_UNPACK, TITLE, Packing, Role
from tests.oci.artifacts import Json, descriptor, digest_of, layer, manifest, parsed

OCI_TAR = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCTETS = "application/octet-stream"


def generic(*layers: Json, config_type: str = OCI_EMPTY, artifact_type: str | None = "application/vnd.acme") -> Layout:
    return plan(parsed(manifest(*layers, artifact_type=artifact_type, config_type=config_type)))


def titled(title: str, media_type: str = OCTETS, content: str = "x", **annotations: str) -> Json:
    return descriptor(media_type, content, annotations={TITLE: title, **annotations})


@pytest.mark.parametrize("config_type", [OCI_EMPTY, "application/vnd.unknown.config.v1+json"])
@pytest.mark.parametrize("artifact_type", [None, "application/vnd.unknown.artifact.v1", "application/vnd.acme"])
def test_a_titled_layer_is_the_file_of_that_name(config_type: str, artifact_type: str | None) -> None:
    value = generic(titled("dir/./w.bin"), config_type=config_type, artifact_type=artifact_type)

    assert (value.producer, value.warnings) == ("generic", ())
    assert [(file.path, file.packing, file.role) for file in value.layers] == [("dir/w.bin", Packing.RAW, Role.OTHER)]


@pytest.mark.parametrize("media_type", [OCI_TAR, OCI_TAR + "+gzip", "application/x-tar", "application/vnd.acme.tar+xz"])
def test_a36_a_plain_file_is_not_unpacked_whatever_its_type(media_type: str) -> None:
    (file,) = generic(titled("w.tar.gz", media_type)).layers

    assert (file.path, file.packing) == ("w.tar.gz", Packing.RAW)


@pytest.mark.parametrize(
    ("media_type", "packing"),
    [
        (OCI_TAR + "+gzip", Packing.TAR_GZIP),
        (OCI_TAR + "+zstd", Packing.TAR_ZSTD),
        (OCI_TAR, Packing.TAR),
        ("application/vnd.acme.weights", Packing.TAR_GZIP),
    ],
)
@pytest.mark.parametrize("said", ["true", "True"])
def test_a36_a_directory_is_unpacked_to_where_its_entries_say(media_type: str, packing: Packing, said: str) -> None:
    (tree,) = generic(titled("dir", media_type, **{ORAS_UNPACK: said})).layers

    assert tree.packing is packing
    assert placement(tree, ["dir/a", "dir/b"]) == {"dir/a": "dir/a", "dir/b": "dir/b"}
    assert placement(tree, ["dir/a"]) == {"dir/a": "dir/a"}


def test_a_file_path_comes_before_the_title() -> None:
    (file,) = generic(layer("m/w.bin", media_type=OCTETS, annotations={TITLE: "other"})).layers

    assert file.path == "m/w.bin"


def test_an_archive_without_a_name_is_what_it_holds() -> None:
    (tree,) = generic(descriptor(OCI_TAR + "+gzip")).layers

    assert (tree.packing, tree.path) == (Packing.TAR_GZIP, None)


def test_a_layer_without_a_name_is_left_out_with_a_warning() -> None:
    value = generic(titled("a"), descriptor(OCTETS, "nameless"))

    assert [file.path for file in value.layers] == ["a"]
    assert digest_of("nameless") in value.warnings[0]


def test_an_artifact_without_any_name_is_refused_with_the_reason() -> None:
    with pytest.raises(UnsupportedArtifact, match=r"holds no files.*has no name"):
        generic(descriptor("application/vnd.dev.cosign.simplesigning.v1+json"))


@pytest.mark.parametrize("title", ["../x", "/etc/x", "a/../../x", ".", "a/"])
def test_a_title_that_leads_outside_is_refused(title: str) -> None:
    with pytest.raises(UnsupportedArtifact, match=digest_of("x")):
        generic(titled(title))


def test_two_files_of_one_title_are_refused_naming_both() -> None:
    with pytest.raises(UnsupportedArtifact, match="exclude each other") as caught:
        generic(titled("a", content="one"), titled("a", content="two"))

    assert digest_of("one") in str(caught.value)
    assert digest_of("two") in str(caught.value)


def test_placeholders_are_ignored() -> None:
    value = generic(titled("a"), descriptor(OCI_EMPTY, "{}"))

    assert ([file.path for file in value.layers], value.warnings) == (["a"], ())
