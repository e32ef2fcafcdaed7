"""Container images with a model in /models: the directory becomes the volume, as the image shows it."""

import os
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pytest

from csi_driver.errors import UnsupportedArtifact
from tests.fixtures.driver import EXCLUDE_PATTERNS, EXCLUDE_WEIGHTS, Node, RunningDriver, content
from tests.fixtures.faults import Fault
from tests.fixtures.models import pack
from tests.fixtures.producers import (
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    FILEPATH,
    OCI_CONFIG,
    OCI_TAR,
    archive,
    layer,
    push,
)
from tests.fixtures.registry import EmbeddedRegistry
from tests.transfer.archives import END, header, member

BASE = (
    header("./", b"5", mode=0o755)
    + header("dev/null", b"3")
    + header("bin", b"2", target="usr/bin")
    + member("etc/passwd", b"root")
    + header("usr/bin/", b"5")
    + member("/usr/bin/sh", b"ELF", mode=0o4755)
)


def image(registry: EmbeddedRegistry, *layers: bytes, packing: str = "tar+gzip", name: str = "team/car:1") -> str:
    """An image of these layers, lowest first, each an archive without its end."""
    blobs = [pack(each + END, packing) for each in layers]
    kind = f"{OCI_TAR}{packing.removeprefix('tar')}"
    return push(registry, name, OCI_CONFIG, [layer(registry, kind, blob) for blob in blobs])


def refused(driver: RunningDriver, reference: str, match: str) -> None:
    with pytest.raises(UnsupportedArtifact, match=match):
        driver.publish("a", reference)
    assert not driver.node.target("a").exists()
    assert not list(driver.node.root.glob("ingest/*"))
    assert not list(driver.node.root.glob("snapshots/*"))


@pytest.mark.parametrize("packing", ["tar", "tar+gzip", "tar+zstd"])
def test_a38_a_volume_shows_what_the_image_shows_in_its_models(
    registry: EmbeddedRegistry, driver: RunningDriver, packing: str
) -> None:
    reference = image(
        registry,
        BASE + member("models/old", b"old") + member("models/d/a", b"a") + member("models/d/b", b"b"),
        member("models/w.bin", b"first") + member("models/kept", b"kept"),
        member("models/.wh.old", b"")
        + member("models/w.bin", b"second")
        + member("models/d/c", b"c")
        + member("models/d/.wh..wh..opq", b""),
        packing=packing,
    )
    target = driver.publish("a", reference)
    assert content(target) == {"d/c": b"c", "kept": b"kept", "w.bin": b"second"}
    assert [path for path in driver.node.root.rglob("*") if path.name in ("passwd", "sh", "null")] == []


def test_an_image_of_docker_is_one_too(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    blob = archive({"models/a/w.gguf": b"w", "etc/hostname": b"h"}, "tar+gzip")
    kind = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    layers = [layer(registry, kind, blob)]
    reference = push(registry, "library/car:1", DOCKER_CONFIG, layers, media_type=DOCKER_MANIFEST)
    assert content(driver.publish("a", reference)) == {"a/w.gguf": b"w"}


def test_a_removed_directory_comes_back_with_what_is_new(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    reference = image(
        registry,
        member("models/a", b"a") + member("models/b", b"b"),
        member(".wh.models") + member("models/c", b"c"),
    )
    assert content(driver.publish("a", reference)) == {"c": b"c"}


def test_one_layer_shares_its_files_with_all_images_that_have_it(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    weights = member("models/w.bin", b"weights")
    one = driver.publish("a", image(registry, BASE, weights, name="team/car:1"))
    registry.forget_requests()
    other = driver.publish("b", image(registry, BASE, weights, member("models/extra", b"e"), name="team/car:2"))
    assert os.stat(one / "w.bin").st_ino == os.stat(other / "w.bin").st_ino
    assert registry.count(method="GET", path="/v2/*/blobs/*") == 1


def test_the_same_archive_in_an_image_and_in_a_model_is_two_layers(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    blob = archive({"models/w.bin": b"w", "other": b"o"})
    car = push(registry, "team/m:car", OCI_CONFIG, [layer(registry, OCI_TAR, blob)])
    weights = layer(registry, "application/vnd.cncf.model.weight.v1.tar", blob)
    model = push(registry, "team/m:model", "application/vnd.cncf.model.config.v1+json", [weights])
    file = layer(registry, "text/plain", blob, annotations={FILEPATH: "a.tar"})
    plain = push(registry, "team/m:file", "application/vnd.oci.empty.v1+json", [file])
    assert content(driver.publish("a", car)) == {"w.bin": b"w"}
    assert content(driver.publish("b", model)) == {"models/w.bin": b"w", "other": b"o"}
    assert content(driver.publish("c", plain)) == {"a.tar": blob}
    names = sorted(path.name.partition(".")[2] for path in driver.node.root.glob("layers/sha256/*/*"))
    assert names == ["raw", "tree", "tree-models"]


def test_a_selection_is_of_the_paths_in_the_volume(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    reference = image(
        registry, member("models/w.safetensors", b"w") + member("models/a/b", b"b") + member("models/c", b"c")
    )
    attributes = {EXCLUDE_WEIGHTS: "true", EXCLUDE_PATTERNS: '["/a/"]'}
    assert content(driver.publish("a", reference, attributes)) == {"c": b"c"}


def test_links_inside_of_the_models_are_kept(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    reference = image(
        registry,
        member("models/m/x.gguf", b"x")
        + header("models/model.file", b"2", target="/models/m/x.gguf")
        + header("models/m/up", b"2", target="../other")
        + member("models/other", b"o"),
    )
    target = driver.publish("a", reference)
    assert (target / "model.file").readlink() == Path("m/x.gguf")
    assert (target / "m/up").read_bytes() == b"o"


@pytest.mark.parametrize("link", ["/etc/passwd", "../etc/passwd", "/", "../../../../etc/passwd"])
def test_t8_a_link_out_of_the_models_is_refused(registry: EmbeddedRegistry, driver: RunningDriver, link: str) -> None:
    refused(driver, image(registry, BASE + member("models/a", b"a") + header("models/l", b"2", target=link)), "'l' to")


def test_a_link_out_of_the_models_that_a_later_layer_removes_is_of_no_account(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    reference = image(
        registry, header("models/l", b"2", target="/etc/passwd") + member("models/a", b"a"), member("models/.wh.l")
    )
    assert content(driver.publish("a", reference)) == {"a": b"a"}


def test_a39_an_image_without_models_is_refused_with_what_it_has(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    refused(driver, image(registry, BASE, member("opt/x", b"x")), "no files in /models: .* has dev, etc, opt, usr;")
    nothing = image(registry, BASE + member("models/a", b"a"), member(".wh.models"), name="team/car:2")
    refused(driver, nothing, "no files in /models")


def test_models_that_is_no_directory_is_refused(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    reference = image(registry, member("opt/models/a", b"a") + header("models", b"2", target="opt/models"))
    refused(driver, reference, "/models of the image .* is not a directory")


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        (header("models/.wh.", b"0"), "whiteout"),
        (header("models/dev", b"3"), "character device"),
        (header("models/hard", b"1", target="/etc/passwd"), "hard link"),
        (member("etc/../models/x", b"x"), "one place"),
    ],
)
def test_an_image_that_cannot_be_unpacked_safely_is_refused(
    registry: EmbeddedRegistry, driver: RunningDriver, entry: bytes, match: str
) -> None:
    refused(driver, image(registry, BASE + member("models/a", b"a") + entry), match)


def test_an_image_whose_transfer_breaks_off_is_whole_after_all(registry: EmbeddedRegistry, node: Node) -> None:
    reference = image(registry, BASE, member("models/a", os.urandom(300_000)), packing="tar")
    registry.faults.add(Fault(drop_after=200_000), path="/v2/*/blobs/*", times=2)
    with node.driver() as driver:
        assert len(content(driver.publish("a", reference))["a"]) == 300_000


def test_what_tar_and_docker_call_things_is_understood(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    stream = BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as made:
        names: Sequence[str] = ("./models/é" + "x" * 200, "models/plain", "./etc/ü")
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1
            made.addfile(info, BytesIO(b"1"))
    reference = image(registry, stream.getvalue())
    assert sorted(content(driver.publish("a", reference))) == ["plain", "é" + "x" * 200]
