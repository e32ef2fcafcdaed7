"""How the directories below a root are reached without ever following a link."""

import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Directories:
    """Open directories below a root, by relative POSIX path; `""` is the root itself.

    Each component is opened on its own with O_NOFOLLOW below the descriptor of the one before, so neither a symbolic
    link, nor `PATH_MAX`, nor somebody renaming the root can lead elsewhere. At most `limit` directories stay open.
    Paths must be clean: no empty, `.` or `..` components. For one thread at a time. Failures are plain `OSError`:
    ENOTDIR or ELOOP where something else than a directory stands in the way. `made` counts those that were missing.
    """

    def __init__(self, root: Path, *, limit: int = 64) -> None:
        self.made = 0
        self._limit = limit
        self._open: OrderedDict[str, int] = OrderedDict()
        self._root = os.open(root, DIRECTORY)

    def open(self, path: str, *, create: bool = False) -> int:
        """A descriptor of the directory, lent until `limit` other ones were opened; `create` makes what is missing."""
        if not path:
            return self._root
        descriptor = self._open.get(path)
        if descriptor is not None:
            self._open.move_to_end(path)
            return descriptor
        descriptor = self._descend(*self._nearest(path), create=create)
        self._open[path] = descriptor
        if len(self._open) > self._limit:
            os.close(self._open.popitem(last=False)[1])
        return descriptor

    def forget(self, path: str) -> None:
        """Close the directory if it is open: it is about to be removed."""
        descriptor = self._open.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)

    def close(self) -> None:
        while self._open:
            os.close(self._open.popitem()[1])
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def __enter__(self) -> "Directories":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _nearest(self, path: str) -> tuple[int, list[str]]:
        """The nearest open directory above `path`, and the names that lead from it to `path`."""
        above, below = path, []
        while above:
            above, _, name = above.rpartition("/")
            below.append(name)
            if above in self._open:
                return self._open[above], below[::-1]
        return self._root, below[::-1]

    def _descend(self, start: int, names: list[str], *, create: bool) -> int:
        here = start
        for name in names:
            try:
                below = self._enter(here, name, create=create)
            finally:
                if here != start:
                    os.close(here)
            here = below
        return here

    def _enter(self, parent: int, name: str, *, create: bool) -> int:
        try:
            return os.open(name, DIRECTORY, dir_fd=parent)
        except FileNotFoundError:
            if not create:
                raise
        os.mkdir(name, 0o755, dir_fd=parent)
        self.made += 1
        return os.open(name, DIRECTORY, dir_fd=parent)


@dataclass(frozen=True, slots=True)
class Listing:
    """What one directory of a tree holds; `descriptor` is lent until the next step of the walk."""

    path: str
    descriptor: int
    directories: tuple[str, ...]
    others: tuple["os.DirEntry[str]", ...]

    def child(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


def walk(directories: Directories) -> Iterator[Listing]:
    """Every directory below the root, the root first, parents before their children; links are never followed.

    A directory is read when the walk reaches it, so whoever walks may change its mode before its entries are looked at.
    """
    ahead = [""]
    while ahead:
        path = ahead.pop()
        listing = listed(directories, path)
        ahead.extend(listing.child(name) for name in reversed(listing.directories))
        yield listing


def listed(directories: Directories, path: str) -> Listing:
    """What the directory at `path` holds now, in the order of the names."""
    descriptor = directories.open(path)
    with os.scandir(descriptor) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    names = tuple(entry.name for entry in found if entry.is_dir(follow_symlinks=False))
    others = tuple(entry for entry in found if not entry.is_dir(follow_symlinks=False))
    return Listing(path, descriptor, names, others)
