"""How a system call that Python has no name for is made."""

import ctypes
import errno
import os
import struct

_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW, _AT_NO_AUTOMOUNT = 0x100, 0x800
_STATX_ATTR_MOUNT_ROOT = 0x2000
_CAPABILITY_VERSION_3 = 0x20080522


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

    def capabilities(self) -> tuple[int, int]:
        """The effective and the permitted capabilities of this thread, as sets of bits (capget(2))."""
        data = ctypes.create_string_buffer(24)  # two struct __user_cap_data_struct
        _check(self._libc.capget(_capability_header(), data) == 0)
        low_effective, low_permitted, _, high_effective, high_permitted, _ = struct.unpack("=6I", data.raw)
        return low_effective | high_effective << 32, low_permitted | high_permitted << 32

    def set_capabilities(self, effective: int, permitted: int) -> None:
        """capset(2) for this thread; programs that it runs inherit none of them as such."""
        halves = [(effective >> shift & 0xFFFFFFFF, permitted >> shift & 0xFFFFFFFF, 0) for shift in (0, 32)]
        _check(self._libc.capset(_capability_header(), struct.pack("=6I", *halves[0], *halves[1])) == 0)

    def prctl(self, option: int, argument: int, *, unknown: int | None = None) -> int:
        """prctl(2); `unknown` is the result for an argument that this kernel does not know."""
        result = int(self._libc.prctl(ctypes.c_int(option), ctypes.c_ulong(argument), *[ctypes.c_ulong(0)] * 3))
        if result < 0 and unknown is not None and ctypes.get_errno() == errno.EINVAL:
            return unknown
        _check(result >= 0)
        return result


def _capability_header() -> bytes:
    """Of a call for the thread itself."""
    return struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)


def _check(succeeded: bool) -> None:
    if not succeeded:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
