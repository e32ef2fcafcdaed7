"""Stand-ins for what lies beneath csi/: they do what a test tells them and remember what they were asked."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from csi_driver.cache.layout import LayerId
from csi_driver.cache.pins import Pin
from csi_driver.errors import StillPulling
from csi_driver.inflight import Condition, Dropped, Stop, Wait
from csi_driver.puller.request import PullRequest
from csi_driver.verifier.report import Progress, Report, Scope
from csi_driver.volumes.collector import Collected
from csi_driver.volumes.inventory import CachedModel
from csi_driver.volumes.volume import PublishSpec, VolumeStats

STATS = VolumeStats(bytes_used=988_097_824, inodes_used=11, abnormal=False, condition="mounted")
PATIENCE = 30.0  # seconds after which a test that hangs fails instead


def nothing(*_: object) -> None:
    """What a call does unless a test says otherwise."""


class Counter:
    """A number that tests wait for instead of sleeping."""

    def __init__(self) -> None:
        self._condition = Condition()
        self._count = 0

    def add(self) -> None:
        with self._condition:
            self._count += 1
            self._condition.notify_all()

    def reaches(self, count: int) -> bool:
        with self._condition:
            return self._condition.wait_for(lambda: self._count >= count, timeout=PATIENCE)


class FakePins:
    def __init__(self) -> None:
        self.held: set[Pin] = set()

    def put(self, pin: Pin) -> None:
        self.held.add(pin)

    def remove(self, name: str) -> int:
        gone = {pin for pin in self.held if pin.name == name}
        self.held -= gone
        return len(gone)


class FakePublisher:
    def __init__(self) -> None:
        self.on_publish: Callable[[PublishSpec, Wait], None] = nothing
        self.on_unpublish: Callable[[str, Path], None] = nothing
        self.stats_of: Callable[[str, Path | None], VolumeStats] = lambda volume_id, path: STATS
        self.adopted: set[tuple[str, Path]] = set()
        self.specs: list[PublishSpec] = []
        self.waits: list[Wait] = []
        self.entered = Counter()
        self.dropped = Counter()

    def publish(self, spec: PublishSpec, wait: Wait) -> None:
        self.specs.append(spec)
        self.waits.append(wait)
        self.entered.add()
        self.on_publish(spec, wait)

    def is_adopted(self, volume_id: str, target: Path) -> bool:
        return (volume_id, target) in self.adopted

    def unpublish(self, volume_id: str, target: Path) -> None:
        self.on_unpublish(volume_id, target)

    def stats(self, volume_id: str, path: Path | None) -> VolumeStats:
        return self.stats_of(volume_id, path)

    def wait_in_vain(self, spec: PublishSpec, wait: Wait) -> None:
        """A publish whose pull does not end while anybody waits."""
        try:
            wait.until(lambda: False)
        except TimeoutError:
            raise StillPulling(f"pulling {spec.reference}: 47 %") from None
        except Dropped:
            self.dropped.add()
            raise


@dataclass(frozen=True)
class FakeSnapshot:
    manifest_digest: str = "sha256:" + "a" * 64
    size: int = 1000
    files: int = 3


@dataclass
class FakePuller:
    """Raises the errors in `outcomes` one call after the other, and then gives the snapshot."""

    outcomes: list[Exception] = field(default_factory=list)
    requests: list[PullRequest] = field(default_factory=list)
    known: list[str | None] = field(default_factory=list)

    @contextmanager
    def snapshot(self, request: PullRequest, wait: Wait, *, known: str | None = None) -> Iterator[FakeSnapshot]:
        self.requests.append(request)
        self.known.append(known)
        if self.outcomes:
            raise self.outcomes.pop(0)
        yield FakeSnapshot()


@dataclass
class FakeInventory:
    held: list[CachedModel] = field(default_factory=list)
    layers: set[LayerId] = field(default_factory=set)

    def models(self) -> Sequence[CachedModel]:
        return self.held

    def holding(self, layers: Iterable[LayerId]) -> Sequence[LayerId]:
        return [layer for layer in layers if layer in self.layers]


@dataclass
class FakeVerifier:
    """Does what `go_on` says, and then raises the failure or gives the report."""

    report: Report = field(default_factory=lambda: Report(0, 0, 0, ()))
    failure: Exception | None = None
    asked: list[tuple[Scope, float | None]] = field(default_factory=list)
    entered: Counter = field(default_factory=Counter)
    go_on: Callable[[Progress, Stop], None] = nothing

    def verify(
        self, scope: Scope, *, progress: Progress, stop: Stop, rate: Callable[[], float] | None = None
    ) -> Report:
        self.asked.append((scope, rate() if rate else None))
        self.entered.add()
        self.go_on(progress, stop)
        if self.failure:
            raise self.failure
        return self.report


@dataclass
class FakeCollector:
    outcome: Collected = field(default_factory=lambda: Collected(0, (), ()))
    asked: list[tuple[int | None, bool]] = field(default_factory=list)

    def collect(self, free: int | None, *, dry_run: bool) -> Collected:
        self.asked.append((free, dry_run))
        return self.outcome
