"""A volume that wants a part of a model costs a part of the disk, and of the network where layers allow it."""

import os

import pytest

from csi_driver.errors import UnsupportedArtifact
from csi_driver.host.files import remove_tree
from tests.fixtures.driver import EXCLUDE_PATTERNS, EXCLUDE_WEIGHTS, RunningDriver, content
from tests.fixtures.producers import OCI_EMPTY, OCI_TAR, TITLE, UNPACK, archive, layer, push
from tests.fixtures.registry import EmbeddedRegistry
from tests.transfer.archives import END, header, member

INCLUDE_PATTERNS = "model.csi.modelpack.org/include-file-patterns"
ROLES = "model.csi.modelpack.org/layer-roles"
FILES = {
    "config.json": b"{}",
    "model.safetensors": os.urandom(200_000),
    "README.md": b"# M",
    "serve.py": b"pass",
    "d/tokenizer.json": b"{}",
}


def directory(registry: EmbeddedRegistry, packed: bytes, *, name: str = "team/m:oras") -> str:
    """An artifact whose one layer is an archive of everything."""
    kind = f"{OCI_TAR}+gzip"
    return push(registry, name, OCI_EMPTY, [layer(registry, kind, packed, annotations={TITLE: "m", UNPACK: "true"})])


def names_kept(driver: RunningDriver) -> set[str]:
    """The names of all files in the layers that the node holds."""
    return {path.name for path in driver.node.root.glob("layers/**/content/**/*") if path.is_file()}


@pytest.mark.parametrize("packing", ["tar", "tar+gzip", "tar+zstd"])
def test_of_an_archive_only_what_is_wanted_is_kept(
    registry: EmbeddedRegistry, driver: RunningDriver, packing: str
) -> None:
    target = driver.publish("a", directory(registry, archive(FILES, packing)), {EXCLUDE_WEIGHTS: "true"})
    assert content(target) == {name: data for name, data in FILES.items() if name != "model.safetensors"}
    assert names_kept(driver) == {"config.json", "README.md", "serve.py", "tokenizer.json"}


def test_another_part_and_the_whole_are_fetched_when_they_are_wanted(
    registry: EmbeddedRegistry, driver: RunningDriver
) -> None:
    reference = directory(registry, archive(FILES, "tar+gzip"))
    driver.publish("a", reference, {EXCLUDE_WEIGHTS: "true"})
    assert content(driver.publish("b", reference, {INCLUDE_PATTERNS: '["*.md"]'})) == {"README.md": b"# M"}
    assert content(driver.publish("c", reference)) == FILES
    registry.forget_requests()
    assert content(driver.publish("d", reference, {ROLES: '["code"]'})) == {"serve.py": b"pass"}
    assert registry.count(path="/v2/*/blobs/*") == 0


def test_two_volumes_of_the_same_part_share_it(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    packed = archive(FILES, "tar+gzip")
    selection = {EXCLUDE_PATTERNS: '["*.safetensors"]'}
    one = driver.publish("a", directory(registry, packed), selection)
    registry.forget_requests()
    other = driver.publish("b", directory(registry, packed, name="team/m:again"), selection)
    assert os.stat(one / "config.json").st_ino == os.stat(other / "config.json").st_ino
    assert registry.count(method="GET", path="/v2/*/blobs/*") == 0


def test_a_part_that_needs_the_rest_is_had_from_the_whole(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    packed = member("left-out.bin", b"data") + header("wanted.txt", b"1", target="left-out.bin") + END
    target = driver.publish("a", directory(registry, packed), {EXCLUDE_WEIGHTS: "true"})
    assert content(target) == {"wanted.txt": b"data"}


@pytest.mark.parametrize("patterns", ['["/deep/"]', '["/x/"]', '["w.bin"]', '["/x/w.bin"]'])
def test_a_lone_file_goes_where_its_layer_says_also_in_part(
    registry: EmbeddedRegistry, driver: RunningDriver, patterns: str
) -> None:
    said = {"org.cncf.model.filepath": "deep/er/w.bin"}
    kind = "application/vnd.cncf.model.weight.v1.tar"
    layers = [layer(registry, kind, archive({"w.bin": b"w"}), annotations=said)]
    layers.append(layer(registry, kind, archive({"x/config": b"c", "x/w.bin": b"2"}), annotations=said))
    reference = push(registry, "team/m:1", "application/vnd.cncf.model.config.v1+json", layers)
    part = content(driver.publish("part", reference, {INCLUDE_PATTERNS: patterns}))
    assert content(driver.publish("whole", reference)) == {"deep/er/w.bin": b"w", "x/config": b"c", "x/w.bin": b"2"}
    driver.unpublish("part")
    remove_tree(driver.node.root / "snapshots")
    (driver.node.root / "snapshots").mkdir()
    registry.forget_requests()
    assert content(driver.publish("again", reference, {INCLUDE_PATTERNS: patterns})) == part
    assert registry.count(path="/v2/*/blobs/*") == 0


def test_a_layer_of_another_role_is_not_fetched(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    registry.push_model("team/model", "v1", FILES)
    target = driver.publish("a", registry.reference("team/model", "v1"), {ROLES: '["config", "docs"]'})
    assert set(content(target)) == {"config.json", "README.md", "d/tokenizer.json"}
    assert registry.count(method="GET", path="/v2/*/blobs/*") == 2  # two of the files are the same


def test_a_selection_that_leaves_nothing_is_refused(registry: EmbeddedRegistry, driver: RunningDriver) -> None:
    with pytest.raises(UnsupportedArtifact, match="none that are not excluded"):
        driver.publish("a", directory(registry, archive(FILES)), {INCLUDE_PATTERNS: '["*.onnx"]'})
    assert not driver.node.target("a").exists()
