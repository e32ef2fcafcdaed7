"""What a failing disk does not give back: how it says so, and what is as lost as if it were missing."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_FAULTS = frozenset({errno.EIO, errno.EBADMSG, errno.EUCLEAN, errno.ENODATA})
"""What a disk or filesystem that is damaged in one place answers there, now and later."""
_MISSING = (errno.ENOENT, errno.ENOTDIR)


class Unreadable(ValueError):
    """The disk does not give a file back any more: what was in it is as lost as if it were damaged."""


def read(path: Path) -> bytes:
    """All that is in a file. Raises `FileNotFoundError`, `Unreadable` at a fault of the disk, and other `OSError`."""
    with faults_named():
        return path.read_bytes()


@contextmanager
def faults_named() -> Iterator[None]:
    """Turn a fault of the disk into `Unreadable`; let other failures pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FAULTS:
            raise
        raise Unreadable(f"the disk cannot read it ({error.strerror})") from error


def is_lost(error: OSError) -> bool:
    """Whether what was looked for is not there, or behind a fault of the disk: nobody will get it back either way."""
    return error.errno in _MISSING or error.errno in DISK_FAULTS


def exists(path: Path) -> bool:
    """Whether something is there and the disk gives it back; failures that may pass, as of memory, are raised."""
    try:
        path.stat()
    except OSError as error:
        if not is_lost(error):
            raise
        return False
    return True
