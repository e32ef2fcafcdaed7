"""What a push leaves at the registry, and what it costs."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from csi_driver.errors import ContentMismatch, InvalidRequest, NotFound, Unauthenticated, UnsupportedArtifact
from csi_driver.oci.digest import Digest
from csi_driver.oci.layout import plan
from csi_driver.oci.manifest import Manifest, parse_manifest
from csi_driver.oci.reference import Reference
from csi_driver.pusher import Tally
from csi_driver.registry.keychain import Keychain
from tests.fixtures.faults import Fault
from tests.fixtures.registry import EmbeddedRegistry
from tests.pusher.conftest import FILES, Push

UPLOADS = "/v2/team/model/blobs/uploads/*"


def manifest_of(registry: EmbeddedRegistry) -> Manifest:
    found = parse_manifest(registry.manifest("team/model", "v1"), None)
    assert isinstance(found, Manifest)
    return found


def config_of(registry: EmbeddedRegistry) -> dict[str, Any]:
    body = registry.blob(str(manifest_of(registry).config.digest))
    assert isinstance(body, bytes)
    config: dict[str, Any] = json.loads(body)
    return config


def test_every_file_becomes_a_raw_layer_with_its_bytes_and_path(
    push: Push, model: Path, registry: EmbeddedRegistry
) -> None:
    pushed = push(model)
    layers = plan(manifest_of(registry)).layers
    assert {layer.path: registry.blob(str(layer.descriptor.digest)) for layer in layers} == FILES
    assert pushed.digest == Digest.of(registry.manifest("team/model", "v1"))
    assert (pushed.files, pushed.size) == (len(FILES), sum(map(len, FILES.values())))


def test_layers_are_sorted_and_typed_as_modctl_does(push: Push, model: Path, registry: EmbeddedRegistry) -> None:
    push(model)
    manifest = manifest_of(registry)
    assert manifest.artifact_type == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest.config.media_type == "application/vnd.cncf.model.config.v1+json"
    assert [(layer.media_type, layer.annotations["org.cncf.model.filepath"]) for layer in manifest.layers] == [
        ("application/vnd.cncf.model.weight.config.v1.raw", "config.json"),
        ("application/vnd.cncf.model.weight.v1.raw", "model.safetensors"),
        ("application/vnd.cncf.model.weight.v1.raw", "onnx/int8/model.bin"),
        ("application/vnd.cncf.model.code.v1.raw", "run.py"),
        ("application/vnd.cncf.model.doc.v1.raw", "README.md"),
        ("application/vnd.cncf.model.doc.v1.raw", "empty.txt"),
    ]


def test_a_layer_tells_all_of_its_file_that_model_spec_has_names_for(
    push: Push, model: Path, registry: EmbeddedRegistry
) -> None:
    push(model)
    told = {
        layer.annotations["org.cncf.model.filepath"]: json.loads(layer.annotations["org.cncf.model.file.metadata+json"])
        for layer in manifest_of(registry).layers
    }
    assert told["onnx/int8/model.bin"] == {
        "name": "model.bin",
        "mode": (model / "onnx/int8/model.bin").stat().st_mode & 0o777,
        "uid": os.getuid(),
        "gid": os.getgid(),
        "size": 7,
        "mtime": "2023-11-14T22:13:20.123456789Z",
        "typeflag": 0,
    }
    assert (told["run.py"]["mode"], told["config.json"]["mode"]) == (0o755, 0o600)


def test_the_configuration_says_what_the_files_say(push: Push, model: Path, registry: EmbeddedRegistry) -> None:
    push(model)
    digests = [str(layer.digest) for layer in manifest_of(registry).layers]
    assert config_of(registry) == {
        "descriptor": {"createdAt": "2023-11-14T22:13:20Z", "family": "bert", "name": "model"},
        "config": {"architecture": "transformer", "format": "safetensors", "precision": "float16"},
        "modelfs": {"type": "layers", "diffIds": digests},
    }


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"model_type": 7}', b"\xff", b"[" * 100_000])
def test_a_config_json_that_says_nothing_is_packed_all_the_same(
    push: Push, model: Path, registry: EmbeddedRegistry, content: bytes
) -> None:
    (model / "config.json").write_bytes(content)
    push(model, name="mine", family="llama", created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert config_of(registry)["descriptor"] == {
        "createdAt": "2026-01-02T03:04:05Z",
        "family": "llama",
        "name": "mine",
    }


def test_the_same_files_always_get_the_same_digest(push: Push, model: Path, registry: EmbeddedRegistry) -> None:
    first = push(model)
    body = registry.manifest("team/model", "v1")
    assert push(model).digest == first.digest
    assert registry.manifest("team/model", "v1") == body


def test_what_the_registry_has_is_not_sent_again(push: Push, model: Path, registry: EmbeddedRegistry) -> None:
    assert push(model).sent == sum(map(len, FILES.values()))
    registry.forget_requests()
    (model / "README.md").write_bytes(b"# New\n")
    again = push(model)
    assert registry.count("PUT", UPLOADS) == 2  # README.md and the configuration
    assert again.sent == len(b"# New\n")


def test_files_of_the_same_bytes_are_sent_once(push: Push, model: Path, registry: EmbeddedRegistry) -> None:
    for number in range(4):
        (model / f"copy-{number}.safetensors").write_bytes(FILES["model.safetensors"])
    pushed = push(model)
    assert registry.count("PUT", UPLOADS) == len(FILES) + 1
    assert pushed.sent == pushed.size - 4 * len(FILES["model.safetensors"])


def test_the_manifest_is_pushed_last(push: Push, model: Path, registry: EmbeddedRegistry) -> None:
    push(model)
    last = registry.seen()[-1]
    assert (last.method, last.path) == ("PUT", "/v2/team/model/manifests/v1")


def test_a_failed_upload_leaves_the_tag_as_it_was(push: Push, model: Path, registry: EmbeddedRegistry) -> None:
    push(model)
    body = registry.manifest("team/model", "v1")
    (model / "config.json").write_bytes(b"{}")
    registry.faults.add(Fault(status=400), method="PUT", path=UPLOADS)
    with pytest.raises(UnsupportedArtifact):
        push(model)
    assert registry.manifest("team/model", "v1") == body


def test_an_upload_that_breaks_off_is_repeated_and_counted_once(
    push: Push, model: Path, registry: EmbeddedRegistry
) -> None:
    registry.faults.add(Fault(drop_after=100_000), method="PUT", path=UPLOADS)
    tally = Tally()
    pushed = push(model, tally=tally)
    assert pushed.sent == tally.settled == tally.total == pushed.size
    assert {layer.path for layer in plan(manifest_of(registry)).layers} == set(FILES)


class Meddling(Tally):
    """Does something to the files in the middle of a push."""

    def __init__(self, *, on_hash: Callable[[], None] | None = None, on_send: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._on_hash = on_hash
        self._on_send = on_send

    def hash(self, count: int) -> None:
        super().hash(count)
        if self._on_hash:
            self._on_hash()

    def send(self, count: int) -> None:
        super().send(count)
        if self._on_send:
            self._on_send()


def grow(path: Path) -> Callable[[], None]:
    def append() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    return append


def rewrite(path: Path) -> Callable[[], None]:
    def reverse() -> None:
        path.write_bytes(path.read_bytes()[::-1])

    return reverse


def remove(path: Path) -> Callable[[], None]:
    return lambda: path.unlink(missing_ok=True)


def replace(path: Path) -> Callable[[], None]:
    def with_a_pipe() -> None:
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    return with_a_pipe


@pytest.mark.parametrize("change", [grow, rewrite, remove, replace])
@pytest.mark.parametrize("moment", ["on_hash", "on_send"])
def test_a_file_that_changes_meanwhile_is_noticed(
    push: Push,
    model: Path,
    registry: EmbeddedRegistry,
    moment: str,
    change: Callable[[Path], Callable[[], None]],
) -> None:
    for path in FILES.keys() - {"model.safetensors"}:
        (model / path).unlink()
    tally = Meddling(**{moment: change(model / "model.safetensors")})
    with pytest.raises(ContentMismatch, match=r"model\.safetensors"):
        push(model, tally=tally)
    assert registry.count("PUT", "/v2/team/model/manifests/*") == 0


def test_the_first_failure_ends_the_push_and_is_the_one_that_is_told(
    push: Push, model: Path, registry: EmbeddedRegistry
) -> None:
    for number in range(50):
        (model / f"part-{number}.bin").write_bytes(b"%d" % number)
    registry.faults.add(Fault(status=404), method="POST", path=UPLOADS, times=1000)
    with pytest.raises(NotFound):
        push(model)
    assert registry.count("POST", UPLOADS) <= 4


@pytest.mark.usefixtures("ordinary_user")
def test_a_file_that_may_not_be_read_is_named(push: Push, model: Path) -> None:
    (model / "model.safetensors").chmod(0)
    with pytest.raises(InvalidRequest, match=r"model\.safetensors may not be read by this user"):
        push(model)


def test_a_digest_cannot_be_pushed_to(model: Path, push: Push, registry: EmbeddedRegistry) -> None:
    digest = push(model).digest
    reference = Reference.parse(registry.reference("team/model", "v1")).at(digest)
    registry.forget_requests()
    with pytest.raises(InvalidRequest, match="name a tag alone"):
        push(model, reference=reference)
    assert registry.count() == 0


def test_more_files_than_a_manifest_can_name_are_refused(push: Push, tmp_path: Path) -> None:
    deep = tmp_path.joinpath("model", *["\x01" * 250] * 13)  # each of these bytes takes six in JSON
    deep.mkdir(parents=True)
    for number in range(220):
        (deep / str(number)).write_bytes(b"")
    with pytest.raises(InvalidRequest, match=r"220 layers make a manifest of 4[0-9]{6} bytes; registries take 4194304"):
        push(tmp_path / "model", packing="raw")
    pushed = push(tmp_path / "model")
    assert (pushed.files, pushed.layers) == (220, 1)


def test_credentials_decide(push: Push, model: Path) -> None:
    with EmbeddedRegistry(auth="bearer", users={"ann": "secret"}) as registry:
        reference = Reference.parse(registry.reference("team/model", "v1"))
        ann = Keychain.from_secrets({"username": "ann", "password": "secret"}, reference.host)
        with pytest.raises(Unauthenticated):
            push(model, reference=reference)
        assert push(model, reference=reference, keychain=ann).sent == sum(map(len, FILES.values()))
