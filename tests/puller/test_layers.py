"""Layers that several pulls wait for: fetched once, and refused to nobody for the credentials of another."""

import threading
from pathlib import Path
from typing import Any, cast

import pytest

from csi_driver.cache.layout import LayerId
from csi_driver.cache.store import Cache
from csi_driver.errors import NotFound, Unauthenticated
from csi_driver.inflight import Deadline, Future, Wait, spawn
from csi_driver.metrics import Metrics
from csi_driver.puller.artifact import Origin
from csi_driver.puller.board import Board
from csi_driver.puller.layers import LayerFetcher
from csi_driver.tracing import Tracing
from csi_driver.transfer.engine import Engine
from csi_driver.transfer.progress import Progress
from csi_driver.transfer.source import Fetched
from tests.cache.shelf import new_cache, raw_layer

SOON = 30.0
REGISTRY = "registry.local"
LAYER = raw_layer("weights", b"data")


class Access:
    """A repository as somebody's credentials reach it, and the one blob of it; a refusal takes its time."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.refusal = refusal
        self.asked = threading.Event()
        self.answer = threading.Event()

    def blob(self, _: object) -> "Access":
        return self

    def distrust(self, _: object) -> bool:
        return False


class FakeEngine:
    """Fetches what the access allows."""

    def fetch(self, blob: object, source: Access, into: Path, **_: object) -> Fetched:
        source.asked.set()
        assert source.answer.wait(SOON)
        if source.refusal:
            raise source.refusal
        (into / "content").write_bytes(b"data")
        return Fetched()


class ShownBoard(Board):
    """Tells when a second pull is about to wait for its layers."""

    def __init__(self) -> None:
        super().__init__(Metrics())
        self.shown = threading.Semaphore(0)

    def showing(self, key: str, reference: str, sizes: Any) -> Any:
        self.shown.release()
        return super().showing(key, reference, sizes)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return new_cache(tmp_path / "root")


def bring(fetcher: LayerFetcher, key: str, access: Access) -> "Future[int]":
    origins = {LayerId.of(LAYER): Origin(cast(Any, access), REGISTRY)}
    wait = Wait(Deadline.after(SOON))
    return spawn(key, lambda: fetcher.bring(key, f"{REGISTRY}/{key}", [LAYER], origins, wait, urgent=True))


@pytest.mark.parametrize("refusal", [Unauthenticated("who are you"), NotFound("nothing here for you")])
def test_a_refusal_of_one_pulls_credentials_is_no_refusal_of_anothers(cache: Cache, refusal: Exception) -> None:
    board = ShownBoard()
    fetcher = LayerFetcher(
        cache=cache,
        engine=cast(Engine, FakeEngine()),
        metrics=Metrics(),
        tracing=Tracing(),
        board=board,
        concurrency=2,
    )
    stranger, friend = Access(refusal), Access()
    friend.answer.set()
    refused = bring(fetcher, "stranger", stranger)
    assert stranger.asked.wait(SOON)
    granted = bring(fetcher, "friend", friend)
    for _ in range(2):
        assert board.shown.acquire(timeout=SOON)
    stranger.answer.set()
    with pytest.raises(type(refusal)):
        refused.result(SOON)
    granted.result(SOON)
    assert cache.is_served(LayerId.of(LAYER), REGISTRY)


def test_progress_is_a_number_of_bytes_for_each_reference() -> None:
    metrics = Metrics()
    board = Board(metrics)
    sizes = {LayerId.of(LAYER): 4}
    with board.showing("a", "registry.local/a", sizes) as shown, board.showing("b", "registry.local/b", sizes) as other:
        assert isinstance(shown[LayerId.of(LAYER)], Progress)
        assert shown[LayerId.of(LAYER)] is other[LayerId.of(LAYER)]
        shown[LayerId.of(LAYER)].advance(3)
        value = metrics.registry.get_sample_value
        assert value("model_csi_pull_fetched_bytes", {"reference": "registry.local/b"}) == 3
    assert board.totals("a").total == 0
    assert value("model_csi_pull_fetched_bytes", {"reference": "registry.local/b"}) is None
