"""A bad block of the disk under the data root costs what was in it, and nothing else."""

import os

import pytest

from tests.driver.test_recovery import publish, target_of
from tests.fixtures.badblocks import spoil
from tests.fixtures.driver import Node, content, eventually
from tests.fixtures.registry import EmbeddedRegistry

MODEL = {"model.safetensors": os.urandom(100_000), "config.json": b"{}"}
OTHER = {"model.gguf": os.urandom(50_000)}


@pytest.fixture
def models(registry: EmbeddedRegistry) -> list[str]:
    registry.push_model("team/model", "v1", MODEL)
    registry.push_model("team/other", "v1", OTHER)
    return [registry.reference(f"team/{name}", "v1") for name in ("model", "other")]


@pytest.mark.parametrize(
    "place",
    ["volumes/*.json", "snapshots/*/snapshot.json", "references/*.json", "pins/*.json", "wanted/*.json", "secret"],
)
def test_files_that_cannot_be_read_any_more_keep_no_driver_from_serving(
    node: Node, models: list[str], place: str
) -> None:
    model, other = models
    with node.driver() as driver:
        old = publish(driver, "a", model)
        list(driver.client.pull(model, pin=True))
        (node.root / "wanted" / "left.json").write_bytes(b"{}")
    spoilt = list(node.root.glob(place))
    assert spoilt
    for path in spoilt:
        spoil(path)
    with node.driver() as driver:
        assert content(old) == MODEL
        assert content(publish(driver, "b", model)) == MODEL
        assert content(publish(driver, "c", other)) == OTHER
        driver.driver.upkeep.housekeep()
        for pod in ("a", "b", "c"):
            driver.client.unpublish(f"csi-{pod}", target_of(node, pod))
        driver.configure("features: {disk_usage_limit: 1}\n")
        eventually(lambda: not any((node.root / "trash").iterdir()))
    assert [path for path in spoilt if path.is_symlink()] == []
