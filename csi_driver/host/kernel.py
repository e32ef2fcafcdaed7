"""How a system call that Python has no name for is made."""

import ctypes
import os
import struct

_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW, _AT_NO_AUTOMOUNT = 0x100, 0x800
_STATX_ATTR_MOUNT_ROOT = 0x2000


class Kernel:
    """The running kernel's calls; every failure is an `OSError` with its errno."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.syscall.restype = ctypes.c_long

    def call(self, number: int, *arguments: int | bytes) -> int:
        """The result of a system call by its number, each integer passed 64 bits wide as syscall(2) wants it.

        From 424 on the numbers are the same on every architecture (asm-generic/unistd.h); those below are not.
        """
        passed = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
        result = int(self._libc.syscall(ctypes.c_long(number), *passed))
        _check(result >= 0)
        return result

    def mount(self, source: bytes | None, target: bytes, flags: int) -> None:
        """mount(2) without filesystem type and data: binds, remounts and changes of propagation."""
        _check(self._libc.mount(source, target, None, ctypes.c_ulong(flags), None) == 0)

    def umount(self, target: bytes, flags: int) -> None:
        """umount2(2)."""
        _check(self._libc.umount2(target, ctypes.c_int(flags)) == 0)

    def is_mount_root(self, path: bytes) -> bool | None:
        """Whether `path`, not followed if it is a link, is where a mount begins; None where statx(2) cannot tell."""
        if not hasattr(self._libc, "statx"):
            return None
        buffer = ctypes.create_string_buffer(256)  # struct statx
        flags = _AT_SYMLINK_NOFOLLOW | _AT_NO_AUTOMOUNT
        _check(self._libc.statx(ctypes.c_int(_AT_FDCWD), path, ctypes.c_int(flags), ctypes.c_uint(0), buffer) == 0)
        (attributes,) = struct.unpack_from("=Q", buffer, 8)
        (known,) = struct.unpack_from("=Q", buffer, 56)  # before Linux 5.8 MOUNT_ROOT is not among them
        return bool(attributes & _STATX_ATTR_MOUNT_ROOT) if known & _STATX_ATTR_MOUNT_ROOT else None

    def syncfs(self, descriptor: int) -> None:
        """syncfs(2)."""
        _check(self._libc.syncfs(ctypes.c_int(descriptor)) == 0)


def _check(succeeded: bool) -> None:
    if not succeeded:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
