"""What pods see of their models under a real kubelet."""

from pathlib import Path

from e2e.cluster.conftest import MakePod
from e2e.cluster.installation import Installation
from e2e.cluster.registries import Registries
from e2e.node import content


def test_a_pod_reads_its_model_byte_for_byte(pod: MakePod, registry: Registries, repository: str, model: Path) -> None:
    registry.push(model, repository)

    reader = pod("reader", f"{registry.public}/{repository}:v1")
    reader.until_ready()

    assert reader.content() == content(model)


def test_two_pods_share_one_download(
    pod: MakePod, driver: Installation, registry: Registries, repository: str, of_its_own: Path
) -> None:
    registry.push(of_its_own, repository)
    reference = f"{registry.public}/{repository}:v1"

    both = [pod(name, reference) for name in ("one", "two")]
    for reader in both:
        reader.until_ready()

    fetched = registry.blobs_fetched(repository)
    assert len(fetched) == len(set(fetched)) > 0, "each blob is fetched once"
    assert both[0].content() == both[1].content() == content(of_its_own)
