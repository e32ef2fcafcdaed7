"""Waiting for what a cluster does in its own time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(look: Callable[[], T], what: str, patience: float = 60) -> T:
    """What `look` sees, as soon as it sees something; `what` says what did not come when the seconds are over."""
    deadline = time.monotonic() + patience
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{what}: not after {patience} s"
        time.sleep(0.3)
    return seen
