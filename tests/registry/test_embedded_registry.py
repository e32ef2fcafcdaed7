"""The registry that tests pull from keeps to the distribution specification where no fault is asked for."""

import json

import pytest
import requests

from tests.fixtures.registry import EmbeddedRegistry
from tests.fixtures.store import digest_of
from tests.registry.conftest import CONTENT


@pytest.mark.parametrize("packing", ["raw", "tar", "tar+gzip", "tar+zstd"])
@pytest.mark.parametrize("namespace", ["cncf", "cnai"])
def test_models_come_in_every_packing(registry: EmbeddedRegistry, packing: str, namespace: str) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"weights"}
    digest = registry.push_model("team/model", "v1", files, packing=packing, namespace=namespace)
    manifest = json.loads(registry.manifest("team/model", digest))
    assert [layer["mediaType"] for layer in manifest["layers"]] == [
        f"application/vnd.{namespace}.model.weight.config.v1.{packing}",
        f"application/vnd.{namespace}.model.weight.v1.{packing}",
    ]
    for layer in manifest["layers"]:
        assert digest_of(registry.blob(layer["digest"])) == layer["digest"]
    assert requests.get(f"{registry.url}/v2/team/model/tags/list", timeout=10).json()["tags"] == ["v1"]


def test_files_can_share_one_archive(registry: EmbeddedRegistry) -> None:
    digest = registry.push_model("team/model", None, {"a": b"1", "b/c": b"2"}, packing="tar", bundle=True)
    assert len(json.loads(registry.manifest("team/model", digest))["layers"]) == 1


def test_uploads_may_come_in_pieces(registry: EmbeddedRegistry) -> None:
    begun = requests.post(f"{registry.url}/v2/team/model/blobs/uploads/", timeout=10)
    location = registry.url + begun.headers["Location"]
    for half in (CONTENT[:1000], CONTENT[1000:]):
        assert requests.patch(location, data=half, timeout=10).status_code == 202
    ended = requests.put(f"{location}&digest={digest_of(CONTENT)}", timeout=10)
    assert ended.status_code == 201
    assert registry.blob(digest_of(CONTENT)) == CONTENT
    assert requests.head(f"{registry.url}/v2/other/blobs/{digest_of(CONTENT)}", timeout=10).status_code == 404


def test_a_manifest_needs_its_blobs(registry: EmbeddedRegistry) -> None:
    body = json.dumps({"layers": [{"digest": digest_of(CONTENT)}]})
    assert requests.put(f"{registry.url}/v2/team/model/manifests/v1", data=body, timeout=10).status_code == 400


def test_ranges_may_be_open(registry: EmbeddedRegistry) -> None:
    url = f"{registry.url}/v2/team/model/blobs/{registry.put_blob(CONTENT)}"
    assert requests.get(url, headers={"Range": "bytes=1000-"}, timeout=10).content == CONTENT[1000:]
    assert requests.get(url, headers={"Range": f"bytes={len(CONTENT)}-"}, timeout=10).status_code == 416


def test_storage_wants_no_credentials() -> None:
    with EmbeddedRegistry(redirect_blobs=True) as registry:
        url = registry.storage.locate(registry.put_blob(CONTENT))
        assert requests.get(url, timeout=10).content == CONTENT
        assert requests.get(url, headers={"Authorization": "Bearer x"}, timeout=10).status_code == 400


def test_bodies_are_counted(registry: EmbeddedRegistry) -> None:
    digest = registry.put_blob(CONTENT)
    requests.get(f"{registry.url}/v2/team/model/blobs/{digest}", headers={"Range": "bytes=0-9"}, timeout=10)
    assert registry.bytes_sent[digest] == 10
    assert registry.count("GET", "/v2/*/blobs/*") == 1


def test_a_slow_registry_sends_everything() -> None:
    with EmbeddedRegistry(rate=100e6) as registry:
        url = f"{registry.url}/v2/team/model/blobs/{registry.put_blob(CONTENT)}"
        assert requests.get(url, timeout=10).content == CONTENT
