"""How long pods wait for their volumes, over all the calls that kubelet makes for one."""

import time
from collections.abc import Callable

from csi_driver.inflight import Lock
from csi_driver.metrics import Metrics

_REMEMBERED = 10_000  # volumes that nobody published after all, and nobody unpublished either


class Latency:
    """Measures from the first call for a volume until it is mounted; `clock` tells seconds."""

    def __init__(self, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._lock = Lock()
        self._asked: dict[str, float] = {}

    def asked(self, volume_id: str) -> None:
        """Somebody wants the volume, perhaps not for the first time."""
        with self._lock:
            self._asked.setdefault(volume_id, self._clock())
            while len(self._asked) > _REMEMBERED:
                del self._asked[next(iter(self._asked))]

    def mounted(self, volume_id: str) -> None:
        """The volume is there."""
        with self._lock:
            asked = self._asked.pop(volume_id, None)
        if asked is not None:
            self._metrics.publish_latency.observe(self._clock() - asked)

    def forget(self, volume_id: str) -> None:
        """Nobody wants the volume any more."""
        with self._lock:
            self._asked.pop(volume_id, None)
