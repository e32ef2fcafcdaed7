"""Writing a tree of files below a root, so that nothing in it can ever lead outside."""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from csi_driver.errors import UnsupportedArtifact
from csi_driver.host.copying import copy_file
from csi_driver.host.directories import Directories, listed, walk
from csi_driver.host.files import full_disk_named
from csi_driver.oci.paths import MAX_COMPONENTS, MAX_PATH_BYTES, is_clean

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SURELY_SHORT = 2 * MAX_COMPONENTS  # characters
_DIRECTORY_MODE = 0o555
_PIECE = 1 << 20
_NO_SUCH_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


class PathTaken(UnsupportedArtifact):
    """Something else is at a path already, or where a directory above it should be."""


class TooManyNames(UnsupportedArtifact):
    """A file has as many names, or a directory holds as many others, as the filesystem allows."""


class TreeWriter:
    """Writes files, links and directories below `root`, each at a place that nothing was written to before.

    Paths are relative POSIX paths; missing parents are made. No path is ever followed through a link, and symbolic
    links are written only if they cannot leave the root: a target is relative, its `..` components all come first, and
    they climb no higher than the root. Directories of the tree are real ones, so such a target leads from the link's
    directory to a real directory inside, and from there only down or through further links of the same kind: none of
    them, dangling or not, resolves outside.

    Raises `UnsupportedArtifact` for a path that is unclean, taken or too long and for a link that is refused, `NoSpace`
    for a full disk, and `OSError` otherwise. For one thread at a time. The tree is private until `finish` has returned;
    syncing it is the caller's business.
    """

    def __init__(self, root: Path, *, open_directories: int = 64) -> None:
        self._directories = Directories(root, limit=open_directories)
        self._named = 0
        self._mtimes: dict[str, int] = {}

    def implied(self) -> int:
        """How many directories were made only because something lies in them."""
        return self._directories.made - self._named

    def directory(self, path: str, *, mtime_ns: int | None = None) -> None:
        """The directory exists; written twice, it is one, with the later time. `""` is the root itself."""
        if path:
            _split(path)
        made = self._directories.made
        with _refusals(path):
            self._directories.open(path, create=True)
        self._named += self._directories.made > made
        if mtime_ns is not None:
            self._mtimes[path] = mtime_ns

    def file(self, path: str, mode: int = 0o444, *, flags: int = 0) -> int:
        """A descriptor, open for writing, of a new empty file with exactly this mode; the caller closes it.

        `flags` are added for open(2). Where the filesystem has no O_DIRECT this raises `OSError` EINVAL, and nothing is
        left at `path`. The caller sets the file's mtime when all is written.
        """
        parent, name = _split(path)
        with _refusals(path):
            directory = self._directories.open(parent, create=True)
            return _new_file(directory, name, mode, flags)

    def symlink(self, path: str, target: str, *, mtime_ns: int | None = None) -> None:
        """A symbolic link that stays inside the root wherever it leads."""
        parent, name = _split(path)
        _check_target(path, target)
        with _refusals(path):
            directory = self._directories.open(parent, create=True)
            os.symlink(target, name, dir_fd=directory)
            if mtime_ns is not None:
                os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=directory, follow_symlinks=False)

    def hardlink(self, path: str, existing: str) -> None:
        """Another name for a regular file that was written below this root before."""
        source_parent, source_name = _split(existing)
        try:
            source = self._directories.open(source_parent)
            regular = stat.S_ISREG(os.stat(source_name, dir_fd=source, follow_symlinks=False).st_mode)
        except OSError as error:
            if error.errno not in _NO_SUCH_FILE:
                raise
            regular = False
        if not regular:
            raise UnsupportedArtifact(f"hard link {path!r} to {existing!r}, which is no regular file written before it")
        self.adopt(path, source_name, source_directory=source)

    def adopt(self, path: str, name: str, *, source_directory: int) -> None:
        """Another name for a file outside the tree: the one called `name` in an open directory.

        The file keeps its mode and times, which all its names share. Raises `TooManyNames` where it has as many as the
        filesystem allows (65,000 on ext4), and `OSError` EXDEV where it lies on another filesystem.
        """
        parent, new_name = _split(path)
        with _refusals(path):
            directory = self._directories.open(parent, create=True)
            os.link(name, new_name, src_dir_fd=source_directory, dst_dir_fd=directory, follow_symlinks=False)

    def write(self, path: str, content: bytes, *, mtime_ns: int) -> None:
        """A small file with this content, readable by all; on the disk on return."""
        descriptor = self.file(path)
        try:
            with _refusals(path):
                with open(descriptor, "wb", closefd=False) as target:
                    target.write(content)
                os.utime(descriptor, ns=(mtime_ns, mtime_ns))
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def copy(self, path: str, source: int, mode: int, mtime_ns: int) -> int:
        """A file of its own with the content of `source`; on the disk on return. Returns its size without holes."""
        descriptor = self.file(path, mode)
        try:
            with _refusals(path):
                size = copy_file(source, descriptor)
                os.utime(descriptor, ns=(mtime_ns, mtime_ns))
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return size

    def holds(self, path: str, name: str, *, source_directory: int) -> bool:
        """Whether what is at `path` equals a file or link outside the tree: the same bytes, or the same target."""
        parent, own_name = _split(path)
        return _same(self._directories.open(parent), own_name, source_directory, name)

    def discard(self, path: str) -> None:
        """Nothing but a directory can be at `path`: what an earlier writer left half done is gone."""
        parent, name = _split(path)
        try:
            os.unlink(name, dir_fd=self._directories.open(parent))
        except (FileNotFoundError, NotADirectoryError):
            return

    def clear(self, path: str) -> None:
        """Nothing is at `path`, whatever was, and nothing but directories above it."""
        parent, _ = _split(path)
        above = parent.split("/") if parent else []
        for count in range(1, len(above) + 1):
            try:
                self.discard("/".join(above[:count]))
            except IsADirectoryError:
                continue
        self._remove(path)

    def _remove(self, path: str) -> None:
        parent, _, name = path.rpartition("/")
        try:
            self.discard(path)
        except IsADirectoryError:  # unlink(2) of a directory, on Linux
            listing = listed(self._directories, path)
            for below in (*listing.directories, *(entry.name for entry in listing.others)):
                self._remove(listing.child(below))
            self._directories.forget(path)
            os.rmdir(name, dir_fd=self._directories.open(parent))

    def finish(self) -> None:
        """The tree is read-only: every directory on the disk has mode 0555 and the last mtime it was given.

        Directories that an earlier writer made below the same root are among them.
        """
        for listing in walk(self._directories):
            os.fchmod(listing.descriptor, _DIRECTORY_MODE)
            mtime_ns = self._mtimes.get(listing.path)
            if mtime_ns is not None:
                os.utime(listing.descriptor, ns=(mtime_ns, mtime_ns))

    def close(self) -> None:
        self._directories.close()

    def __enter__(self) -> "TreeWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _new_file(directory: int, name: str, mode: int, flags: int) -> int:
    try:
        descriptor = os.open(name, _NEW | flags, 0o600, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.EINVAL:  # open(2): the file may have been made before O_DIRECT is refused
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
        raise
    try:
        os.fchmod(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _same(directory: int, name: str, other_directory: int, other_name: str) -> bool:
    own = os.stat(name, dir_fd=directory, follow_symlinks=False)
    other = os.stat(other_name, dir_fd=other_directory, follow_symlinks=False)
    if os.path.samestat(own, other):
        return True
    if stat.S_ISLNK(own.st_mode) and stat.S_ISLNK(other.st_mode):
        return os.readlink(name, dir_fd=directory) == os.readlink(other_name, dir_fd=other_directory)
    if not stat.S_ISREG(own.st_mode) or not stat.S_ISREG(other.st_mode) or own.st_size != other.st_size:
        return False
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with (
        open(os.open(name, flags, dir_fd=directory), "rb") as first,
        open(os.open(other_name, flags, dir_fd=other_directory), "rb") as second,
    ):
        while piece := first.read(_PIECE):
            if piece != second.read(_PIECE):
                return False
    return True


def _split(path: str) -> tuple[str, str]:
    """The parent and the name of a clean relative path."""
    if not is_clean(path):
        raise UnsupportedArtifact(f"path {path!r} is not a clean relative path")
    # What is no longer has as few bytes and names whatever it consists of: that need not be looked at for each file.
    if len(path) > _SURELY_SHORT and (len(os.fsencode(path)) > MAX_PATH_BYTES or path.count("/") >= MAX_COMPONENTS):
        raise UnsupportedArtifact(
            f"path {path[:64]!r}… is longer than {MAX_PATH_BYTES} bytes or deeper than {MAX_COMPONENTS} names"
        )
    parent, _, name = path.rpartition("/")
    return parent, name


def _check_target(path: str, target: str) -> None:
    if not target or "\0" in target or target.startswith("/"):
        raise UnsupportedArtifact(f"symbolic link {path!r} to {target!r}: only relative targets are allowed")
    steps = [step for step in target.split("/") if step not in ("", ".")]
    climbs = next((i for i, step in enumerate(steps) if step != ".."), len(steps))
    if climbs > path.count("/"):
        raise UnsupportedArtifact(f"symbolic link {path!r} to {target!r} leads outside the model")
    if ".." in steps[climbs:]:
        raise UnsupportedArtifact(
            f"symbolic link {path!r} to {target!r}: '..' after a name could lead outside the model through another link"
        )


class _refusals(full_disk_named):  # noqa: N801  as the class below it
    """Say in terms of the artifact why the filesystem would not take a path."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, OSError):
            return
        if error.errno == errno.EEXIST:
            raise PathTaken(f"path {self.path!r} appears twice") from error
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise PathTaken(f"path {self.path!r} is or lies below something that is no directory") from error
        if error.errno == errno.EMLINK:
            raise TooManyNames(f"path {self.path!r} is one link more than the filesystem allows") from error
        if error.errno == errno.ENAMETOOLONG:
            raise UnsupportedArtifact(f"path {self.path!r} has a name too long for the filesystem") from error
        super().__exit__(kind, error, trace)
