"""The life of a driver: it recovers, serves, takes new settings, and stops when it is told to."""

import gc
import logging
import signal
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from csi_driver import __version__, log
from csi_driver.cache.layout import Places
from csi_driver.config import Config
from csi_driver.errors import DriverError, InvalidRequest
from csi_driver.host import capabilities, files
from csi_driver.inflight import Deadline, every, lasting, spawn
from csi_driver.parts import Parts
from csi_driver.volumes.orphans import settle
from csi_driver.volumes.recovery import recover

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_GRACE = 20.0  # seconds; Kubernetes gives a pod 30 (terminationGracePeriodSeconds)
_LAST_SPANS = 2.0  # seconds
_LOOK = 10.0  # seconds between looks at the configuration file
_MINUTE = 60.0
_HOUR = 3600.0


class Driver:
    """One driver on one data root and one socket, from `start` to `stop`."""

    def __init__(self, config: Config, path: Path | None = None) -> None:
        """`path` is the file that `config` came from, which is looked at for changes."""
        self._parts = Parts(config, path)
        self._served = ExitStack()  # what else has to be closed at the end
        self.upkeep = self._parts.upkeep

    def start(self) -> None:
        """Recover what the driver before left behind, then serve."""
        self._parts.cache.recover()
        recovered = recover(self._parts.records, self._parts.mounts, self._parts.places.snapshots)
        orphans = settle(
            self._parts.records, self._parts.mounts, self._parts.places.snapshots, self._parts.cache.snapshot
        )
        found: dict[str, Any] = {
            "volumes": recovered.kept,
            "dropped_records": recovered.dropped,
            "restored_records": orphans.restored,
            "removed_mounts": orphans.removed,
            "other_mounts": orphans.left,
        }
        self._parts.metrics.count_recovered(found)
        log.event("recovered", root=self._parts.config.root_dir, **found)
        if self._parts.config.metrics_addr:
            self._served.enter_context(self._parts.metrics.serve(self._parts.config.metrics_addr))
        self._parts.server.start()
        self._parts.ready = True
        self._parts.cluster.start()
        lasting("trash", lambda: self._parts.cache.sweep(self._parts.stop), self._parts.stop, failed=_tell)
        lasting("prefetch", self._parts.prefetcher.run, self._parts.stop, failed=_tell)
        every("configuration", _LOOK, self.reload, self._parts.stop, failed=_refuse)
        every("collect", _MINUTE, self._parts.cache.collect, self._parts.stop, failed=_tell)
        spawn("predecessor", self._parts.predecessor.take_over)
        every("housekeeping", _HOUR, self.upkeep.housekeep, self._parts.stop, failed=_tell)
        every("verification", _MINUTE, self.upkeep.verify_due, self._parts.stop, failed=_tell)

    def reload(self) -> None:
        """Let the configuration file's live settings take effect; raises `InvalidRequest` and changes nothing."""
        change = self._parts.live.refresh()
        if change is None:
            return
        config = self._parts.live.current()
        log.configure(config.log_level, config.log_format)
        self._parts.prefetcher.wake()
        try:
            self._parts.cache.collect()
        except (DriverError, OSError) as error:  # the settings are in force all the same
            _tell(error)
        log.event("the configuration has changed", applied=change.applied, after_a_restart=change.pending)

    def stop(self, grace: float = _GRACE) -> None:
        """Send callers away, end transfers at a place from which they can go on, and leave all mounts alone."""
        self._parts.ready = False
        self._parts.stop.set()
        self._parts.server.stop(grace / 2)
        drained = self._parts.puller.close(Deadline.after(grace / 2))
        self._parts.transport.close()
        self._served.close()
        self._send_last_spans()
        log.event("stopped", pulls_ended=drained)

    def _send_last_spans(self) -> None:
        with suppress(TimeoutError):  # a collector that does not answer must not hold up the stop
            spawn("spans", self._parts.tracing.close).result(timeout=_LAST_SPANS)


def run(config: Config, path: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT comes, with the live settings of `path` as they are when it changes, or on SIGHUP.

    Raises `Conflict` when another driver has the data root or the socket.
    """
    log.configure(config.log_level, config.log_format)
    log.event("starting", version=__version__, driver=config.service_name, node=config.node_id)
    for name in config.ignored:
        log.warning("a setting of the Go driver has no effect here", setting=name)
    # Blocked in every thread and waited for in this one: no handler can come at a moment when a lock is held.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    config.root_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with files.exclusive_lock(Places(config.root_dir).lock):
        capabilities.give_up_others()
        driver = Driver(config, path)
        driver.start()
        gc.freeze()  # what start-up made stays for good: looking through it again would cost each pull a few per cent
        while (received := signal.sigwait(_SIGNALS)) == signal.SIGHUP:
            try:
                driver.reload()
            except InvalidRequest as error:
                _refuse(error)
        log.event("stopping", signal=signal.Signals(received).name)
        driver.stop()


def _tell(error: Exception) -> None:
    log.event("housekeeping failed and is tried again later", level=logging.ERROR, error=error)


def _refuse(error: Exception) -> None:
    log.warning("the changed configuration is refused, and the one before stays in force", reason=error)
