"""What a node tells Kubernetes, whatever Kubernetes answers."""

from typing import Any, cast

import pytest

from csi_driver.config import Kubernetes
from csi_driver.errors import AccessDenied, Unavailable
from csi_driver.inflight import Stop
from csi_driver.volumes.cluster import Cluster

DENIED = AccessDenied("nodes 'node-1' may not be patched")


class Node:
    """Refuses to be changed until it has answered all that it was given, and then says that it wants no more."""

    def __init__(self, stop: Stop, *answers: Exception) -> None:
        self._stop = stop
        self._answers = list(answers)

    def is_registered(self) -> bool:
        return True

    def remove_taint(self, taint: str) -> None:
        if not self._answers:
            return self._stop.set()
        raise self._answers.pop(0)


def test_of_failures_to_remove_the_taint_that_are_all_the_same_only_the_first_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stop, unused = Stop(), cast(Any, None)
    node = Node(stop, DENIED, DENIED, DENIED, Unavailable("the API server is down"), DENIED)
    settings = Kubernetes(startup_taint="example.com/not-ready")
    Cluster(
        settings=settings,
        events=unused,
        node=cast(Any, node),
        inventory=unused,
        stop=stop,
        untaint_every=0.0,
    ).start()
    assert stop.wait(30.0)
    assert [str(record.fields["reason"]) for record in caplog.records] == [  # type: ignore[attr-defined]
        str(DENIED),
        "the API server is down",
        str(DENIED),
    ]
