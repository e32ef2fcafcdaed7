"""Layers that several pulls wait for: fetched once, and refused to nobody for the credentials of another."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from csi_driver.cache.layout import LayerId
from csi_driver.cache.store import Cache
from csi_driver.errors import NotFound, Unauthenticated
from csi_driver.inflight import Deadline, Future, Wait, spawn
from csi_driver.metrics import Metrics
from csi_driver.oci.layer import Layer
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
    """A repository as somebody's credentials reach it, and the one blob of it; each answer takes its time."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.refusal = refusal
        self.asked = threading.Event()
        self.answers = threading.Semaphore(0)

    def blob(self, _: object) -> "Access":
        return self

    def distrust(self, _: object) -> bool:
        return False


class FakeEngine:
    """Fetches what the access allows."""

    def fetch(self, blob: object, source: Access, into: Path, **_: object) -> Fetched:
        source.asked.set()
        assert source.answers.acquire(timeout=SOON)
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


def new_fetcher(cache: Cache, **parts: Any) -> LayerFetcher:
    usual = {"board": Board(Metrics()), "concurrency": 2}
    return LayerFetcher(
        cache=cache, engine=cast(Engine, FakeEngine()), metrics=Metrics(), tracing=Tracing(), **{**usual, **parts}
    )


def bring(fetcher: LayerFetcher, key: str, access: Access, *layers: Layer, wait: Wait | None = None) -> "Future[int]":
    wanted, patience = layers or (LAYER,), wait or Wait(Deadline.after(SOON))
    origins = {LayerId.of(layer): Origin(cast(Any, access), REGISTRY) for layer in wanted}
    return spawn(key, lambda: fetcher.bring(key, f"{REGISTRY}/{key}", wanted, origins, patience, urgent=True))


@pytest.mark.parametrize("refusal", [Unauthenticated("who are you"), NotFound("nothing here for you")])
def test_a_refusal_of_one_pulls_credentials_is_no_refusal_of_anothers(cache: Cache, refusal: Exception) -> None:
    board = ShownBoard()
    fetcher = new_fetcher(cache, board=board)
    stranger, friend = Access(refusal), Access()
    friend.answers.release()
    refused = bring(fetcher, "stranger", stranger)
    assert stranger.asked.wait(SOON)
    granted = bring(fetcher, "friend", friend)
    for _ in range(2):
        assert board.shown.acquire(timeout=SOON)
    stranger.answers.release()
    with pytest.raises(type(refusal)):
        refused.result(SOON)
    granted.result(SOON)
    assert cache.is_served(LayerId.of(LAYER), REGISTRY)


class Told(Wait):
    """Tells when all that is waited for has been handed over."""

    def __init__(self) -> None:
        super().__init__(Deadline.after(SOON))
        self.waits = threading.Event()

    def until(self, done: Callable[[], bool]) -> None:
        self.waits.set()
        super().until(done)


def test_a_small_model_does_not_wait_for_all_layers_of_a_large_one(cache: Cache) -> None:
    fetcher = new_fetcher(cache, concurrency=1)
    large, small, told = Access(), Access(), Told()
    many = [raw_layer(f"weights-{number}", str(number).encode()) for number in range(20)]
    first = bring(fetcher, "large", large, *many)
    assert large.asked.wait(SOON)
    small.answers.release()
    second = bring(fetcher, "small", small, wait=told)
    assert told.waits.wait(SOON)
    large.answers.release()
    second.result(SOON)
    assert not first.done()
    large.answers.release(19)
    first.result(SOON)


def test_layers_that_bring_nothing_hold_up_no_other_pull(cache: Cache) -> None:
    fetcher = new_fetcher(cache, concurrency=1, slow_after=0.0)
    silent, friend = Access(), Access()
    held = bring(fetcher, "silent", silent, raw_layer("held", b"held"))
    assert silent.asked.wait(SOON)
    friend.answers.release()
    bring(fetcher, "friend", friend).result(SOON)
    assert not held.done()
    silent.answers.release()
    held.result(SOON)


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
