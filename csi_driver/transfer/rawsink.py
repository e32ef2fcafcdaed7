"""A blob that becomes one file, byte for byte."""

import errno
import os
from pathlib import Path

from csi_driver.errors import DriverError
from csi_driver.host.files import full_disk_named, sync_file
from csi_driver.inflight import Channel
from csi_driver.transfer.buffers import Buffer
from csi_driver.transfer.delivery import AHEAD
from csi_driver.transfer.filewriter import DIRECT_FROM, FileWriter
from csi_driver.transfer.pipeline import Pipeline

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o444


class RawSink:
    """Writes a new file of `size` bytes at `path`."""

    def __init__(self, path: Path, size: int) -> None:
        self.verdict: DriverError | None = None
        self.notes: list[str] = []
        self.entries = 1
        self._path = path
        self._size = size

    def begin(self, pipeline: Pipeline, start: bytes) -> Channel[Buffer]:  # noqa: ARG002  any bytes will do
        channel = pipeline.channel(AHEAD)
        pipeline.start("write", lambda: self._write(channel))
        return channel

    def settle(self) -> None:
        """The file is on the disk."""
        with full_disk_named(self._path):
            sync_file(self._path)

    def _write(self, channel: Channel[Buffer]) -> None:
        descriptor, direct = self._create()
        with FileWriter(descriptor, self._path.name, size=self._size, direct=direct) as writer:
            for buffer in channel:
                try:
                    writer.append(buffer, 0, buffer.length)
                finally:
                    buffer.release()
            writer.finish()

    def _create(self) -> tuple[int, bool]:
        """A new file, and whether it is written past the page cache."""
        direct = self._size >= DIRECT_FROM
        with full_disk_named(self._path):
            try:
                descriptor = os.open(self._path, _NEW | (os.O_DIRECT if direct else 0), _MODE)
            except OSError as error:
                if error.errno != errno.EINVAL or not direct:
                    raise
                self._path.unlink(missing_ok=True)  # open(2): it may have been made before O_DIRECT is refused
                descriptor, direct = os.open(self._path, _NEW, _MODE), False
        os.fchmod(descriptor, _MODE)
        return descriptor, direct
