"""What a file really holds, and how that gets into another one: a hole is neither read nor written."""

import errno
import os
from collections.abc import Iterator

_CANNOT_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
_PIECE = 4 << 20


def extents(descriptor: int) -> Iterator[tuple[int, int]]:
    """Offset and length of each stretch of a file between its holes, in order (lseek(2), SEEK_DATA and SEEK_HOLE).

    A filesystem that does not tell holes from zeros gives the whole file.
    """
    size, end = os.fstat(descriptor).st_size, 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nothing but a hole is left
                raise
            return
        end = min(size, os.lseek(descriptor, start, os.SEEK_HOLE))
        yield start, end - start


def copy_file(source: int, target: int) -> int:
    """Give an empty file the content of another, where there are holes as holes; returns how many bytes were copied.

    The kernel copies (sharing blocks where the filesystem can), or this process where the kernel refuses. Raises
    `OSError`, and leaves the sync to the caller.
    """
    copied = 0
    for offset, length in extents(source):
        copied += _copy(source, target, offset, offset + length)
    os.ftruncate(target, os.fstat(source).st_size)
    return copied


def _copy(source: int, target: int, start: int, stop: int) -> int:
    here = start
    try:
        while here < stop and (done := os.copy_file_range(source, target, stop - here, here, here)):
            here += done
    except OSError as error:
        if here > start or error.errno not in _CANNOT_COPY:
            raise
    while here < stop and (piece := os.pread(source, min(_PIECE, stop - here), here)):
        view = memoryview(piece)
        while view:
            written = os.pwrite(target, view, here)
            here, view = here + written, view[written:]
    return here - start
