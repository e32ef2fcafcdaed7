"""Whether a layer on this node is still what its digest names."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from csi_driver.errors import ContentMismatch, UnsupportedArtifact
from csi_driver.host.direct import ALIGNMENT, page_aligned
from csi_driver.host.directories import Directories, walk
from csi_driver.host.faults import DISK_FAULTS
from csi_driver.oci.digest import Digest
from csi_driver.oci.layer import file_mode
from csi_driver.transfer.blocks import Blocks
from csi_driver.transfer.buffers import MIB, Buffer
from csi_driver.transfer.limits import LimitExceeded, Limits
from csi_driver.transfer.replay import Replay
from csi_driver.transfer.skeleton import gives_back_the_blob, has_headers
from csi_driver.transfer.tarentries import Entries, Entry, Kind

_PIECE = 1 * MIB
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DIRECTORY_MODE = 0o555
_ANY = 1 << 62
_WHATEVER_WAS_UNPACKED = Limits(entries=_ANY, unpacked_bytes=_ANY, header_bytes=64 * MIB, path_characters=_ANY)

Pace = Callable[[int], object]
"""Told how many bytes were read, before more are; it may take its time, and what it raises ends the proof."""


def prove_file(path: Path, digest: Digest, *, pace: Pace) -> None:
    """Return if the file has this digest, and a mode that a layer can have.

    It is read past the page cache, where the filesystem can: what is on the disk counts, and what pods have read stays
    cached for them. Raises `ContentMismatch`, also for what the disk cannot read, and what `pace` raises.
    """
    hasher = digest.hasher()
    with _disk_faults(digest):
        descriptor = _open(path)
        try:
            _check_file(os.fstat(descriptor), path.name)
            for piece in _pieces(descriptor):
                hasher.update(piece)
                pace(len(piece))
        finally:
            os.close(descriptor)
    if hasher.hexdigest() != digest.hex:
        raise ContentMismatch(f"layer {digest} has become {digest.algorithm}:{hasher.hexdigest()} on this node's disk")


def prove_tree(tree: Path, skeleton: Path, digest: Digest, *, pace: Pace) -> None:
    """Return if the archive that was unpacked to `tree` can be put together again just as it was.

    For a plain tar layer that is proved by its digest. The digest of a compressed layer is that of the compressed
    bytes, which no decompressor can bring back: there a CRC-32 of the archive, taken while the digest was verified,
    tells whether anything has changed since. For a part of a layer, and for a file that was compressed, it is the
    CRC-32 of the files that were kept. A whole archive also says which names, modes and links there must be, and
    nothing else may be there; of others the modes must be such as layers have. Times are not looked at.

    Raises `ContentMismatch`, also for what the disk cannot read, and what `pace` raises.
    """
    hasher = digest.hasher()
    with _disk_faults(digest):
        is_plain = gives_back_the_blob(skeleton)

    def see(piece: memoryview) -> None:
        if is_plain:
            hasher.update(piece)
        pace(len(piece))

    with _disk_faults(digest), Replay(tree, skeleton) as replay, Directories(tree) as directories:
        with closing(Blocks(_archive(replay, see), keep=lambda _: None)) as blocks:
            if has_headers(skeleton):
                _check_entries(blocks, directories, digest)
            else:
                _read_through(blocks)
            _check_modes(directories)
        end = replay.end
        if end is None or (end.length, end.crc) != (blocks.position, blocks.crc):
            raise ContentMismatch(f"layer {digest} has changed on this node's disk since it was unpacked")
    if is_plain and hasher.hexdigest() != digest.hex:
        raise ContentMismatch(f"layer {digest} has changed on this node's disk since it was unpacked")


class _disk_faults:  # noqa: N801  it is used like a function
    """What the disk cannot give back has changed, as far as a layer is concerned."""

    def __init__(self, digest: Digest) -> None:
        self._digest = digest

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and error.errno in DISK_FAULTS:
            raise ContentMismatch(
                f"layer {self._digest} cannot be read from this node's disk: {error.strerror}"
            ) from error
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise ContentMismatch(f"part of layer {self._digest} is missing on this node's disk: {error}") from error


def _open(path: Path) -> int:
    try:
        return os.open(path, _READ | os.O_DIRECT)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ContentMismatch(f"{path.name} has become a link on this node's disk") from error
        if error.errno != errno.EINVAL:  # open(2): a filesystem without O_DIRECT
            raise
    return os.open(path, _READ)


def _pieces(descriptor: int) -> Iterator[memoryview]:
    room = page_aligned(_PIECE)
    while count := os.readv(descriptor, [room]):
        yield room[:count]
        if count % ALIGNMENT:
            return  # the end of the file: no direct read could start there


def _archive(replay: Replay, see: Callable[[memoryview], None]) -> Iterator[Buffer]:
    """The bytes of the archive, in one buffer over and over."""
    buffer = Buffer(_PIECE)
    while count := replay.readinto(buffer.room):
        buffer.length = count
        see(buffer.payload)
        yield buffer


def _check_entries(blocks: Blocks, directories: Directories, digest: Digest) -> None:
    """Every entry of the archive is in the tree as it was unpacked, and nothing else is."""
    expected = 0
    try:
        for entry in Entries(blocks, _WHATEVER_WAS_UNPACKED):
            for _ in blocks.spans(entry.stored):
                pass
            _check_entry(entry, directories)
            expected += entry.kind is not Kind.DIRECTORY
    except (UnsupportedArtifact, LimitExceeded) as error:
        raise ContentMismatch(f"the skeleton of layer {digest} is damaged: {error}") from error
    found = sum(len(listing.others) for listing in walk(directories))
    if found != expected:
        raise ContentMismatch(f"layer {digest} has {found} files and links on this node's disk, and had {expected}")


def _read_through(blocks: Blocks) -> None:
    for _ in blocks.rest():
        pass


def _check_modes(directories: Directories) -> None:
    """There are only directories, files and links, and nobody can write any of them."""
    for listing in walk(directories):
        if stat.S_IMODE(os.fstat(listing.descriptor).st_mode) != _DIRECTORY_MODE:
            raise ContentMismatch(f"the mode of directory {listing.path!r} of the layer has changed")
        for entry in listing.others:
            if not entry.is_symlink():
                _check_file(entry.stat(follow_symlinks=False), listing.child(entry.name))


def _check_entry(entry: Entry, directories: Directories) -> None:
    try:
        if entry.kind is Kind.DIRECTORY:
            directories.open(entry.path)
            return
        status = _status(entry.path, directories)
        match entry.kind:
            case Kind.FILE:
                _check_file(status, entry.path, mode=file_mode(entry.mode), size=entry.size)
            case Kind.SYMLINK:
                parent, _, name = entry.path.rpartition("/")
                if os.readlink(name, dir_fd=directories.open(parent)) != entry.target:
                    raise ContentMismatch(f"the link {entry.path!r} of the layer leads elsewhere than it did")
            case Kind.HARDLINK:
                if not os.path.samestat(status, _status(entry.target, directories)):
                    raise ContentMismatch(f"{entry.path!r} and {entry.target!r} of the layer were one file")
    except OSError as error:
        if error.errno in DISK_FAULTS:
            raise
        raise ContentMismatch(f"{entry.path!r} of the layer is not what it was: {error.strerror}") from error


def _status(path: str, directories: Directories) -> os.stat_result:
    parent, _, name = path.rpartition("/")
    return os.stat(name, dir_fd=directories.open(parent), follow_symlinks=False)


def _check_file(status: os.stat_result, name: str, *, mode: int | None = None, size: int | None = None) -> None:
    """A regular file with this mode and size; without a mode, with one that a layer's file can have."""
    actual = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        raise ContentMismatch(f"{name!r} is no file any more")
    if actual != (file_mode(actual) if mode is None else mode):
        raise ContentMismatch(f"the mode of {name!r} has become {actual:04o}")
    if size is not None and status.st_size != size:
        raise ContentMismatch(f"{name!r} has {status.st_size} bytes and had {size}")
