"""How far an unfinished transfer has come, so that a later attempt can go on from there."""

import re
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from csi_driver.host.files import full_disk_named
from csi_driver.transfer.source import Blob

_LINE = re.compile(r"([0-9]{1,20}) ([0-9a-f]{8})")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The first `offset` bytes of the blob are on the disk in some form, and this is their CRC-32."""

    offset: int
    crc: int


class Journal:
    """Appends a line for each checkpoint; lines of an earlier attempt at the same blob stay, other files are replaced.

    Nothing is synced: a process that is killed loses nothing, and after a power cut the checksums tell which of the
    lines are still true. A context; raises `NoSpace`.
    """

    def __init__(self, path: Path, blob: Blob) -> None:
        self._path = path
        goes_on = _lines(path, blob) is not None
        with full_disk_named(path):
            self._file = open(path, "ab" if goes_on else "wb", buffering=0)  # noqa: SIM115  the context closes it
            if not goes_on:
                self._begin(blob)

    def _begin(self, blob: Blob) -> None:
        try:
            self._file.write(f"{_title(blob)}\n".encode())
        except BaseException:
            self._file.close()
            raise

    def mark(self, checkpoint: Checkpoint) -> None:
        """The next attempt may start from here."""
        with full_disk_named(self._path):
            self._file.write(f"{checkpoint.offset} {checkpoint.crc:08x}\n".encode())

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
    found: list[Checkpoint] = []
    for line in _lines(path, blob) or ():
        match = _LINE.fullmatch(line)
        if match is None or int(match[1]) > blob.size:
            break
        offset = int(match[1])
        while found and found[-1].offset >= offset:
            found.pop()
        found.append(Checkpoint(offset, int(match[2], 16)))
    return tuple(found)


def _lines(path: Path, blob: Blob) -> list[str] | None:
    """The whole lines of the journal without its title; None if it is not one of this blob."""
    try:
        text = path.read_bytes().decode("ascii", "replace")
    except FileNotFoundError:
        return None
    title, *lines = text.split("\n")[:-1] or [""]
    return lines if title == _title(blob) else None


def _title(blob: Blob) -> str:
    return f"model-csi journal 1 {blob.digest} {blob.size} {blob.packing}"
