"""What this process is using right now, and must therefore be kept."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from csi_driver.cache.layout import LayerId
from csi_driver.inflight import Lock


@dataclass(frozen=True, slots=True)
class Leased:
    """Everything that is leased at one moment."""

    snapshots: frozenset[str]
    layers: frozenset[LayerId]


class Leases:
    """Counted leases on snapshots and layers; they exist in memory only and end with the process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._snapshots: Counter[str] = Counter()
        self._layers: Counter[LayerId] = Counter()

    @contextmanager
    def hold(self, snapshots: Iterable[str], layers: Iterable[LayerId], *, begun: Callable[[], None]) -> Iterator[None]:
        """Lease them, whether they exist yet or not; `begun` runs first, while nothing can be given up."""
        keys, ids = list(snapshots), list(layers)
        with self._lock:
            begun()  # which may fail, as on a disk that has become read-only: then nothing is leased
            self._snapshots.update(keys)
            self._layers.update(ids)
        try:
            yield
        finally:
            with self._lock:
                self._release(keys, ids)

    @contextmanager
    def frozen(self) -> Iterator[Leased]:
        """Everything that is leased, while nobody can take another lease: what is not in it may be given up."""
        with self._lock:
            yield Leased(frozenset(self._snapshots), frozenset(self._layers))

    def _release(self, keys: list[str], ids: list[LayerId]) -> None:
        self._snapshots.subtract(keys)
        self._layers.subtract(ids)
        self._snapshots = +self._snapshots
        self._layers = +self._layers
