"""Waiting for what others do in their own time, always with an end."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 120.0
"""Seconds after which something will not come: many times what it takes, also on a slow machine that has more to do."""


def until(look: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """What `look` sees, as soon as it sees something; `what` says what did not come when the seconds are over."""
    deadline = time.monotonic() + patience
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{what}: not after {patience} s"
        time.sleep(0.3)
    return seen


@contextmanager
def at_most(end: Callable[[], None], patience: float = PATIENCE) -> Iterator[None]:
    """`end` is called if the block takes longer: it ends the program whose words the block waits for."""
    timer = threading.Timer(patience, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
