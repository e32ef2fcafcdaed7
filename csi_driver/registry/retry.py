"""When a request is worth another try, and how long to wait before it."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from csi_driver.errors import Stopping, Unavailable

T = TypeVar("T")

RETRY_AFTER_CAP = 60.0
"""Seconds: a longer wish is reported, but waited for only so long."""


_BRIEFLY = 2.0  # seconds


class Transient(Unavailable):
    """The same request may succeed in a moment; `Retry` turns what remains of these into plain `Unavailable`.

    `waited` is how many seconds the try itself has spent on waiting.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, waited: float = 0.0) -> None:
        super().__init__(message, retry_after=retry_after)
        self.waited = waited


class TooLate(Unavailable):
    """The request's own deadline has passed, so nobody was asked: it says nothing of the host."""


class Retry:
    """Exponential backoff with jitter, until waiting, between tries and in them, has taken `patience` seconds.

    `first` is the first pause's upper bound in seconds; each next is twice as long, up to `longest`. `sleep` waits so
    many seconds and returns true to end it all: an `inflight.Stop.wait` lets the driver stop during a pause.
    """

    def __init__(
        self,
        *,
        patience: float = 60.0,
        first: float = 0.5,
        longest: float = 15.0,
        sleep: Callable[[float], bool | None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._patience = patience
        self._first = first
        self._longest = longest
        self._sleep = sleep
        self._jitter = jitter

    def run(self, attempt: Callable[[], T], *, briefly: bool = False) -> T:
        """The outcome of `attempt`, called again after each `Transient`; raises `Unavailable` when patience ends.

        That is after two seconds at most if only `briefly` tried, for somebody who has another way.
        """
        patience = min(self._patience, _BRIEFLY) if briefly else self._patience
        waited, bound, tries = 0.0, self._first, 0
        while True:
            tries += 1
            try:
                return attempt()
            except Transient as error:
                waited += error.waited
                pause = self._pause(bound, error.retry_after)
                if waited + pause > patience:
                    raise _given_up(error, tries, waited) from error
            if self._sleep(pause):
                raise Stopping("the driver is stopping; the next one goes on with this pull")
            waited += pause
            bound = min(2 * bound, self._longest)

    def _pause(self, bound: float, retry_after: float | None) -> float:
        """The registry's own wish, within limits, where it has one; else at least half of the bound."""
        if retry_after is not None:
            return min(max(retry_after, bound / 2), RETRY_AFTER_CAP)
        return bound * (0.5 + self._jitter() / 2)


def _given_up(error: Transient, tries: int, waited: float) -> Unavailable:
    text = str(error) if tries == 1 else f"{error}; gave up after {tries} tries in {waited:.0f} s"
    if error.retry_after is not None:
        text += f"; the registry wants to be asked again after {error.retry_after:.0f} s"
    return Unavailable(text, retry_after=error.retry_after)


def parse_retry_after(value: str | None) -> float | None:
    """Seconds until a `Retry-After` (RFC 9110, section 10.2.3), a number or a date; None where it says nothing."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
