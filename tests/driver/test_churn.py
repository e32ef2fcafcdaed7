"""Pods that come and go for long leave nothing behind, and nobody ever sees a byte change."""

from pathlib import Path

from tests.fixtures.churn import GIVEN_UP, HITS, Node, churn
from tests.fixtures.registry import EmbeddedRegistry


def test_many_models_come_and_go_on_a_cache_that_holds_a_third_of_them(
    registry: EmbeddedRegistry, tmp_path: Path, mount_namespace: None
) -> None:
    with Node(tmp_path, registry, models=12) as node:
        tally = churn(node, publishes=150)
        log = node.log
    assert (tally.publishes, tally.outages, tally.through_outages) == (150, 2, 2)
    assert tally.looks > 0
    assert tally.told[GIVEN_UP] > 10
    assert tally.told[HITS] > 10
    assert tally.samples[-1].mounts == 0
    assert tally.samples[-1].descriptors <= tally.samples[0].descriptors + 10
    assert "Traceback" not in log
