"""How files and directories appear, last and vanish: the only renames, syncs, locks and removals of the driver."""

import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from csi_driver.errors import Conflict, NoSpace
from csi_driver.host.directories import DIRECTORY, Directories, walk
from csi_driver.host.kernel import Kernel

_TEMPORARY = ".new-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BLOCK = 512
"""Bytes; the unit of st_blocks, whatever the filesystem's own (stat(3type))."""
_FEW_DIRECTORIES = 8


@dataclass(frozen=True, slots=True)
class Usage:
    """What a filesystem holds: bytes and inodes; `available` is what a user without privileges may still take."""

    total: int
    free: int
    available: int
    inodes_total: int
    inodes_free: int


def usage(path: Path) -> Usage:
    """The numbers of the filesystem that `path` lies on (statvfs(3))."""
    numbers = os.statvfs(path)
    unit = numbers.f_frsize
    return Usage(
        total=numbers.f_blocks * unit,
        free=numbers.f_bfree * unit,
        available=numbers.f_bavail * unit,
        inodes_total=numbers.f_files,
        inodes_free=numbers.f_ffree,
    )


class full_disk_named:  # noqa: N801  it is used like a function, and made for every file of an archive
    """Turn a full disk or quota into `NoSpace` with the path that could not be written; let other failures pass.

    A file that is larger than the filesystem can have (16 TiB on ext4) has no room on it either.
    """

    __slots__ = ("path",)

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise NoSpace(f"cannot write {os.fspath(self.path)!r}: {error.strerror}") from error


def make_directory(path: Path, mode: int = 0o755) -> None:
    """The directory exists, and its name outlives a power cut; its parent must exist already."""
    try:
        with full_disk_named(path):
            path.mkdir(mode)
    except FileExistsError:
        return
    sync_directory(path.parent)


def make_directory_anywhere(path: Path, mode: int) -> None:
    """As `make_directory`, in a part of the disk that does not depend on its name.

    Where a directory's children are spread (`ext4.spread`), the name that one is made under tells where it goes: what
    is removed and comes again under the same name would be put where its old inodes are in the way. A process that is
    killed leaves at most an empty directory, which `remove_temporaries` removes.
    """
    if path.exists():
        return
    temporary = path.parent / f"{_TEMPORARY}{secrets.token_hex(8)}"
    with full_disk_named(path):
        temporary.mkdir(mode)
        os.rename(temporary, path)
    sync_directory(path.parent)


def make_directories(path: Path, *, below: Path) -> None:
    """The directory and all its parents below an existing one exist, and their names outlive a power cut."""
    here = below
    for name in path.relative_to(below).parts:
        here /= name
        make_directory(here)


def write_atomically(path: Path, data: bytes, *, durable_name: bool = True) -> None:
    """Replace the file: a reader sees the old bytes or the new, never a mixture, also after a power cut.

    The bytes are on the disk before they get their name. With `durable_name` the name is as well when this returns;
    without, a power cut may bring the old file (or none) back. Raises `NoSpace`.
    """
    _replace(path, data, synced=True)
    if durable_name:
        sync_directory(path.parent)


def write_for_this_boot(path: Path, data: bytes) -> None:
    """Replace the file: a reader sees the old bytes or the new, also when this process is killed; nothing is synced.

    After a power cut the file may be old, missing or damaged. That is enough for what describes the running node, such
    as which volumes are mounted: a power cut ends the mounts too. It spares a pod's start two journal commits, which
    take as long as the disk is busy. Raises `NoSpace`.
    """
    _replace(path, data, synced=False)


def _replace(path: Path, data: bytes, *, synced: bool) -> None:
    temporary = path.parent / f"{_TEMPORARY}{secrets.token_hex(8)}"
    with full_disk_named(path):
        try:
            _write_new(temporary, data, synced=synced)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _write_new(path: Path, data: bytes, *, synced: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if synced:
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporaries(directory: Path) -> int:
    """Remove what was made aside in a directory and never got its name, as its maker was killed; returns how many."""
    left = [path for path in directory.iterdir() if path.name.startswith(_TEMPORARY)]
    for path in left:
        remove_tree(path)
    return len(left)


def publish(staged: Path, final: Path) -> None:
    """Give what is complete and synced its final name, for good: renamed, and both parents are on the disk.

    What the name names must have been synced before. An existing file is replaced; a directory that is not empty is
    not: that raises `FileExistsError`.
    """
    with full_disk_named(final):
        try:
            _rename(staged, final)
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:  # rename(2): this or EEXIST, as the filesystem likes
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final)) from error
            raise
    sync_directory(final.parent)
    if staged.parent != final.parent:
        sync_directory(staged.parent)


def move_aside(path: Path, target: Path) -> bool:
    """Rename without making it last; whether there was something to rename.

    For what may as well come back after a power cut: things on their way to be removed.
    """
    try:
        _rename(path, target)
    except FileNotFoundError:
        return False
    return True


def _rename(path: Path, target: Path) -> None:
    """rename(2), also of a read-only directory by a user without privileges.

    A directory that changes its parent must be writable itself, as its `..` changes; only root may ignore that.
    """
    try:
        os.rename(path, target)
    except PermissionError:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & stat.S_IWUSR or not path.is_dir():
            raise
        path.chmod(mode | stat.S_IWUSR)
        os.rename(path, target)
        target.chmod(mode)


def sync_directory(path: Path) -> None:
    """The names in a directory, and its mode and times, are on the disk (fsync(2) of the directory)."""
    descriptor = os.open(path, DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """A file's bytes, mode and times are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: Path) -> None:
    """Every directory of a tree is on the disk: what it names, not the bytes of the files named."""
    with Directories(root) as directories:
        for count, listing in enumerate(walk(directories)):
            if count == _FEW_DIRECTORIES:
                # Each fsync waits for a commit of the journal; from here on, one syncfs for all costs less.
                sync_filesystem(root)
                return
            os.fsync(listing.descriptor)


def sync_filesystem(path: Path) -> None:
    """All that was written to the filesystem `path` lies on is on the disk (syncfs(2)); other writers pay as well."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        Kernel().syncfs(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Nothing is left at `path`, be it a file, a link or a directory with all below it; missing is fine.

    Links are removed, never followed. Directories that forbid writing are opened up first: only root may ignore that.
    """
    for _ in removing(path):
        pass


def removing(path: Path) -> Iterator[int]:
    """Do what `remove_tree` does name by name, and tell after each how many bytes of disk went with it.

    Whoever stops in between leaves something that can be removed by beginning anew.
    """
    try:
        directories = Directories(path)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        yield _unlink(path)
        return
    with directories:
        found = []
        for listing in walk(directories):
            if not os.fstat(listing.descriptor).st_mode & 0o200:
                os.fchmod(listing.descriptor, 0o700)
            for entry in listing.others:
                yield _unlink(entry.name, directory=listing.descriptor)
            if listing.path:
                found.append(listing.path)
        for below in reversed(found):
            parent, _, name = below.rpartition("/")
            directories.forget(below)
            os.rmdir(name, dir_fd=directories.open(parent))
            yield 0
    path.rmdir()


def _unlink(name: str | Path, *, directory: int | None = None) -> int:
    """The bytes of disk that were freed: none while the file has other names."""
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    os.unlink(name, dir_fd=directory)
    return status.st_blocks * BLOCK if status.st_nlink == 1 else 0


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Be the only process that holds this lock file; raises `Conflict` at once when another one does.

    The kernel lets go of the lock when the process ends, however it ends (flock(2)); the file itself stays.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise Conflict(f"{path} is held by another process (pid {holder}); stop that one first") from error
        with suppress(OSError):  # only people read it, and whoever makes room on a full disk must be able to start
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
