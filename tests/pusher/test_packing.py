"""Layers that are archives: what is in them, what is said of them, and that they are the same every time."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from csi_driver.errors import ContentMismatch, Stopping
from csi_driver.inflight import Stop
from csi_driver.oci.manifest import Manifest, parse_manifest
from csi_driver.oci.media import Packing, Role
from csi_driver.oci.metadata import FileMetadata
from csi_driver.pusher.archive import pack
from csi_driver.pusher.bundles import AUTO, MOST_LAYERS, Bundle, bundles
from csi_driver.pusher.directory import Found, survey
from tests.fixtures.registry import EmbeddedRegistry
from tests.pusher.conftest import FILES, Push

FILEPATH = "org.cncf.model.filepath"
PLAIN: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar+gzip": gzip.decompress,
    "tar+zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


def manifest_of(registry: EmbeddedRegistry) -> Manifest:
    found = parse_manifest(registry.manifest("team/model", "v1"), None)
    assert isinstance(found, Manifest)
    return found


@pytest.mark.parametrize("packing", sorted(PLAIN))
def test_files_go_into_archives_by_their_roles(
    push: Push, model: Path, registry: EmbeddedRegistry, packing: str
) -> None:
    pushed = push(model, packing=packing)
    found: dict[str, bytes] = {}
    kinds, plain_digests = [], []
    for layer in manifest_of(registry).layers:
        body = registry.blob(str(layer.digest))
        assert isinstance(body, bytes)
        plain = PLAIN[packing](body)
        plain_digests.append(f"sha256:{hashlib.sha256(plain).hexdigest()}")
        with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
            names = archive.getnames()
            for entry in archive:
                source, content = model / entry.name, archive.extractfile(entry)
                assert content is not None
                found[entry.name] = content.read()
                status = source.stat()
                assert (entry.mode, entry.uid) == (status.st_mode & 0o777, status.st_uid)
                assert entry.pax_headers["mtime"] == "1700000000.123456789"
        kinds.append((layer.media_type.removeprefix("application/vnd.cncf.model."), names))
        assert layer.annotations.get(FILEPATH) == (names[0] if len(names) == 1 else None)
    assert found == FILES
    assert kinds == [
        (f"weight.config.v1.{packing}", ["config.json"]),
        (f"weight.v1.{packing}", ["model.safetensors"]),
        (f"weight.v1.{packing}", ["onnx/int8/model.bin"]),
        (f"code.v1.{packing}", ["run.py"]),
        (f"doc.v1.{packing}", ["README.md", "empty.txt"]),
    ]
    config = registry.blob(str(manifest_of(registry).config.digest))
    assert isinstance(config, bytes)
    assert json.loads(config)["modelfs"]["diffIds"] == plain_digests
    assert (pushed.files, pushed.layers) == (len(FILES), 5)
    assert pushed.size == pushed.sent == sum(layer.size for layer in manifest_of(registry).layers)


@pytest.mark.parametrize("packing", sorted(PLAIN))
def test_the_same_files_are_not_sent_twice(push: Push, model: Path, packing: str) -> None:
    first = push(model, packing=packing)
    second = push(model, packing=packing)
    assert (second.digest, second.sent) == (first.digest, 0)


def test_an_archive_of_one_file_says_what_a_raw_layer_says(push: Push, model: Path, registry: EmbeddedRegistry) -> None:
    push(model, packing="tar")
    layer = next(each for each in manifest_of(registry).layers if each.annotations.get(FILEPATH) == "run.py")
    metadata = FileMetadata.parse(layer.annotations["org.cncf.model.file.metadata+json"])
    assert (metadata.mode, metadata.size, metadata.mtime_ns) == (0o755, len(FILES["run.py"]), 1_700_000_000_123_456_789)


def found(path: str, size: int = 1) -> Found:
    return Found(path, f"/nowhere/{path}", size)


def test_auto_is_raw_unless_there_are_very_many_files() -> None:
    weights = [found(f"model-{number}.safetensors") for number in range(5)]
    few = bundles([*weights, found("config.json")], AUTO)
    assert {bundle.packing for bundle in few} == {Packing.RAW}
    configs = [found(f"c{number:04}.json") for number in range(MOST_LAYERS)]
    many = bundles([*weights, *configs, found("a.py")], AUTO)
    assert [(bundle.role, bundle.packing, len(bundle.files)) for bundle in many] == [
        (Role.WEIGHT_CONFIG, Packing.TAR, MOST_LAYERS),
        *[(Role.WEIGHT, Packing.RAW, 1)] * 5,
        (Role.CODE, Packing.TAR, 1),
    ]
    assert many[0].files == tuple(configs)


def test_a_file_that_changes_while_it_is_packed_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"x" * 100)
    bundle = Bundle(survey(tmp_path).files, Role.WEIGHT_CONFIG, Packing.TAR)
    with pytest.raises(ContentMismatch, match=r"a\.json"):
        pack(bundle, Stop(), lambda _: os.truncate(tmp_path / "a.json", 5))
    (tmp_path / "a.json").write_bytes(b"x" * 100)
    archive = pack(Bundle(survey(tmp_path).files, Role.WEIGHT_CONFIG, Packing.TAR), Stop(), lambda _: None)
    (tmp_path / "a.json").write_bytes(b"y" * 100)
    with pytest.raises(ContentMismatch, match=r"a\.json"):
        archive.open(Stop())


def test_packing_ends_when_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"x")
    stop = Stop()
    stop.set()
    with pytest.raises(Stopping):
        pack(Bundle(survey(tmp_path).files, Role.WEIGHT_CONFIG, Packing.TAR_ZSTD), stop, lambda _: None)


def test_long_and_foreign_names_are_kept(push: Push, tmp_path: Path, registry: EmbeddedRegistry) -> None:
    names = ["é" * 100 + ".json", f"{'d' * 120}/{'e' * 120}.json"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    push(tmp_path, packing="tar")
    (layer,) = manifest_of(registry).layers
    body = registry.blob(str(layer.digest))
    assert isinstance(body, bytes)
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        assert sorted(archive.getnames()) == sorted(names)
