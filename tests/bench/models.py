"""The blobs as models in a registry: one repository for each kind."""

from pathlib import Path

from tests.bench.data import Blob, Data
from tests.bench.servers import Content
from tests.fixtures.models import Descriptor, manifest
from tests.fixtures.store import digest_of


def content(data: Data, home: Path) -> Content:
    """`bench/raw`, `bench/parts`, `bench/tar` and so on, all tagged `v1`; `home` is where their configs are written."""
    store = _Store(home)
    models = {
        "raw": [_layer("raw", data.raw, "model.safetensors")],
        "parts": [_layer("raw", part, f"model-{n:05}.safetensors") for n, part in enumerate(data.parts, 1)],
        "tar": [_layer("tar", data.tar)],
        "gzip": [_layer("tar+gzip", data.gzip)],
        "zstd": [_layer("tar+zstd", data.zstd)],
        "small": [_layer("tar", data.small)],
    }
    manifests = {f"bench/{name}": manifest(store, layers).decode() for name, layers in models.items()}
    blobs = (data.raw, *data.parts, data.tar, data.gzip, data.zstd, data.small)
    return Content(store.blobs | {blob.digest: blob for blob in blobs}, manifests)


def _layer(packing: str, blob: Blob, path: str | None = None) -> Descriptor:
    return {
        "mediaType": f"application/vnd.cncf.model.weight.v1.{packing}",
        "digest": blob.digest,
        "size": blob.size,
        "annotations": {} if path is None else {"org.cncf.model.filepath": path},
    }


class _Store:
    """Takes the configs of the models."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.blobs: dict[str, Blob] = {}

    def put_blob(self, content: bytes) -> str:
        digest = digest_of(content)
        file = self._home / digest.replace(":", "-")
        file.write_bytes(content)
        self.blobs[digest] = Blob(str(file), 0, len(content), digest.removeprefix("sha256:"))
        return digest

    def put_manifest(self, repository: str, tag: str | None, body: bytes, media_type: str) -> str:
        raise AssertionError("manifests are collected by the caller")
