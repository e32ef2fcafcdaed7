"""An archive read once more, from its skeleton and the files it was unpacked to."""

import os
import stat
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from csi_driver.errors import ContentMismatch
from csi_driver.host.directories import Directories
from csi_driver.transfer.skeleton import End, Literal, Payload, read_skeleton

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Replay:
    """The bytes of an archive in their order; `end` is what the skeleton says about them once they have all been read.

    Raises `ContentMismatch` where the tree or the skeleton is not what it was: a file that is missing, or has become
    longer or shorter. A context; for one thread.
    """

    def __init__(self, tree: Path, skeleton: Path) -> None:
        self.end: End | None = None
        self._directories = Directories(tree)
        self._pieces = self._read(skeleton)
        self._piece: _Piece = memoryview(b"")

    def readinto(self, view: memoryview) -> int:
        """Fill `view` unless the archive ends before, or its skeleton does; returns how many bytes."""
        filled = 0
        while filled < len(view):
            count = self._some(view[filled:])
            if count == 0:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._piece = piece
            filled += count
        return filled

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pieces.close()
        self._directories.close()

    def _some(self, view: memoryview) -> int:
        """Bytes of the piece at hand; 0 when there are none left."""
        if isinstance(self._piece, memoryview):
            count = min(len(view), len(self._piece))
            view[:count] = self._piece[:count]
            self._piece = self._piece[count:]
            return count
        descriptor, offset, left = self._piece
        if left == 0:
            return 0
        count = os.preadv(descriptor, [view[:left]], offset)
        if count == 0:
            raise ContentMismatch("a file of the layer has become shorter while it was read")
        self._piece = (descriptor, offset + count, left - count)
        return count

    def _read(self, skeleton: Path) -> Generator["_Piece", None, None]:
        for record in read_skeleton(skeleton):
            match record:
                case Literal(data):
                    yield memoryview(data)
                case Payload():
                    yield from self._file(record)
                case End():
                    self.end = record

    def _file(self, payload: Payload) -> Iterator["_Piece"]:
        descriptor = self._open(payload)
        try:
            for offset, length in payload.segments:
                yield descriptor, offset, length
        finally:
            os.close(descriptor)

    def _open(self, payload: Payload) -> int:
        parent, _, name = _checked(payload).rpartition("/")
        try:
            descriptor = os.open(name, _OPEN, dir_fd=self._directories.open(parent))
        except OSError as error:
            raise ContentMismatch(f"{payload.path!r} of the layer cannot be read: {error.strerror}") from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != payload.size:
            os.close(descriptor)
            raise ContentMismatch(
                f"{payload.path!r} of the layer has {status.st_size} bytes and should have {payload.size}"
            )
        # what pods have in the page cache is not to give way to what is read here, once
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_NOREUSE)
        return descriptor


def _checked(payload: Payload) -> str:
    """The path of a record that makes sense."""
    path, steps = payload.path, payload.path.split("/")
    beyond = any(offset + length > payload.size for offset, length in payload.segments)
    if beyond or "\0" in path or any(step in ("", ".", "..") for step in steps):
        raise ContentMismatch(f"the skeleton of the layer is damaged at {path[:256]!r}")
    return path


_Piece = memoryview | tuple[int, int, int]
"""Bytes, or a descriptor with the offset and length of what is to be read from it."""
