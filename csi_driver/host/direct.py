"""How large files are written past the page cache, and memory that the kernel can write from without a copy."""

import ctypes
import errno
import fcntl
import mmap
import os

ALIGNMENT = 4096
"""What offsets and lengths of direct writes are multiples of, in bytes; no disk asks for more."""

_SYNC_FILE_RANGE_WRITE = 2
_CANNOT_ALLOCATE = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def page_aligned(size: int) -> memoryview:
    """Zeroed memory that starts at a page; it takes up real memory from its first use on."""
    return memoryview(mmap.mmap(-1, size))


def allocate(descriptor: int, size: int) -> None:
    """Reserve `size` bytes for a new file, so that a full disk shows before the first byte; raises `OSError` ENOSPC.

    Does nothing where the filesystem cannot: posix_fallocate(3) would write every block there instead.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.fallocate(ctypes.c_int(descriptor), ctypes.c_int(0), ctypes.c_longlong(0), ctypes.c_longlong(size)):
        code = ctypes.get_errno()
        if code not in _CANNOT_ALLOCATE:
            raise OSError(code, os.strerror(code))


def make_buffered(descriptor: int) -> None:
    """Later writes go through the page cache again: the descriptor loses O_DIRECT."""
    fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) & ~os.O_DIRECT)


def start_writeback(descriptor: int, offset: int, size: int) -> None:
    """Have the kernel begin to write these bytes to the disk, and do not wait (sync_file_range(2)).

    A hint: where the kernel declines, the sync at the end does all the work.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    begin, count = ctypes.c_longlong(offset), ctypes.c_longlong(size)
    libc.sync_file_range(ctypes.c_int(descriptor), begin, count, ctypes.c_uint(_SYNC_FILE_RANGE_WRITE))


def forget_cached(descriptor: int, offset: int, size: int) -> None:
    """Give the page cache's copy of these bytes back, as far as they are on the disk already."""
    os.posix_fadvise(descriptor, offset, size, os.POSIX_FADV_DONTNEED)


def sync(descriptor: int) -> None:
    """A file's bytes, mode and times, or a directory's names, are on the disk (fsync(2))."""
    os.fsync(descriptor)
