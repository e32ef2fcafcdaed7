"""What has to be done again and again, so that a node can run for years."""

from collections.abc import Callable
from contextlib import suppress

from csi_driver import log
from csi_driver.cache.pins import Pins
from csi_driver.cache.references import References
from csi_driver.cache.store import Cache
from csi_driver.errors import Stopping
from csi_driver.inflight import Stop
from csi_driver.verifier.report import Progress, Scope
from csi_driver.verifier.verifier import Verifier
from csi_driver.volumes.predecessor import Predecessor
from csi_driver.volumes.records import Records

_DAY = 24 * 3600.0
_INGESTS_KEPT = 3 * _DAY  # what a pull that nobody repeats has fetched
_MEMORIES_KEPT = 30 * _DAY  # manifests without snapshots, and what references meant


class Upkeep:
    """The chores of a driver; `interval` tells in how many seconds every layer is to be proved again, 0 for never."""

    def __init__(
        self,
        *,
        cache: Cache,
        records: Records,
        references: References,
        pins: Pins,
        predecessor: Predecessor,
        verifier: Verifier,
        interval: Callable[[], float],
        stop: Stop,
    ) -> None:
        self._cache = cache
        self._records = records
        self._references = references
        self._pins = pins
        self._predecessor = predecessor
        self._verifier = verifier
        self._interval = interval
        self._stop = stop

    def housekeep(self) -> None:
        """Forget what has been of no use for long, and what nobody has asked to be removed."""
        self._predecessor.give_back_unused()
        self._records.expire_damaged()
        self._cache.expire_ingests(_INGESTS_KEPT)
        self._cache.expire_manifests(_MEMORIES_KEPT)
        self._cache.expire_origins(_MEMORIES_KEPT)
        self._references.expire(_MEMORIES_KEPT, keep=self._pins.names())
        self._verifier.forget_gone()

    def verify_due(self) -> None:
        """Prove what is due, wherever the driver before may have ended."""
        interval = self._interval()
        if not interval:
            return
        with suppress(Stopping):
            report = self._verifier.verify(Scope(older_than=interval), progress=Progress(), stop=self._stop)
            if report.layers or report.snapshots:
                log.event(
                    "verified",
                    layers=report.layers,
                    snapshots=report.snapshots,
                    read_bytes=report.read,
                    damaged=len(report.findings),
                )
