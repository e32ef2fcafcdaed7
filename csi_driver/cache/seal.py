"""What a snapshot's tree looks like, in one digest, and whether it still does."""

import hashlib
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from csi_driver.errors import ContentMismatch
from csi_driver.host.directories import Directories, Listing, walk
from csi_driver.host.faults import DISK_FAULTS

if TYPE_CHECKING:
    from hashlib import _Hash

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DIRECTORY_MODE, _FILE_MODE, _EXECUTABLE = 0o555, 0o444, 0o111


@dataclass(slots=True)
class Seen:
    """What a tree was found to hold: its seal, its bytes, its files and links, and the inodes it shares with layers."""

    seal: str = ""
    size: int = 0
    files: int = 0
    shared: set[int] | None = None


def look(tree: Path) -> Seen:
    """Read the whole tree but the content of files that have other names, as those are layers' and proved there.

    The seal covers the path, kind, mode and size of everything in it, where links lead, the content of files that no
    layer shares, and which files these are. Raises `ContentMismatch` for what no snapshot can hold, and `OSError`.
    """
    seen, hasher, shared = Seen(), hashlib.sha256(), set[int]()
    with Directories(tree) as directories:
        for listing in walk(directories):
            mode = stat.S_IMODE(os.fstat(listing.descriptor).st_mode)
            if mode != _DIRECTORY_MODE:
                raise ContentMismatch(f"the mode of directory {listing.path!r} has become {mode:04o}")
            _add(hasher, b"d", listing.path)
            for entry in listing.others:
                status = entry.stat(follow_symlinks=False)
                seen.files += 1
                if stat.S_ISLNK(status.st_mode):
                    _add(hasher, b"l", listing.child(entry.name), os.readlink(entry.name, dir_fd=listing.descriptor))
                    continue
                seen.size += status.st_size
                if _add_file(hasher, listing, entry.name, status):
                    shared.add(status.st_ino)
    seen.seal, seen.shared = hasher.hexdigest(), shared
    return seen


def inodes(place: Path) -> set[int]:
    """The inodes of a layer's files: of the file that `place` is, or of all in the directory that it is."""
    if not place.is_dir():
        return {place.lstat().st_ino}
    found: set[int] = set()
    with Directories(place) as directories:
        for listing in walk(directories):
            found.update(entry.inode() for entry in listing.others)
    return found


def check(tree: Path, *, seal: str, size: int, files: int, layers: Collection[Path]) -> None:
    """Return if the tree is as it was sealed, and shares its files with these layers and with nothing else.

    An empty `seal` is that of a snapshot that an older driver made: then the numbers must be right. Raises
    `ContentMismatch` with what is wrong, and `OSError` where it cannot be read.
    """
    try:
        seen = look(tree)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ContentMismatch("its tree is missing or incomplete") from error
    except OSError as error:
        if error.errno not in DISK_FAULTS:
            raise
        raise ContentMismatch(f"its tree cannot be read: {error.strerror}") from error
    if (seen.size, seen.files) != (size, files):
        raise ContentMismatch(
            f"its tree holds {seen.files} files of {seen.size} bytes, and was made of {files} of {size} bytes"
        )
    if seal and seen.seal != seal:
        raise ContentMismatch("a name, mode, size, link or copy in its tree has changed since it was made")
    for place in layers:
        if not seen.shared:
            return
        seen.shared -= inodes(place)
    if seen.shared:
        raise ContentMismatch(f"{len(seen.shared)} files in its tree are not those of its layers any more")


def _add_file(hasher: "_Hash", listing: Listing, name: str, status: os.stat_result) -> bool:
    """Add one file; whether it has other names."""
    path, mode = listing.child(name), stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode) or mode & ~_EXECUTABLE != _FILE_MODE:
        raise ContentMismatch(f"{path!r} has become something of mode {status.st_mode:o}")
    is_shared = status.st_nlink > 1
    content = "" if is_shared else _content(listing.descriptor, name)
    _add(hasher, b"f" if is_shared else b"o", path, f"{mode:o} {status.st_size} {content}")
    return is_shared


def _content(directory: int, name: str) -> str:
    with open(os.open(name, _READ, dir_fd=directory), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _add(hasher: "_Hash", kind: bytes, path: str, rest: str = "") -> None:
    for part in (kind, os.fsencode(path), os.fsencode(rest)):
        hasher.update(len(part).to_bytes(8, "little") + part)
