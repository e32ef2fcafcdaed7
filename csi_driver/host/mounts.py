"""What is mounted where, and how a directory is bound read-only to a place where a pod will see it."""

import errno
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from csi_driver.errors import DriverError, NoSpace
from csi_driver.host.kernel import Kernel

_MOUNTINFO = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(r"\\([0-7]{3})")

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_AT_FDCWD, _AT_SYMLINK_NOFOLLOW, _AT_EMPTY_PATH = -100, 0x100, 0x1000

# MS_* of mount(2), MOUNT_ATTR_* of mount_setattr(2) and ST_* of statvfs(3) have the same values for these four
_RDONLY, _NOSUID, _NODEV, _NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND = 32, 4096
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_NO_SUCH_CALL = (errno.ENOSYS, errno.EPERM)  # EPERM: what a seccomp filter that is older than the call answers


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the mount table (proc_pid_mountinfo(5)); `options` are those of this mount, not of the filesystem."""

    point: str
    root: str
    device: str
    options: frozenset[str]
    fs_type: str

    @property
    def is_read_only(self) -> bool:
        return "ro" in self.options


class Mounts:
    """The mounts of the mount namespace that the driver runs in.

    Failures are `DriverError` with the paths and the kernel's reason, or `NoSpace` at the kernel's limit on mounts.
    """

    def __init__(self, *, kernel: Kernel | None = None) -> None:
        self._kernel = kernel or Kernel()

    def bind_read_only(self, source: Path, target: Path, *, noexec: bool = False) -> None:
        """The directory `source` is to be seen at the directory `target`: read-only, nosuid and nodev.

        The mount gets these attributes before it gets its place, so it is never writable there. Kernels before 5.12
        cannot do that: there it is bound first and made read-only next, which no pod can see, as kubelet starts
        containers only after the volume was published. A driver killed between the two leaves a mount that is not
        `is_read_only`, and such a mount must be taken for none. The last component of either path is not followed if
        it is a link.
        """
        attributes = _RDONLY | _NOSUID | _NODEV | (_NOEXEC if noexec else 0)
        try:
            try:
                self._attach_clone(source, target, attributes)
            except OSError as error:
                if error.errno not in _NO_SUCH_CALL:
                    raise
                self._bind_and_remount(source, target, attributes)
        except OSError as error:
            raise _failure(f"cannot bind {str(source)!r} read-only at {str(target)!r}", error) from error

    def unmount(self, target: Path) -> None:
        """Nothing is mounted at `target`, however many mounts were stacked there; not mounted or missing is fine.

        A mount that is in use is detached: nobody new can reach it, and it ends with its last user.
        """
        try:
            while self._unmount_top(os.fsencode(target)):
                pass
        except OSError as error:
            raise _failure(f"cannot unmount {str(target)!r}", error) from error
        if self.is_mount_point(target):  # EINVAL stands for "no mount" and for "may not be unmounted from here"
            raise DriverError(f"cannot unmount {str(target)!r}: it belongs to another mount namespace")

    def is_mount_point(self, path: Path) -> bool:
        """Whether something is mounted at `path`; not if it is missing, or a link."""
        try:
            root = self._kernel.is_mount_root(os.fsencode(path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        if root is not None:
            return root
        return any(mount.point == str(place_of(path)) for mount in self.table())

    def table(self) -> list[Mount]:
        """All mounts, the earlier first; of those stacked at one point, the last is the one that is seen."""
        return [_parse(line) for line in _consistent_lines()]

    def _attach_clone(self, source: Path, target: Path, attributes: int) -> None:
        flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_SYMLINK_NOFOLLOW
        clone = self._kernel.call(_OPEN_TREE, _AT_FDCWD, os.fsencode(source), flags)
        try:
            request = struct.pack("=QQQQ", attributes, 0, 0, 0)  # struct mount_attr: set, clear, propagation, userns_fd
            self._kernel.call(_MOUNT_SETATTR, clone, b"", _AT_EMPTY_PATH, request, len(request))
            self._kernel.call(_MOVE_MOUNT, clone, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
        finally:
            os.close(clone)

    def _bind_and_remount(self, source: Path, target: Path, attributes: int) -> None:
        place = os.fsencode(target)
        self._kernel.mount(os.fsencode(source), place, _MS_BIND)
        try:
            # a remount would drop it, which a user namespace forbids
            inherited = os.statvfs(place).f_flag & _NOEXEC
            self._kernel.mount(None, place, _MS_REMOUNT | _MS_BIND | attributes | inherited)
        except OSError:
            self._kernel.umount(place, _MNT_DETACH | _UMOUNT_NOFOLLOW)
            raise

    def _unmount_top(self, place: bytes) -> bool:
        """Take away the uppermost mount; whether there was one."""
        try:
            try:
                self._kernel.umount(place, _UMOUNT_NOFOLLOW)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                self._kernel.umount(place, _UMOUNT_NOFOLLOW | _MNT_DETACH)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
                return False
            raise
        return True


def place_of(path: Path) -> Path:
    """What the mount table calls `path`: the same place, with no link among its parents."""
    return Path(os.path.realpath(path.parent), path.name)


def _failure(what: str, error: OSError) -> DriverError:
    if error.errno == errno.ENOSPC:
        return NoSpace(f"{what}: the node has as many mounts as it allows (sysctl fs.mount-max)")
    return DriverError(f"{what}: {error.strerror}")


def _consistent_lines() -> list[str]:
    """The mount table as two readings agree on it: before Linux 5.8 a change while reading could hide other lines."""
    seen = None
    for _ in range(5):
        lines = _MOUNTINFO.read_bytes()
        if lines == seen:
            break
        seen = lines
    return os.fsdecode(lines).split("\n")[:-1]


def _parse(line: str) -> Mount:
    own, _, filesystem = line.partition(" - ")
    _, _, device, root, point, options = own.split(" ")[:6]
    return Mount(
        point=_unescape(point),
        root=_unescape(root),
        device=device,
        options=frozenset(options.split(",")),
        fs_type=filesystem.partition(" ")[0],
    )


def _unescape(text: str) -> str:
    """Undo the octal escapes that the kernel writes for blanks, newlines and backslashes."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)
