"""Layers on their way to a registry: packed and hashed, then sent if the registry lacks them, several at a time."""

import io
from collections.abc import Sequence
from functools import partial

from csi_driver.errors import DriverError, Stopping
from csi_driver.inflight import KeyedLocks, Pool, Stop
from csi_driver.oci.digest import Digest
from csi_driver.oci.media import Packing
from csi_driver.pusher.archive import Archive, pack
from csi_driver.pusher.bundles import Bundle
from csi_driver.pusher.content import Content, read
from csi_driver.pusher.tally import Tally
from csi_driver.registry.client import Repository

Packed = Content | Archive
"""A layer whose digest is known, and whose bytes can be had once more."""

_FOREVER = 7 * 86400.0  # seconds that one upload may hold up another one of the same bytes


class Upload:
    """The upload of all layers of one push. The first failure ends all of it."""

    def __init__(self, repository: Repository, tally: Tally) -> None:
        self._repository = repository
        self._tally = tally
        self._stop = Stop()
        self._locks: KeyedLocks[Digest] = KeyedLocks()

    def run(self, pool: Pool, bundles: Sequence[Bundle]) -> list[Packed]:
        """What the layers came to, once all are at the registry; raises the first failure that is one of its own."""
        outcomes = [pool.submit(partial(self._take, bundle)) for bundle in bundles]
        try:
            failures = [error for outcome in outcomes if (error := outcome.exception()) is not None]
        except BaseException:
            self._stop.set()
            raise
        if failures:
            raise next((error for error in failures if not isinstance(error, Stopping)), failures[0])
        return [outcome.result() for outcome in outcomes]

    def _take(self, bundle: Bundle) -> Packed:
        try:
            self._stop.check()
            content = self._pack(bundle)
            self._tally.pack(content.size - bundle.size)
            self._send(content)
        except BaseException:
            self._stop.set()
            raise
        return content

    def _pack(self, bundle: Bundle) -> Packed:
        if bundle.packing is not Packing.RAW:
            return pack(bundle, self._stop, self._tally.hash)
        (found,) = bundle.files
        return read(found, self._stop, self._tally.hash)

    def _send(self, content: Packed) -> None:
        parcel = _Parcel(content, self._stop, self._tally)
        # Two layers of the same bytes are one blob: the second finds it at the registry.
        with self._locks.hold(content.digest, patience=_FOREVER):
            try:
                self._repository.push_blob(content.digest, content.size, parcel.open, parcel.progress)
            except DriverError:
                content.check()  # tells better than the registry what is wrong with bytes that changed on their way
                raise
        content.check()


class _Parcel:
    """One blob on its way. The registry opens only what it lacks."""

    def __init__(self, content: Packed, stop: Stop, tally: Tally) -> None:
        self._content = content
        self._stop = stop
        self._tally = tally
        self._opened = False

    def open(self) -> io.RawIOBase:
        self._opened = True
        return self._content.open(self._stop)

    def progress(self, count: int) -> None:
        if self._opened:
            self._tally.send(count)
        else:
            self._tally.spare(count)
