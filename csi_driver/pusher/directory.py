"""Which files of a directory make up a model: those that modctl would pack."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from csi_driver.errors import InvalidRequest
from csi_driver.oci.roles import is_left_out

_HUB_REPOSITORIES = ("models--", "datasets--")


@dataclass(frozen=True, slots=True)
class Found:
    """One file to pack: `path` is its name in the model, `real` is where its bytes are."""

    path: str
    real: str
    size: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What a directory holds: the files of the model, and the paths that were left out by name; both sorted."""

    files: tuple[Found, ...]
    skipped: tuple[str, ...]


def survey(directory: Path) -> Survey:
    """The files under `directory`. A link to a file counts as the file, so Hugging Face snapshots are models.

    Of a whole repository in Hugging Face's cache it is the snapshot that `refs/main` names, or the only one. Raises
    `InvalidRequest` naming the entry for what a model cannot hold: devices, pipes and sockets, links to directories,
    links that lead out of the directory, and names that are not UTF-8.
    """
    try:
        root = _snapshot(os.path.realpath(directory, strict=True))
        files: list[Found] = []
        skipped: list[str] = []
        for entry, path in _walk(root):
            if is_left_out(entry.name):
                skipped.append(path)
            else:
                files.append(_file(entry, path, _homes(root)))
    except NotADirectoryError as error:
        raise InvalidRequest(f"{directory} is not a directory") from error
    except FileNotFoundError as error:
        raise InvalidRequest(f"{os.fsdecode(error.filename)} does not exist") from error
    except PermissionError as error:
        raise InvalidRequest(f"{os.fsdecode(error.filename)} may not be read by this user") from error
    if not files:
        raise InvalidRequest(f"{directory} holds no file to pack{', only hidden or temporary ones' if skipped else ''}")
    return Survey(tuple(sorted(files, key=lambda file: file.path)), tuple(sorted(skipped)))


def _snapshot(root: str) -> str:
    """The directory with the model's files: `root`, unless it is a repository in Hugging Face's cache."""
    named_so = os.path.basename(root).startswith(_HUB_REPOSITORIES)
    if not named_so or not os.path.isdir(os.path.join(root, "snapshots")):
        return root
    found = sorted(os.listdir(os.path.join(root, "snapshots")))
    try:
        with open(os.path.join(root, "refs", "main"), encoding="ascii") as file:
            main = file.read(100).strip()
    except (OSError, UnicodeDecodeError):
        main = ""
    chosen = main if main in found else found[0] if len(found) == 1 else ""
    if not chosen:
        raise InvalidRequest(
            f"{root} is a repository of Hugging Face's cache with {len(found)} snapshots, and refs/main names none of "
            f"them: push one of {', '.join(found[:5]) or 'them'} in its snapshots/"
        )
    return os.path.join(root, "snapshots", chosen)


def _walk(root: str) -> Iterator[tuple["os.DirEntry[str]", str]]:
    """Every entry that is not a directory to descend into, with its path in the model."""
    waiting = [(root, "")]
    while waiting:
        directory, prefix = waiting.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                path = prefix + entry.name
                if entry.is_dir(follow_symlinks=False) and not is_left_out(entry.name):
                    waiting.append((entry.path, f"{path}/"))
                else:
                    yield entry, path


def _homes(root: str) -> tuple[str, ...]:
    """Where links may lead: below the directory itself, and to the blobs beside a snapshot of the Hugging Face cache.

    A model somebody else made must not carry off, by a link, a file of whoever packs it.
    """
    parent, name = os.path.split(os.path.dirname(root))
    return (root, os.path.join(parent, "blobs")) if name == "snapshots" else (root,)


def _file(entry: "os.DirEntry[str]", path: str, homes: tuple[str, ...]) -> Found:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"the name {os.fsencode(path)!r} is not UTF-8, as a manifest needs: rename it") from None
    real = _destination(entry, path, homes) if entry.is_symlink() else entry.path
    status = os.stat(real, follow_symlinks=False)
    if not stat.S_ISREG(status.st_mode):
        raise InvalidRequest(f"{path} is {_kind(status.st_mode)}: a model consists of regular files")
    return Found(path, real, status.st_size)


def _destination(entry: "os.DirEntry[str]", path: str, homes: tuple[str, ...]) -> str:
    target = os.readlink(entry.path)
    try:
        real = os.path.realpath(entry.path, strict=True)
    except OSError as error:
        raise InvalidRequest(f"{path} is a link to {target}, which cannot be followed: {error.strerror}") from error
    if not any(real.startswith(f"{home}/") for home in homes):
        raise InvalidRequest(f"{path} is a link to {target}, outside of the directory: put the file itself there")
    return real


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a link to a directory",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFBLK: "a block device",
        stat.S_IFCHR: "a character device",
    }
    return kinds.get(stat.S_IFMT(mode), "a special file")
