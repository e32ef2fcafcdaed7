"""What earlier attempts have left of a blob, and how it gets back into the transfer."""

import errno
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from isal.isal_zlib import crc32

from csi_driver.errors import ContentMismatch
from csi_driver.host.direct import ALIGNMENT
from csi_driver.host.directories import Directories
from csi_driver.host.files import make_directory, move_aside, remove_tree
from csi_driver.host.tree import TreeWriter
from csi_driver.transfer.buffers import Allowance, Buffer
from csi_driver.transfer.journal import Checkpoint, read_journal
from csi_driver.transfer.replay import Replay
from csi_driver.transfer.source import Blob

CONTENT, SKELETON, JOURNAL, PREVIOUS = "content", "skeleton", "journal", "previous"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


class DamagedPrefix(Exception):
    """What is on the disk is not what the journal says."""


class Prefix(Protocol):
    """The bytes at the beginning of a blob that need not be fetched again."""

    def buffers(self, allowance: Allowance) -> Generator[Buffer, None, None]:
        """Those bytes, in order, in buffers that are the taker's to release."""


class NoPrefix:
    """Nothing is here yet."""

    until = 0

    def buffers(self, allowance: Allowance) -> Generator[Buffer, None, None]:  # noqa: ARG002  none are needed
        yield from ()


class FilePrefix:
    """The beginning of a raw blob, in the file it is to become, up to the last checkpoint that is true."""

    def __init__(self, path: Path, checkpoints: Sequence[Checkpoint]) -> None:
        self._path = path
        self._checkpoints = checkpoints

    def buffers(self, allowance: Allowance) -> Generator[Buffer, None, None]:
        descriptor = _open_direct(self._path)
        try:
            before = Checkpoint(0, 0)
            for checkpoint in self._checkpoints:
                for step in self._steps(descriptor, before, checkpoint, allowance):
                    buffer = allowance.filled(partial(self._read, descriptor, before.offset, step.offset))
                    position = before.offset + buffer.length
                    if Checkpoint(position, crc32(buffer.payload, before.crc)) != step:
                        buffer.release()
                        return
                    yield buffer
                    before = step
                if before != checkpoint:
                    return
        finally:
            os.close(descriptor)

    def _steps(
        self, descriptor: int, before: Checkpoint, until: Checkpoint, allowance: Allowance
    ) -> Sequence[Checkpoint]:
        """The way to a checkpoint in steps that fit into buffers; none if it was a driver with larger ones that set it,
        and it is untrue."""
        if until.offset - before.offset <= allowance.pool.size:
            return (until,)
        here, steps = before, list[Checkpoint]()
        while here.offset < until.offset:
            stop = min(here.offset + allowance.pool.size, until.offset)
            buffer = allowance.filled(partial(self._read, descriptor, here.offset, stop))
            here = Checkpoint(stop, crc32(buffer.payload, here.crc))
            buffer.release()
            steps.append(here)
        return steps if here == until else ()

    @staticmethod
    def _read(descriptor: int, start: int, stop: int, buffer: Buffer) -> int:
        """Read what lies between two offsets; how much that is, which is less if it cannot be read."""
        buffer.found = True
        rounded = -(-(stop - start) // ALIGNMENT) * ALIGNMENT
        try:
            return min(stop - start, os.preadv(descriptor, [buffer.window(0, rounded)], start))
        except OSError:
            return 0  # what cannot be read is fetched again


class TreePrefix:
    """The beginning of a tar layer, put together again from its unpacked files, up to the last checkpoint."""

    def __init__(self, previous: Path, until: Checkpoint) -> None:
        self.content = previous / CONTENT
        self.until = until.offset
        self._crc = until.crc
        self._skeleton = previous / SKELETON

    def buffers(self, allowance: Allowance) -> Generator[Buffer, None, None]:
        """Raises `DamagedPrefix`, at the latest in place of the last buffer."""
        position, crc = 0, 0
        with self._opened() as replay:
            while position < self.until:
                buffer = allowance.filled(partial(self._read, replay, self.until - position))
                position += buffer.length
                crc = crc32(buffer.payload, crc)
                if position == self.until and crc != self._crc:
                    buffer.release()
                    raise DamagedPrefix
                yield buffer

    def _opened(self) -> Replay:
        try:
            return Replay(self.content, self._skeleton)
        except OSError as error:
            raise DamagedPrefix from error

    @staticmethod
    def _read(replay: Replay, most: int, buffer: Buffer) -> int:
        buffer.found = True
        try:
            count = replay.readinto(buffer.room[:most])
        except (ContentMismatch, OSError) as error:
            raise DamagedPrefix from error
        if count == 0:
            raise DamagedPrefix
        return count


class Adoption:
    """Gives the files that an earlier attempt completed their place in the new tree. A context; for one thread."""

    def __init__(self, content: Path, until: int) -> None:
        self.until = until
        self._directories = Directories(content)

    def adopt(self, path: str, tree: TreeWriter, *, size: int, mode: int) -> None:
        """The file at `path` is in the tree, with the mode and time it got when it was completed.

        What is in it, the prefix proves; of a file without bytes that knows nothing.
        """
        parent, _, name = path.rpartition("/")
        try:
            directory = self._directories.open(parent)
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            if (status.st_mode, status.st_size) != (stat.S_IFREG | mode, size):
                raise DamagedPrefix
            tree.adopt(path, name, source_directory=directory)
        except FileNotFoundError as error:
            raise DamagedPrefix from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._directories.close()


def earlier_file(into: Path, blob: Blob) -> FilePrefix | NoPrefix:
    """What an earlier attempt at a raw blob has left in `into`; if that is of no use, it is gone afterwards."""
    checkpoints = read_journal(into / JOURNAL, blob)
    if checkpoints and (into / CONTENT).is_file():
        return FilePrefix(into / CONTENT, checkpoints)
    clear(into)
    return NoPrefix()


def earlier_tree(into: Path, blob: Blob) -> TreePrefix | NoPrefix:
    """What an earlier attempt at a tar layer has left, moved to `into/previous`; if of no use, it is gone afterwards.

    An attempt that had to start from `previous`, and ended before it came further, does not count. The content is moved
    first and the journal last, so that a move that was interrupted shows and is gone on with.
    """
    previous = into / PREVIOUS
    if read_journal(into / JOURNAL, blob):
        if (into / CONTENT).exists():
            remove_tree(previous)
        make_directory(previous)
        for name in (CONTENT, SKELETON, JOURNAL):
            move_aside(into / name, previous / name)
    checkpoints = read_journal(previous / JOURNAL, blob)
    if not (checkpoints and (previous / CONTENT).is_dir() and (previous / SKELETON).is_file()):
        clear(into)
        return NoPrefix()
    clear(into, but=PREVIOUS)
    return TreePrefix(previous, checkpoints[-1])


def clear(into: Path, *, but: str = "") -> None:
    """Nothing of any attempt is left."""
    for name in (JOURNAL, CONTENT, SKELETON, PREVIOUS):
        if name != but:
            remove_tree(into / name)


def clear_useless(into: Path, blob: Blob) -> None:
    """Nothing is left, unless there is something that another attempt can go on from."""
    if not any(read_journal(journal, blob) for journal in (into / JOURNAL, into / PREVIOUS / JOURNAL)):
        clear(into)


@contextmanager
def synced_or_gone(into: Path) -> Iterator[None]:
    """What is synced in this context is on the disk, or nothing is left of it.

    After a sync that failed, the page cache would give back what the disk did not take, and the next sync succeed
    without it (fsync(2), on EIO).
    """
    try:
        yield
    except OSError:
        clear(into)
        raise


def _open_direct(path: Path) -> int:
    """A descriptor for reading, past the page cache where the filesystem can."""
    try:
        return os.open(path, _READ | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return os.open(path, _READ)
