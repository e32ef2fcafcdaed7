"""How far an unfinished transfer has come, so that a later attempt can go on from there."""

import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from csi_driver.host import faults, files
from csi_driver.transfer.source import Blob

_LINE = re.compile(rb"([0-9]{1,20}) ([0-9a-f]{8})\n")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The first `offset` bytes of the blob are on the disk in some form, and this is their CRC-32."""

    offset: int
    crc: int


class Journal:
    """Appends a line for each checkpoint; what can be read of an earlier attempt at the same blob stays.

    Nothing is synced: a process that is killed loses nothing, and after a power cut the checksums tell which of the
    lines are still true. A context; raises `NoSpace`.
    """

    def __init__(self, path: Path, blob: Blob) -> None:
        self._path = path
        good, _ = _read(path, blob)
        with files.full_disk_named(path):
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115  the context closes it
        try:
            self._file.truncate(good)
            if not good:
                self._append(_title(blob))
        except BaseException:
            self._file.close()
            raise

    def mark(self, checkpoint: Checkpoint) -> None:
        """The next attempt may start from here."""
        self._append(f"{checkpoint.offset} {checkpoint.crc:08x}\n".encode())

    def _append(self, line: bytes) -> None:
        with files.full_disk_named(self._path):
            while line:
                line = line[self._file.write(line) or 0 :]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()


def read_journal(path: Path, blob: Blob) -> tuple[Checkpoint, ...]:
    """The checkpoints of an earlier attempt at this blob, in order; none where there is nothing to go on from.

    A line takes back those before it that claim as much or more: they were found to be untrue.
    """
    _, checkpoints = _read(path, blob)
    return tuple(checkpoints)


def _read(path: Path, blob: Blob) -> tuple[int, list[Checkpoint]]:
    """How many bytes of the journal can be read, and what they say; none if it is not one of this blob.

    A full disk or a power cut may have left half a line: what were written behind it would not be read either.
    """
    title, found = _title(blob), list[Checkpoint]()
    try:
        data = faults.read(path)
    except (FileNotFoundError, faults.Unreadable):
        return 0, found
    if not data.startswith(title):
        return 0, found
    good = len(title)
    while (match := _LINE.match(data, good)) and int(match[1]) <= blob.size:
        good, offset = match.end(), int(match[1])
        while found and found[-1].offset >= offset:
            found.pop()
        found.append(Checkpoint(offset, int(match[2], 16)))
    return good, found


def _title(blob: Blob) -> bytes:
    return f"model-csi journal 1 {blob.digest} {blob.size} {blob.packing}\n".encode()
