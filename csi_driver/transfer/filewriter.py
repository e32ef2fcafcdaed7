"""How the bytes of one file get from buffers to the disk."""

import errno
import os
from types import TracebackType
from typing import Self

from csi_driver.host.direct import (
    ALIGNMENT,
    allocate,
    forget_cached,
    make_buffered,
    start_writeback,
)
from csi_driver.host.files import full_disk_named
from csi_driver.transfer.buffers import MIB, Buffer

DIRECT_FROM = 1 * MIB
"""Files of at least this many bytes are written past the page cache: it costs a fifth of the CPU of a cached write."""

_WRITEBACK_STEP = 32 * MIB


class FileWriter:
    """Appends to one file until it has `size` bytes, or for None as many as come; for one thread.

    `direct` says that the descriptor has O_DIRECT: then whole multiples of `ALIGNMENT` are written straight from the
    buffers; the rest of a piece waits for the next one and is put in front of it. Where the disk refuses that (EINVAL:
    it wants a coarser alignment of the memory) the file goes through the page cache after all.

    As a context it owns the descriptor, and takes the space for a large file first: `NoSpace` comes before a byte does.
    """

    def __init__(self, descriptor: int, name: str, *, size: int | None, direct: bool) -> None:
        self._descriptor = descriptor
        self._name = name
        self._size = size
        self._offset = 0
        self._carry = b""
        self._flushing = self._flushed = 0
        self._direct = direct

    def __enter__(self) -> Self:
        if self._size is not None and self._size >= DIRECT_FROM:
            try:
                with full_disk_named(self._name):
                    allocate(self._descriptor, self._size)
            except BaseException:
                os.close(self._descriptor)
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    @property
    def position(self) -> int:
        """How many bytes of the file have been appended or were there before."""
        return self._offset + len(self._carry)

    def append(self, buffer: Buffer, start: int, stop: int) -> None:
        """Write the payload of `buffer` between two offsets; raises `NoSpace`."""
        with full_disk_named(self._name):
            if self._direct and not (self._carry and start):
                self._append_direct(buffer, start, stop)
            else:
                self._append_buffered(buffer.window(start, stop))

    def skip(self, length: int) -> None:
        """The next `length` bytes are in the file already."""
        self._offset += length
        self._flushing = self._flushed = self._offset

    def finish(self, mtime_ns: int | None = None) -> None:
        """The file has its size and time; it is not synced."""
        if self._carry:
            with full_disk_named(self._name):
                self._append_buffered(memoryview(b""))
        os.ftruncate(self._descriptor, self._offset if self._size is None else self._size)
        if mtime_ns is not None:
            os.utime(self._descriptor, ns=(mtime_ns, mtime_ns))

    def _append_direct(self, buffer: Buffer, start: int, stop: int) -> None:
        if self._carry:
            buffer.window(start - len(self._carry), start)[:] = self._carry
            start, self._carry = start - len(self._carry), b""
        before, length = self._offset, stop - start
        last = self._size is not None and before + length >= self._size
        aligned = (length + ALIGNMENT - 1 if last else length) // ALIGNMENT * ALIGNMENT
        try:
            self._write(buffer.window(start, start + aligned))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._append_buffered(buffer.window(start + self._offset - before, stop))
            return
        if last and self._size is not None:
            self._offset = self._size  # what was rounded up lies behind the end, and `finish` cuts it off
        else:
            self._carry = bytes(buffer.window(start + aligned, stop))

    def _append_buffered(self, view: memoryview) -> None:
        if self._direct:
            self._direct = False
            make_buffered(self._descriptor)
        carry, self._carry = self._carry, b""
        self._write(memoryview(carry))
        self._write(view)
        if self._offset - self._flushing >= _WRITEBACK_STEP:
            start_writeback(self._descriptor, self._flushing, self._offset - self._flushing)
            forget_cached(self._descriptor, self._flushed, self._flushing - self._flushed)
            self._flushed, self._flushing = self._flushing, self._offset

    def _write(self, view: memoryview) -> None:
        while view:
            count = os.pwrite(self._descriptor, view, self._offset)
            self._offset += count
            view = view[count:]
