"""Layouts: which file of which layer goes where, for everything that calls itself ModelPack."""

import pytest

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.layout import Layout, file_mode, plan
from csi_driver.oci.manifest import Manifest
from csi_driver.oci.media import Packing, Role
from tests.oci.artifacts import WEIGHT_RAW, Json, digest_of, layer, layout, manifest, parsed

TAR = "application/vnd.cncf.model.weight.v1.tar"
OCI_TAR = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
TITLE = "org.opencontainers.image.title"
CNAI_PATH = "org.cnai.model.filepath"


def paths(value: Layout) -> list[str | None]:
    return [entry.path for entry in value.layers]


def refused(*layers: Json, reason: str) -> str:
    with pytest.raises(UnsupportedArtifact, match=reason) as caught:
        layout(*layers)
    return str(caught.value)


def test_a1_a_raw_layer_is_one_file_with_its_mode_and_time() -> None:
    metadata = '{"name":"c.json","mode":384,"uid":1000,"gid":1000,"size":1,"mtime":"1970-01-01T00:00:01Z","typeflag":0}'

    value = layout(layer("a/b/c.json", metadata=metadata))

    (file,) = value.layers
    assert (file.path, file.packing, file.role) == ("a/b/c.json", Packing.RAW, Role.WEIGHT)
    assert (file.mode, file.mtime_ns) == (0o600, 10**9)
    assert value.producer == "modelpack"
    assert value.warnings == ()


@pytest.mark.parametrize("types", ["cncf", "cnai"])
@pytest.mark.parametrize("names", ["cncf", "cnai"])
@pytest.mark.parametrize("metadata_key", ["file.metadata+json", "file.metadata"])
def test_a2_a3_both_namespaces_lay_out_alike_in_any_mixture(types: str, names: str, metadata_key: str) -> None:
    said = {f"org.{names}.model.filepath": "d/w.bin"}
    if metadata_key.endswith("json") or names == "cnai":
        said[f"org.{names}.model.{metadata_key}"] = '{"mode":448}'
    else:
        said["org.cnai.model.file.metadata"] = '{"mode":448}'
    document = manifest(
        layer(None, annotations=said, media_type=f"application/vnd.{types}.model.code.v1.raw"),
        artifact_type=f"application/vnd.{types}.model.manifest.v1+json",
        config_type=f"application/vnd.{types}.model.config.v1+json",
    )

    (file,) = plan(parsed(document)).layers

    assert (file.path, file.mode, file.role) == ("d/w.bin", 0o700, Role.CODE)


def test_a4_ramalamas_file_path_comes_before_its_title() -> None:
    said = {TITLE: "sha256-" + "0" * 64}
    document = manifest(
        layer("m.gguf", annotations=said, media_type="application/octet-stream"),
        layer("chat.txt", "y", annotations=said, media_type="text/plain; charset=utf-8"),
        config_type=OCI_EMPTY,
    )

    assert paths(plan(parsed(document))) == ["m.gguf", "chat.txt"]


def test_a4_the_name_of_a_blob_is_no_name_of_a_file() -> None:
    said = {TITLE: "sha256-" + "0" * 64}

    assert paths(layout(layer(None, annotations=said, metadata='{"name":"m.gguf"}'))) == ["m.gguf"]


def test_a5_the_configuration_is_not_needed() -> None:
    document = manifest(layer("a"))
    document["config"]["size"] = 50 * 1024 * 1024

    assert paths(plan(parsed(document))) == ["a"]


def test_a7_a_file_without_a_name_is_refused_by_its_digest() -> None:
    refused(layer("a"), layer(None, "other"), reason=digest_of("other"))


def test_a_title_or_the_metadatas_name_is_a_name() -> None:
    assert paths(layout(layer(None, annotations={TITLE: "t.bin"}, metadata='{"name":"n"}'))) == ["t.bin"]
    assert paths(layout(layer(None, metadata='{"name":"n/full"}'))) == ["n/full"]


def test_a13_a_layer_of_an_unknown_type_is_a_file_if_it_has_a_name() -> None:
    assert paths(layout(layer("x.dat", media_type="application/vnd.acme"))) == ["x.dat"]


def test_a13_a_layer_of_an_unknown_type_without_a_name_is_left_out_with_a_warning() -> None:
    value = layout(layer("a"), layer(None, "y", media_type="application/vnd.acme"))

    assert paths(value) == ["a"]
    assert digest_of("y") in value.warnings[0]


def test_a13_an_artifact_of_which_nothing_is_left_is_refused_with_the_reason() -> None:
    refused(layer(None, media_type="application/vnd.acme"), reason="holds no files.*'application/vnd.acme' has no name")


@pytest.mark.parametrize(
    ("media_type", "role"),
    [
        ("application/vnd.cncf.model.weight.v1.gguf", Role.WEIGHT),
        ("application/vnd.cncf.model.weight.v1.safetensors", Role.WEIGHT),
        ("APPLICATION/vnd.cncf.model.doc.v1.RAW; charset=utf-8", Role.DOC),
    ],
)
def test_a14_unusual_types_of_raw_files_lay_out(media_type: str, role: Role) -> None:
    (file,) = layout(layer("f", media_type=media_type)).layers

    assert (file.packing, file.role) == (Packing.RAW, role)


@pytest.mark.parametrize("form", ["raw+xz", "raw+gzip+age", "tar+xz"])
def test_a14_compressed_files_are_refused_naming_layer_and_type(form: str) -> None:
    text = refused(layer("f", media_type=f"application/vnd.cncf.model.weight.v1.{form}"), reason="cannot be unpacked")

    assert digest_of("x") in text
    assert form in text


def test_a15_layers_that_are_no_part_of_the_model_are_ignored() -> None:
    nydus = {"containerd.io/snapshot/nydus-bootstrap": "true"}

    value = layout(
        layer("a"),
        layer(None, "n", annotations=nydus, media_type=OCI_TAR + "+gzip"),
        layer(None, "{}", media_type=OCI_EMPTY),
        layer("att.json", "t", media_type="application/vnd.in-toto+json"),
    )

    assert paths(value) == ["a"]
    assert value.warnings == ()


def test_a15_an_artifact_of_nothing_else_has_no_files() -> None:
    refused(layer(None, media_type=OCI_EMPTY), reason="no files")


def test_a16_an_artifact_without_layers_has_no_files() -> None:
    whole = parsed(manifest(layer("a")))

    with pytest.raises(UnsupportedArtifact, match="no files"):
        plan(Manifest(whole.media_type, whole.artifact_type, whole.config, ()))


def test_a17_one_content_at_two_paths_is_two_files() -> None:
    value = layout(layer("a"), layer("b"))

    assert paths(value) == ["a", "b"]
    assert value.layers[0].descriptor.digest == value.layers[1].descriptor.digest


def test_a18_one_file_listed_twice_is_one_file() -> None:
    assert paths(layout(layer("a"), layer("./a"), layer("b"))) == ["a", "b"]


def test_a19_two_contents_for_one_path_are_refused_naming_both() -> None:
    text = refused(layer("a", "one"), layer("a", "two"), reason="both are to be the same file")

    assert digest_of("one") in text
    assert digest_of("two") in text


@pytest.mark.parametrize("order", [("a", "a/b"), ("a/b", "a"), ("a/b/c/d", "a/b")])
def test_a20_a_file_cannot_be_a_directory_too(order: tuple[str, str]) -> None:
    text = refused(*(layer(path, path) for path in order), reason="a file and a directory")

    assert all(digest_of(path) in text for path in order)


def test_a20_a_common_prefix_is_no_conflict() -> None:
    assert paths(layout(layer("a/b"), layer("a.b"), layer("a-b/c"))) == ["a/b", "a.b", "a-b/c"]


def test_a21_letter_case_makes_different_files() -> None:
    assert paths(layout(layer("A.txt", "1"), layer("a.txt", "2"))) == ["A.txt", "a.txt"]


def test_a22_paths_are_cleaned() -> None:
    assert paths(layout(layer("./a//b/../c"))) == ["a/c"]


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x", "", ".", "..", "a/", "a\0b"])
def test_a23_a24_a_path_that_is_not_below_the_volume_is_refused(path: str) -> None:
    text = refused(layer("good"), layer(path, "bad"), reason="cannot be in a volume")

    assert digest_of("bad") in text


@pytest.mark.parametrize("name", ["\u00e9", "e\u0301", "a\nb", "a\\b", "-x", "🤗", "n" * 255])
def test_a25_unusual_names_are_kept(name: str) -> None:
    assert paths(layout(layer(name))) == [name]


def test_a26_metadata_that_cannot_be_read_is_a_warning() -> None:
    value = layout(layer("a", metadata='{"name":"say "hi""}'))

    assert paths(value) == ["a"]
    assert value.layers[0].mode is None
    assert "cannot be read" in value.warnings[0]


def test_a26_a_wrong_size_in_the_metadata_is_a_warning() -> None:
    assert "says 7 bytes, but its layer has 1" in layout(layer("a", metadata='{"size":7}')).warnings[0]


@pytest.mark.parametrize("type_flag", [2, 5, 50])
def test_a26_a_raw_layer_that_is_a_link_or_a_directory_is_refused(type_flag: int) -> None:
    refused(layer("a", metadata=f'{{"typeflag":{type_flag}}}'), reason="not a regular file")


@pytest.mark.parametrize(
    ("mode", "in_volume"), [(0o4777, 0o555), (0, 0o444), (0o600, 0o444), (0o755, 0o555), (None, 0o444)]
)
def test_a26_files_are_readable_and_never_writable(mode: int | None, in_volume: int) -> None:
    assert file_mode(mode) == in_volume


def test_a27_an_empty_file_is_a_file() -> None:
    (file,) = layout(layer("__init__.py", "")).layers

    assert file.descriptor.size == 0


def test_a28_ten_thousand_files_lay_out() -> None:
    value = layout(*(layer(f"d{n % 100}/{n}") for n in range(10_000)))

    assert len(value.layers) == 10_000


def test_the_annotation_on_the_newer_name_comes_first() -> None:
    assert paths(layout(layer("new", annotations={CNAI_PATH: "old"}))) == ["new"]


def test_layers_keep_the_order_of_the_manifest() -> None:
    value = layout(layer("z"), layer(None, "t", media_type=TAR), layer("a"))

    assert paths(value) == ["z", None, "a"]
    assert value.layers[0].descriptor.media_type == WEIGHT_RAW
