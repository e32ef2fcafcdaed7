"""How long a call may wait for a model, and who tells it to stop waiting."""

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from csi_driver.errors import StillPulling, Stopping
from csi_driver.inflight import Deadline, Dropped, Lock, Slots, Wait

# More pods than kubelet starts on one node at once (its default limit is 110 pods a node).
PLACES = 128


class WaitingRoom:
    """The calls that wait for models: few enough to leave threads for every other call.

    `hold_seconds` is the longest wait: kubelet gives a call 120 s and loses time to its back-off if refused early.
    """

    def __init__(self, *, hold_seconds: float, places: int = PLACES) -> None:
        self._hold_seconds = hold_seconds
        self._slots = Slots(places, full=f"{places} calls already wait for models on this node; try again")
        self._lock = Lock()
        self._waits: set[Wait] = set()
        self._closed = False

    @contextmanager
    def enter(self, context: grpc.ServicerContext) -> Iterator[Wait]:
        """Wait until shortly before the caller's own deadline, until it leaves, or until the room is closed.

        Raises `Busy` when the room is full and `Stopping` when it is closed.
        """
        with self._slots.take():
            wait = Wait(Deadline.after(patience(self._hold_seconds, context.time_remaining())))
            self._add(wait)
            if not context.add_callback(wait.drop):
                wait.drop()
            try:
                yield wait
            except (Dropped, StillPulling):
                self.check()
                raise
            finally:
                with self._lock:
                    self._waits.discard(wait)

    def check(self) -> None:
        """Raise `Stopping` once the room is closed."""
        if self._closed:
            raise Stopping("the driver on this node is being restarted; the pull goes on with the next call")

    def close(self) -> None:
        """Send everybody away: the driver stops."""
        with self._lock:
            self._closed = True
            waits = list(self._waits)
        for wait in waits:
            wait.drop()

    def _add(self, wait: Wait) -> None:
        with self._lock:
            self.check()
            self._waits.add(wait)


def patience(hold_seconds: float, remaining: float | None) -> float:
    """Seconds to wait when the caller gives up in `remaining` seconds: an answer must still reach it in time."""
    if remaining is None:
        return hold_seconds
    margin = max(0.5, min(5.0, remaining * 0.05))
    return max(0.0, min(hold_seconds, remaining - margin))
