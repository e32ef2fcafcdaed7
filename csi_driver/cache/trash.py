"""What was given up, until it is removed: renamed to here at once, and taken away bit by bit when there is time."""

import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from csi_driver import log
from csi_driver.host import faults, files
from csi_driver.host.priority import run_in_background
from csi_driver.inflight import Condition, Lock, Stop

_STEP_NAMES = 256  # removed between two pauses; many at once make ext4 slow for everybody
_STEP_BYTES = 1 << 30
_SHORTEST_REST, _LONGEST_REST = 0.01, 2.0  # seconds


def as_long(seconds: float) -> float:
    """How long to rest after a step that took so long: others have the disk at least half of the time."""
    return min(max(seconds, _SHORTEST_REST), _LONGEST_REST)


class Trash:
    """One directory, whose entries nobody uses; what is left of them when the driver ends is for the next to remove.

    `sweep` removes in a thread of its own, at low priority and with rests. Whoever needs the room now calls `empty`,
    before which the sweeper steps aside.
    """

    def __init__(self, directory: Path, *, rest: Callable[[float], float] = as_long) -> None:
        self._directory = directory
        self._rest = rest
        self._changed = Condition()
        self._holds_more = False
        self._hurried = 0
        self._removing = Lock()

    def take(self, paths: Iterable[Path]) -> int:
        """Rename what is given up into the trash; how many of the paths were there.

        What a failing disk does not let go of stays where it is.
        """
        moved = 0
        try:
            for path in paths:
                try:
                    moved += files.move_aside(path, self._directory / secrets.token_hex(16))
                except OSError as error:
                    if not faults.is_lost(error):
                        raise
                    _tell(error)
        finally:  # where one cannot be renamed, those before it have been
            if moved:
                with self._changed:
                    self._holds_more = True
                    self._changed.notify_all()
        return moved

    def empty(self) -> None:
        """Remove at once all that was taken before: the disk has its room when this returns."""
        self._hurry(1)
        try:
            for path in sorted(self._directory.iterdir()):
                with self._removing, _failures_told():
                    files.remove_tree(path)
            with self._removing:
                pass  # a name goes before its blocks do: what the sweeper was at when the names were read is gone, too
        finally:
            self._hurry(-1)

    def sweep(self, stop: Stop) -> None:
        """Remove all there is and all that comes, step by step, until `stop` is set."""
        run_in_background()
        with self._changed:
            self._holds_more = True  # whatever the driver before has left, or a sweep that failed
        with stop.calling(self._wake):
            while self._waits_for_more(stop):
                for path in sorted(self._directory.iterdir()):
                    with _failures_told():
                        self._remove_slowly(path, stop)

    def _remove_slowly(self, path: Path, stop: Stop) -> None:
        while not stop.is_set and self._removed_bit_by_bit(path, stop):
            with self._changed:
                self._changed.wait_for(lambda: not self._hurried or stop.is_set)

    def _removed_bit_by_bit(self, path: Path, stop: Stop) -> bool:
        """Whether to go on with it later, as somebody is in a hurry."""
        with self._removing:
            names, size, began = 0, 0, time.monotonic()
            for freed in files.removing(path):
                names, size = names + 1, size + freed
                if names < _STEP_NAMES and size < _STEP_BYTES:
                    continue
                self._wait(self._rest(time.monotonic() - began), stop)
                if stop.is_set or self._hurried:
                    return True
                names, size, began = 0, 0, time.monotonic()
        return False

    def _wait(self, seconds: float, stop: Stop) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._hurried or stop.is_set, timeout=seconds)

    def _waits_for_more(self, stop: Stop) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: (self._holds_more and not self._hurried) or stop.is_set)
            self._holds_more = False
            return not stop.is_set

    def _hurry(self, by: int) -> None:
        with self._changed:
            self._hurried += by
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


@contextmanager
def _failures_told() -> Iterator[None]:
    """What cannot be removed stays, and keeps nothing else from being removed."""
    try:
        yield
    except OSError as error:
        _tell(error)


def _tell(error: OSError) -> None:
    log.warning("what was given up cannot be removed; the next start tries again", error=error)
