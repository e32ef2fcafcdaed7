"""What a tar archive holds, entry by entry, with all that its extended headers say about them."""

from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import NamedTuple

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.part import Choice, NotInPart
from csi_driver.oci.paths import archived
from csi_driver.transfer import sparse
from csi_driver.transfer.blocks import Blocks
from csi_driver.transfer.limits import Grant, LimitExceeded, Limits, anything
from csi_driver.transfer.tarheader import (
    BLOCK,
    BadArchive,
    Header,
    overlay,
    parse_decimal,
    parse_header,
    parse_pax,
    parse_time_ns,
)

_LATEST_NS = (1 << 34) * 10**9  # ext4 keeps seconds in 34 bits; what lies beyond is no time anybody meant
_DISK_BLOCK = 4096  # bytes; what nearly all filesystems give out, to the smallest file and to a directory
_KEPT = (b"path", b"linkpath", b"size", b"mtime")
_WITHOUT_PAYLOAD = frozenset((b"1", b"2", b"3", b"4", b"5", b"6"))
_REFUSED = {
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    b"M": "part of a split file",
}


class Kind(Enum):
    """What an entry is to become."""

    FILE = auto()
    DIRECTORY = auto()
    SYMLINK = auto()
    HARDLINK = auto()
    SKIPPED = auto()


class Entry(NamedTuple):  # as `Header` is
    """One entry: `stored` bytes of payload follow it in the archive; `size` is that of the file, holes included.

    `path` is clean and relative, `""` for the root. `target` is what a symbolic link says, or the path of the file that
    a hard link is another name for. `segments` is None unless the file is sparse. Of what is skipped, only
    `stored` says anything.
    """

    path: str
    kind: Kind
    size: int
    stored: int
    mode: int
    mtime_ns: int
    target: str = ""
    segments: sparse.Segments | None = None


class Entries:
    """The entries of the archive in `blocks`; the payload of each must have been read before the next is asked for.

    `boundary` is called where an entry has been read and none has begun: reading could start again from there, given
    what global headers said before. `choice` says what is kept; None keeps everything. `grant`
    is asked before an entry is given out. `implied` says how many directories were made that no entry has named: they
    count as entries, and take as much of the disk.

    Knows v7, ustar, pax and GNU archives. At the end of the archive everything that follows must be zeros, and all of
    it is read. Raises `BadArchive`, `UnsupportedArtifact` and `LimitExceeded`.
    """

    def __init__(
        self,
        blocks: Blocks,
        limits: Limits,
        *,
        boundary: Callable[[], None] | None = None,
        choice: Choice | None = None,
        grant: Grant = anything,
        implied: Callable[[], int] = lambda: 0,
    ) -> None:
        self.notes: list[str] = []
        self.count = 0
        self._blocks = blocks
        self._limits = limits
        self._boundary = boundary
        self._choice = choice
        self._grant = grant
        self._implied = implied
        self._unpacked = self._taken = self._kept = 0
        self._characters = self._longest = self._implied_before = 0
        self._global: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[Entry]:
        blocks, boundary = self._blocks, self._boundary
        while (entry := self._next()) is not None:
            self._count(entry)
            stored = entry.stored
            end = blocks.position + stored
            yield entry
            padding = -stored % BLOCK
            if padding:
                blocks.padding(end + padding - blocks.position)
            if boundary is not None:
                boundary()
        for piece in self._blocks.rest():
            self._check_unpacked()
            if piece.strip(b"\0"):
                raise BadArchive("there is something behind the end of the archive")

    def _next(self) -> Entry | None:
        """The next entry with the extended headers before it; None at the end of the archive."""
        header = self._header()
        is_usual = self._choice is None and not self._global
        if is_usual and header is not None and header.kind == b"0" and _says_all(header):
            return _plain_file(header)
        extended = _Extended()
        while header is not None:
            match header.kind:
                case b"x" | b"X":
                    extended.records += parse_pax(self._metadata(header, extended))
                case b"g":
                    records = parse_pax(self._metadata(header, extended))
                    self._global = overlay(self._global, [r for r in records if r[0] in _KEPT])
                case b"L":
                    extended.name = self._metadata(header, extended).split(b"\0", 1)[0]
                case b"K":
                    extended.target = self._metadata(header, extended).split(b"\0", 1)[0]
                case b"V":
                    self._metadata(header, extended)
                case _:
                    return self._entry(header, extended)
            header = self._header()
        if extended.size:
            raise BadArchive("the archive ends behind an extended header")
        return None

    def _header(self) -> Header | None:
        block = self._blocks.block()
        if block is None:
            if self._blocks.position:
                self.notes.append("the archive has no end marker")
            return None
        return parse_header(block)

    def _metadata(self, header: Header, extended: "_Extended") -> bytes:
        """The payload of an extended header."""
        extended.size += max(header.size, 0) + BLOCK
        if header.size < 0:
            raise BadArchive("an extended header has a negative size")
        if extended.size > self._limits.header_bytes:
            raise LimitExceeded(f"an entry has more than {self._limits.header_bytes} bytes of extended headers")
        data = self._blocks.read(header.size) if header.size else b""
        if header.size % BLOCK:
            self._blocks.read(-header.size % BLOCK)
        return data

    def _entry(self, header: Header, extended: "_Extended") -> Entry:
        fields = overlay(self._global, extended.records)
        name = fields.get(b"GNU.sparse.name") or fields.get(b"path") or extended.name or header.name
        target = fields.get(b"linkpath") or extended.target or header.target
        size = parse_decimal(fields[b"size"]) if b"size" in fields else header.size
        if size < 0:
            raise BadArchive(f"entry {_decode(name)!r} has a negative size")
        path = self._place(header.kind, name)
        if path is None:
            return self._skipped(header, extended, fields, size)
        mtime_ns = parse_time_ns(fields[b"mtime"]) if b"mtime" in fields else header.mtime * 10**9
        kind = _kind(header.kind, name)
        stored, segments = (size if kind is Kind.FILE else 0), None
        if kind is Kind.FILE and (header.kind == b"S" or sparse.is_sparse(fields)):
            size, stored, segments = self._sparse(header, extended, fields, size)
        return Entry(
            path=path,
            kind=kind,
            size=size if kind is Kind.FILE else 0,
            stored=stored,
            mode=header.mode,
            mtime_ns=_existing_time(mtime_ns),
            target=self._target(kind, path, target),
            segments=segments,
        )

    def _place(self, kind: bytes, name: bytes) -> str | None:
        if self._choice is None:
            return archived(name)
        return self._choice.path(name, kind == b"5" or name.endswith(b"/"))

    def _target(self, kind: Kind, path: str, target: bytes) -> str:
        if self._choice is None:
            return archived(target) if kind is Kind.HARDLINK else _decode(target)
        if kind is not Kind.HARDLINK:
            return self._choice.target(path, _decode(target))
        existing = self._choice.existing(target)
        if existing is None:
            raise NotInPart(
                f"hard link {path!r} is another name of {_decode(target)[:256]!r}, which is not among what is asked for"
            )
        return existing

    def _skipped(self, header: Header, extended: "_Extended", fields: dict[bytes, bytes], size: int) -> Entry:
        """An entry that is not kept, whatever it is; unknown types have a payload as files do (POSIX pax)."""
        stored = 0 if header.kind in _WITHOUT_PAYLOAD else size
        if header.kind == b"S" or (stored and sparse.is_sparse(fields)):
            _, stored, _ = self._sparse(header, extended, fields, size)
        return Entry(path="", kind=Kind.SKIPPED, size=0, stored=stored, mode=0, mtime_ns=0)

    def _sparse(
        self, header: Header, extended: "_Extended", fields: dict[bytes, bytes], stored: int
    ) -> tuple[int, int, sparse.Segments]:
        """The size with holes, the payload without the map, and the map."""
        limit = self._limits.header_bytes
        if header.kind == b"S":
            segments, size = sparse.from_old_header(header, self._blocks.read, limit)
        elif sparse.has_map_in_data(fields):
            size = sparse.apparent_size(fields)
            segments, used = sparse.from_data(self._blocks.read, min(limit, stored))
            stored -= used
        else:
            size = sparse.apparent_size(fields)
            segments = sparse.from_records(extended.records, fields)
        return size, stored, sparse.check_map(segments, stored=stored, size=size)

    def _count(self, entry: Entry) -> None:
        self.count += 1
        self._unpacked += entry.size
        implied = self._implied()
        self._limits.check_entries(self.count + implied)
        self._count_path(entry.path, implied)
        self._check_unpacked()
        if entry.kind is not Kind.SKIPPED:
            self._kept += 1
            self._taken += _disk_bytes(entry)
            self._grant(self._taken + implied * _DISK_BLOCK, self._kept + implied)

    def _count_path(self, path: str, implied: int) -> None:
        """No directory that the entry before has implied has a longer path than that."""
        self._characters += len(path) + (implied - self._implied_before) * self._longest
        self._implied_before, self._longest = implied, len(path)
        self._limits.check_paths(self._characters)

    def _check_unpacked(self) -> None:
        self._limits.check_size(max(self._unpacked, self._blocks.position))


class _Extended:
    """What the headers before an entry say about it."""

    __slots__ = ("name", "records", "size", "target")

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []
        self.name = b""
        self.target = b""
        self.size = 0


def _says_all(header: Header) -> bool:
    """Whether the header of a file that has no other before it needs no closer look."""
    return header.size >= 0 and header.name[-1:] != b"/"


def _plain_file(header: Header) -> Entry:
    """The entry of a file about which its header says everything: of nearly every one in an archive of many."""
    path, size, mtime_ns = archived(header.name), header.size, _existing_time(header.mtime * 10**9)
    return Entry(path, Kind.FILE, size, size, header.mode, mtime_ns)


def _disk_bytes(entry: Entry) -> int:
    """What an entry takes of the disk, as far as that can be known before."""
    return _DISK_BLOCK if entry.kind is Kind.DIRECTORY else -(-entry.stored // _DISK_BLOCK) * _DISK_BLOCK


def _existing_time(nanoseconds: int) -> int:
    return nanoseconds if 0 <= nanoseconds < _LATEST_NS else 0


def _kind(flag: bytes, name: bytes) -> Kind:
    match flag:
        case b"0" | b"\0" | b"7" | b"S":
            # v7 archives have no flag for directories, only the slash
            return Kind.DIRECTORY if name.endswith(b"/") and flag != b"S" else Kind.FILE
        case b"5":
            return Kind.DIRECTORY
        case b"1":
            return Kind.HARDLINK
        case b"2":
            return Kind.SYMLINK
    what = _REFUSED.get(flag, f"of the unknown type {flag!r}")
    raise UnsupportedArtifact(f"entry {_decode(name)!r} is {what}; a model has files, directories and links only")


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
