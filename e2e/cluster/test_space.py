"""A node that has not room for all models: pods wait with a reason, and what nobody reads makes way."""

from pathlib import Path

from e2e.cluster.conftest import MakePod
from e2e.cluster.installation import Installation
from e2e.cluster.registries import Registries, size_of
from e2e.node import content
from e2e.waiting import PATIENCE


def test_a_model_waits_for_room_until_another_is_not_read_any_more(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, of_its_own: Path
) -> None:
    names = [f"{repository}-{name}" for name in ("first", "second")]
    for number, name in enumerate(names):
        (of_its_own / "model-00001-of-00002.safetensors").write_bytes(bytes([number]) * (20 << 20))
        registry.push(of_its_own, name)
    with driver.followed(features={"disk_usage_limit": size_of(of_its_own) * 3 // 2}):
        first = pod("first", f"{registry.public}/{names[0]}:v1")
        first.until_ready()

        second = pod("second", f"{registry.public}/{names[1]}:v1")
        told = second.until_told("^FailedMount: .*ResourceExhausted")
        assert not second.is_ready()
        first.delete()
        second.until_ready(patience=2 * PATIENCE)

        assert second.content() == content(of_its_own)
        assert "disk_usage_limit" in told or "space" in told or "room" in told


def test_what_no_pod_reads_is_given_up_to_the_last_byte(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, of_its_own: Path
) -> None:
    registry.push(of_its_own, repository)
    reader = pod("reader", f"{registry.public}/{repository}:v1")
    reader.until_ready()
    reader.delete()

    reader = pod("next", f"{registry.public}/{repository}:v1")
    reader.until_ready()
    assert repository in driver.command("gc", "--all", "--dry-run")
    driver.command("gc", "--all")
    assert reader.content() == content(of_its_own), "what a pod reads stays"
    reader.delete()

    driver.command("gc", "--all")
    driver.until_empty(("layers", "snapshots", "trash"))
