"""Which hosts failed a moment ago, so that nobody waits for them again at once."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from csi_driver import log
from csi_driver.errors import DriverError
from csi_driver.inflight import Lock
from csi_driver.registry.host import Host

_LEFT_OUT = 30.0  # seconds
_TRIAL = 15.0  # seconds that one caller has to find out whether a host is back, while others go on without it
_FORGOTTEN = 600.0  # seconds behind its end after which an outage that nobody has asked about is of no use

_Key = tuple[tuple[str, str, int], str]


@dataclass(slots=True)
class _Outage:
    until: float
    reason: str
    repository: str


class Outages:
    """Hosts that have a substitute are left out for a while after a failure; then one caller tries them again.

    For the registry alone for which they failed: a mirror answers 502 for one that is down or does not exist, which
    anybody can ask it for, and brings the others all the same.
    """

    def __init__(self, *, seconds: float = _LEFT_OUT, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = Lock()
        self._outages: dict[_Key, _Outage] = {}

    def reason(self, host: Host, repository: str) -> str | None:
        """Why the host is to be left out now; None if it may be asked.

        What it was asked for when it failed may be a secret of others: only for the same repository the reason is told.
        """
        with self._lock:
            outage = self._outages.get(_key(host))
            if outage is None:
                return None
            now = self._clock()
            if now >= outage.until:
                outage.until = now + _TRIAL
                return None
            return outage.reason if outage.repository == repository else "it has failed"

    def begin(self, host: Host, repository: str, error: DriverError) -> None:
        """The host failed in a way that says nothing of the repository that it was asked for."""
        with self._lock:
            now = self._clock()
            self._outages = {key: one for key, one in self._outages.items() if one.until > now - _FORGOTTEN}
            is_new = _key(host) not in self._outages
            self._outages[_key(host)] = _Outage(now + self._seconds, str(error), repository)
        if is_new:
            log.warning(
                "a host fails and is left out for a while; the next one is asked",
                host=host.root.authority,
                instead_of=host.namespace or None,
                reason=error,
            )

    def end(self, host: Host) -> None:
        """The host answers."""
        with self._lock:
            was_out = self._outages.pop(_key(host), None)
        if was_out:
            log.event("a host that was left out answers again", host=host.root.authority)


def _key(host: Host) -> _Key:
    return host.root.origin, host.namespace
