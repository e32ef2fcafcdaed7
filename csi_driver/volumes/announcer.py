"""What a pod's events tell about its model: that it is being pulled, how far that is, and how it ended."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from csi_driver import amounts
from csi_driver.errors import Busy, DriverError, StillPulling, Stopping
from csi_driver.inflight import Lock
from csi_driver.transfer.progress import Totals, describe
from csi_driver.volumes.volume import Pod, PublishSpec

_PACE = (2.0, 10.0, 20.0, 30.0, 60.0)
"""Seconds from one report of a call to the next; what is over before the first is told as one event, its end."""

_REMEMBERED = 10_000  # volumes that nobody published after all, and nobody unpublished either
_NO_END = (StillPulling, Busy, Stopping)  # kubelet asks again, and tells of these itself


@dataclass(frozen=True, slots=True)
class Announcement:
    """One event of a pod. Of one volume and one reason the later announcement takes the place of the earlier one."""

    pod: Pod
    volume_id: str
    reason: str
    message: str
    warning: bool = False


@dataclass(slots=True)
class _Pull:
    """What a volume waits for, over all the calls that kubelet makes for it."""

    since: float
    total: int = 0
    not_waited_for: int = 0
    """Bytes that were here already, or that came before the volume began to wait."""
    arrived_before: int | None = None

    def look(self, totals: Totals) -> None:
        """The pull has come so far; one that is over has nothing of nothing."""
        if self.arrived_before is None:
            self.arrived_before = totals.fetched - totals.here
        self.total = max(self.total, totals.total)
        self.not_waited_for = max(self.not_waited_for, totals.here + self.arrived_before)


class Announcer:
    """Tells pods of their models; `post` takes an announcement and returns at once."""

    def __init__(self, *, post: Callable[[Announcement], None]) -> None:
        self._post = post
        self._lock = Lock()
        self._pulls: dict[str, _Pull] = {}

    @contextmanager
    def publishing(self, spec: PublishSpec) -> Iterator["Story"]:
        """The story of one call; an error that ends the call for good ends the story."""
        story = Story(self, spec)
        try:
            yield story
        except _NO_END:
            raise
        except DriverError as error:
            self.forget(spec.volume_id)
            self.tell(spec, "FailedModel", str(error), warning=True)
            raise

    def tell(self, spec: PublishSpec, reason: str, message: str, *, warning: bool = False) -> None:
        """Announce it, if kubelet said whose the volume is."""
        if spec.pod:
            self._post(Announcement(spec.pod, spec.volume_id, reason, message, warning))

    def waiting(self, volume_id: str) -> _Pull:
        """The pull that the volume waits for, from now on if it did not wait before."""
        with self._lock:
            pull = self._pulls.setdefault(volume_id, _Pull(time.monotonic()))
            while len(self._pulls) > _REMEMBERED:
                del self._pulls[next(iter(self._pulls))]
            return pull

    def forget(self, volume_id: str) -> _Pull | None:
        """The volume waits for nothing any more; what it waited for until now."""
        with self._lock:
            return self._pulls.pop(volume_id, None)


class Story:
    """What is told of one publish."""

    def __init__(self, announcer: Announcer, spec: PublishSpec) -> None:
        self._announcer = announcer
        self._spec = spec
        self._reports = 0

    def pulling(self, totals: Totals) -> float:
        """The volume waits for a pull that has come so far; in how many seconds to say so again."""
        self._announcer.waiting(self._spec.volume_id).look(totals)
        if self._reports:
            progress = describe(totals) if totals.total else "asking the registry what it consists of"
            self._announcer.tell(self._spec, "PullingModel", f"pulling {self._spec.reference}: {progress}")
        pause = _PACE[min(self._reports, len(_PACE) - 1)]
        self._reports += 1
        return pause

    def mounted(self, size: int) -> None:
        """The model, of `size` bytes, is at the target path."""
        model = f"{self._spec.reference} ({amounts.size(size)})"
        pull = self._announcer.forget(self._spec.volume_id)
        if pull is None:
            self._announcer.tell(self._spec, "MountedModel", f"mounted {model}, which was on this node already")
            return
        seconds = max(time.monotonic() - pull.since, 0.001)
        came = pull.total - pull.not_waited_for
        speed = f", {amounts.rate(came / seconds)}" if came > 0 else ""
        self._announcer.tell(self._spec, "PulledModel", f"pulled {model} in {amounts.duration(seconds)}{speed}")
