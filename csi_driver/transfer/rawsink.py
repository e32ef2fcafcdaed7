"""A blob that becomes one file, byte for byte."""

import errno
import os
from pathlib import Path

from isal.isal_zlib import crc32

from csi_driver.errors import DriverError
from csi_driver.host.files import full_disk_named, sync_file
from csi_driver.inflight import Channel
from csi_driver.transfer.buffers import Buffer
from csi_driver.transfer.delivery import AHEAD
from csi_driver.transfer.earlier import CONTENT, JOURNAL, synced_or_gone
from csi_driver.transfer.filewriter import DIRECT_FROM, FileWriter
from csi_driver.transfer.journal import Checkpoint, Journal
from csi_driver.transfer.pipeline import Pipeline
from csi_driver.transfer.source import Blob

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o444


class RawSink:
    """Writes `blob` to `content` below `into`, and a journal; buffers that were found are in the file already."""

    def __init__(self, into: Path, blob: Blob) -> None:
        self.verdict: DriverError | None = None
        self.notes: list[str] = []
        self.entries = 1
        self._path = into / CONTENT
        self._journal = into / JOURNAL
        self._blob = blob

    def begin(self, pipeline: Pipeline, start: bytes) -> Channel[Buffer]:  # noqa: ARG002  any bytes will do
        channel = pipeline.channel(AHEAD)
        pipeline.start("write", lambda: self._write(channel))
        return channel

    def settle(self) -> None:
        """The file is on the disk, and nobody may write to it."""
        with full_disk_named(self._path):
            self._path.chmod(_MODE)
            with synced_or_gone(self._path.parent):
                sync_file(self._path)

    def _write(self, channel: Channel[Buffer]) -> None:
        crc, size = 0, self._blob.size
        descriptor, direct = self._open()
        with (
            FileWriter(descriptor, self._path.name, size=size, direct=direct) as writer,
            Journal(self._journal, self._blob) as journal,
        ):
            for buffer in channel:
                try:
                    crc = crc32(buffer.payload, crc)
                    if buffer.found:
                        writer.skip(buffer.length)
                    else:
                        writer.append(buffer, 0, buffer.length)
                        journal.mark(Checkpoint(writer.position, crc))
                finally:
                    buffer.release()
            writer.finish()

    def _open(self) -> tuple[int, bool]:
        """A descriptor to write with, and whether it writes past the page cache."""
        direct = self._blob.size >= DIRECT_FROM
        if self._path.exists():
            self._path.chmod(0o600)
        with full_disk_named(self._path):
            try:
                return os.open(self._path, _WRITE | (os.O_DIRECT if direct else 0), 0o600), direct
            except OSError as error:
                if error.errno != errno.EINVAL or not direct:  # open(2): a filesystem without O_DIRECT
                    raise
                return os.open(self._path, _WRITE, 0o600), False
