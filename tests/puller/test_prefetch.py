"""Pulled ahead: in order, one after another, with pauses after failures; and what an earlier driver had begun."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_driver.cache.snapshots import Snapshot
from csi_driver.config import Config, PrefetchEntry
from csi_driver.errors import AccessDenied, InvalidRequest, NotFound, Unavailable
from csi_driver.inflight import Stop, Wait, spawn
from csi_driver.metrics import Metrics
from csi_driver.oci.digest import Digest
from csi_driver.oci.policy import PullPolicy
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import Selection
from csi_driver.puller.intents import Intent, Intents
from csi_driver.puller.prefetch import Prefetcher
from csi_driver.puller.request import PullRequest
from csi_driver.puller.wishes import Wish, configured_pins, wishes
from tests.cache.test_gc import snapshot
from tests.fixtures.driver import eventually

SOON = 30.0
HOUR = 3600.0


class FakePuller:
    """Brings every model at once, but those that `errors` names."""

    def __init__(self, intents: Intents) -> None:
        self.intents = intents
        self.errors: dict[str, Exception] = {}
        self.asked: list[PullRequest] = []
        self.resumed: list[Intent] = []
        self.under_way: set[str] = set()
        self.before_failing: Callable[[], object] = lambda: None

    def ready(self, request: PullRequest, wait: Wait) -> Snapshot:
        self.asked.append(request)
        self._fail(request.reference)
        return snapshot("key")

    def resume(self, intent: Intent, wait: Wait) -> None:
        self.resumed.append(intent)
        self.intents.drop(intent.key)
        self._fail(intent.reference)

    def is_under_way(self, key: str) -> bool:
        return key in self.under_way

    def tags(self) -> list[str | None]:
        """The tags of the models asked for, in their order."""
        tags = [request.reference.tag for request in self.asked]
        self.asked.clear()
        return tags

    def _fail(self, reference: Reference) -> None:
        if error := self.errors.get(reference.tag or ""):
            self.before_failing()
            raise error


class Bench:
    """A prefetcher among fakes, whose clock stands still."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.intents = Intents(directory)
        self.puller = FakePuller(self.intents)
        self.wished: tuple[Wish, ...] = ()
        self.metrics = Metrics()
        self.now = 1000.0
        self.stop = Stop()
        self.prefetcher = Prefetcher(
            puller=self.puller,
            intents=self.intents,
            wishes=lambda: self.wished,
            stop=self.stop,
            metrics=self.metrics,
            clock=lambda: self.now,
        )

    def work(self, *, after: float = 0.0) -> list[str | None]:
        """What is asked for when so many seconds have gone by."""
        self.now += after
        self.prefetcher.work()
        return self.puller.tags()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "wanted")


def wish(tag: str) -> Wish:
    return Wish(Reference.parse(f"registry.local/model:{tag}"), Selection())


def intent(tag: str, *, urgent: bool = False) -> Intent:
    return Intent(Reference.parse(f"registry.local/model:{tag}"), Digest.of(tag.encode()), Selection(), urgent)


def test_wishes_are_fulfilled_in_their_order_and_looked_after_now_and_then(bench: Bench) -> None:
    bench.wished = (wish("b"), wish("a"))
    assert bench.work() == ["b", "a"]
    assert bench.work(after=10) == []
    assert bench.work(after=HOUR) == ["b", "a"]
    assert bench.prefetcher.states() == {"ready": 2, "failed": 0, "pending": 0}


def test_nothing_that_is_pulled_ahead_is_urgent_and_moving_tags_are_followed(bench: Bench) -> None:
    bench.wished = (wish("v1"), wish("latest"))
    bench.prefetcher.work()
    assert [(one.urgent, one.policy) for one in bench.puller.asked] == [
        (False, PullPolicy.IF_NOT_PRESENT),
        (False, PullPolicy.ALWAYS),
    ]


def test_after_failures_the_pauses_double_up_to_an_hour_and_others_go_on(bench: Bench) -> None:
    bench.wished = (wish("bad"), wish("good"))
    bench.puller.errors["bad"] = NotFound("no such model")
    assert bench.work() == ["bad", "good"]
    assert bench.prefetcher.states() == {"ready": 1, "failed": 1, "pending": 0}
    for pause in (30, 60, 120):
        assert bench.work(after=pause - 1) == []
        assert bench.work(after=1) == ["bad"]
    for _ in range(9):
        bench.work(after=HOUR)
    assert "bad" not in bench.work(after=HOUR - 1)
    assert "bad" in bench.work(after=1)
    told = bench.metrics.registry.get_sample_value("model_csi_prefetch_failures_total", {"reason": "NotFound"})
    assert told == 14
    bench.puller.errors.clear()
    assert "bad" in bench.work(after=HOUR)
    assert bench.prefetcher.states()["failed"] == 0


def test_a_failure_that_nobody_expected_holds_up_no_other_either(bench: Bench) -> None:
    for tag in ("begun", "next"):
        bench.intents.put(intent(tag))
        bench.puller.errors[tag] = RuntimeError("can't start new thread")
    bench.wished = (wish("bad"), wish("good"))
    bench.puller.errors["bad"] = RuntimeError("can't start new thread")
    assert bench.work() == ["bad", "good"]
    assert {one.reference.tag for one in bench.puller.resumed} == {"begun", "next"}
    assert bench.prefetcher.states() == {"ready": 1, "failed": 1, "pending": 0}


def test_what_is_wished_no_more_is_forgotten_and_asked_for_at_once_when_it_comes_back(bench: Bench) -> None:
    bench.wished = (wish("a"),)
    bench.work()
    bench.wished = ()
    assert bench.work() == []
    assert bench.prefetcher.states() == {"ready": 0, "failed": 0, "pending": 0}
    bench.wished = (wish("a"),)
    assert bench.prefetcher.states()["pending"] == 1
    assert bench.work() == ["a"]


def test_pulls_that_were_begun_before_go_on_before_any_wish(bench: Bench) -> None:
    bench.intents.put(intent("begun"))
    bench.wished = (wish("a"),)
    bench.prefetcher.work()
    assert [one.reference.tag for one in bench.puller.resumed] == ["begun"]


def test_urgent_pulls_go_on_at_once_side_by_side(bench: Bench) -> None:
    for tag in ("one", "two"):
        bench.intents.put(intent(tag, urgent=True))
    bench.prefetcher.work()
    eventually(lambda: len(bench.puller.resumed) == 2)


def test_a_pull_that_is_under_way_is_left_alone(bench: Bench) -> None:
    bench.intents.put(intent("a"))
    bench.puller.under_way.add(intent("a").key)
    bench.prefetcher.work()
    assert bench.puller.resumed == []


def test_a_registry_that_cannot_be_reached_is_asked_again_later(bench: Bench) -> None:
    bench.intents.put(intent("a"))
    bench.puller.errors["a"] = Unavailable("down")
    bench.work()
    bench.work(after=29)
    assert len(bench.puller.resumed) == 1
    bench.work(after=1)
    assert len(bench.puller.resumed) == 2
    assert list(bench.intents.all()) == [intent("a")]
    for _ in range(100):
        bench.work(after=HOUR)
    assert len(bench.puller.resumed) == 72
    assert list(bench.intents.all()) == []


def test_pulls_that_get_no_thread_are_gone_on_with_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    for tag in ("one", "two"):
        bench.intents.put(intent(tag, urgent=True))
    bench.wished = (wish("a"),)
    with monkeypatch.context() as context:
        context.setattr(threading.Thread, "start", refuse)
        assert bench.work() == ["a"]
    assert bench.puller.resumed == []
    bench.work(after=30)
    eventually(lambda: {one.reference.tag for one in bench.puller.resumed} == {"one", "two"})


def test_an_intent_that_cannot_be_kept_holds_up_no_other(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wanted, away = tmp_path / "wanted", tmp_path / "away"
    for tag in ("one", "two"):
        bench.intents.put(intent(tag))
        bench.puller.errors[tag] = Unavailable("down")
    bench.puller.before_failing = lambda: wanted.rename(away) if wanted.exists() else None
    bench.wished = (wish("a"),)
    assert bench.work() == ["a"]
    assert len(bench.puller.resumed) == 2
    assert caplog.text.count("forgotten until a pod asks for it") == 2
    away.rename(wanted)
    for tag in ("one", "two"):
        bench.intents.put(intent(tag))
    bench.puller.errors.clear()
    bench.work(after=30)
    assert len(bench.puller.resumed) == 4


def test_a_pull_that_needs_a_pods_credentials_waits_for_the_pod(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.intents.put(intent("a"))
    bench.puller.errors["a"] = AccessDenied("not yours")
    bench.work()
    assert "until a pod asks for it with its own credentials" in caplog.text


def test_it_ends_with_the_driver_and_begins_when_it_is_woken(bench: Bench) -> None:
    running = spawn("prefetch", bench.prefetcher.run)
    bench.wished = (wish("a"),)
    bench.prefetcher.wake()
    eventually(lambda: bench.prefetcher.states()["ready"] == 1)
    bench.stop.set()
    running.result(SOON)


def test_an_intent_stays_urgent_once_it_was(bench: Bench) -> None:
    for urgent in (False, True, False):
        bench.intents.put(intent("a", urgent=urgent))
    assert [one.urgent for one in bench.intents.all()] == [True]
    bench.intents.drop(intent("a").key)
    bench.intents.drop(intent("a").key)
    assert list(bench.intents.all()) == []


@pytest.mark.parametrize("text", ["", "[]", '{"format": 2}', '{"format": 1, "reference": "a b"}'])
def test_a_damaged_intent_is_dropped(bench: Bench, tmp_path: Path, text: str) -> None:
    path = tmp_path / "wanted" / "damaged.json"
    path.write_text(text)
    assert list(bench.intents.all()) == []
    assert not path.exists()


def test_what_is_wished_is_pinned_with_its_selection() -> None:
    entries = (PrefetchEntry("registry.local/a"), PrefetchEntry("registry.local/a:latest", layer_roles=("config",)))
    config = Config(prefetch=(*entries, entries[0]))
    assert [each.pin.name for each in wishes(config)] == ["registry.local/a:latest"] * 2
    assert {pin.selection for pin in configured_pins(config)} == {each.selection.key for each in wishes(config)}


@pytest.mark.parametrize(
    "make",
    [
        lambda: PrefetchEntry("registry.local/UPPER"),
        lambda: PrefetchEntry("registry.local/a", layer_roles=("tokens",)),
        lambda: PrefetchEntry("registry.local/a", exclude_file_patterns=("x" * 2000,)),
    ],
)
def test_a_wrong_wish_is_refused_by_name(make: Callable[[], PrefetchEntry]) -> None:
    with pytest.raises(InvalidRequest, match="setting prefetch, entry 'registry"):
        configured_pins(Config(prefetch=(make(),)))
