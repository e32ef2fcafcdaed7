"""One header block of a tar archive, and the records of a pax header: bytes in, values out."""

import re
import struct
from collections.abc import Mapping
from typing import NamedTuple
from zlib import adler32

from csi_driver.errors import UnsupportedArtifact

BLOCK = 512
_ZEROS = bytes(BLOCK)
_CHECKSUM = slice(148, 156)
_FIELDS = struct.Struct("100s8s16x12s12s8x1s100s6s")  # name, mode, size, mtime, type, link name, magic (POSIX ustar)
_POSIX_MAGIC = b"ustar\0"
_STAR_TRAILER = b"tar\0"
_DECIMAL = re.compile(rb"[0-9]{1,20}")
_TIME = re.compile(rb"(-?)([0-9]{1,20})(?:\.([0-9]*))?")


class BadArchive(UnsupportedArtifact):
    """The bytes are no tar archive, or a broken one."""


class Header(NamedTuple):  # made for every file of an archive: in a quarter of the time of a frozen dataclass
    """The fields of a header block that matter here; names are bytes as stored, prefix included (POSIX ustar, pax(1)).

    `block` is the block itself, for what only old GNU archives keep in it.
    """

    name: bytes
    mode: int
    size: int
    mtime: int
    kind: bytes
    target: bytes
    block: bytes


def parse_header(block: bytes) -> Header | None:
    """The header in a block of 512 bytes; None for the zeros that end an archive. Raises `BadArchive`.

    Reads v7, POSIX ustar and GNU headers. uid, gid and the device numbers are not looked at.
    """
    if block[0] == 0 and block == _ZEROS:
        return None
    if not _has_its_checksum(block):
        raise BadArchive("a tar header has a wrong checksum: the archive is damaged, or is none")
    name, mode, size, mtime, kind, target, magic = _FIELDS.unpack_from(block)
    name = _text(name)
    if block[345] and magic == _POSIX_MAGIC:
        is_star = block[508:512] == _STAR_TRAILER  # star(1) keeps two times where the end of the prefix would be
        name = _text(block[345:476] if is_star else block[345:500]) + b"/" + name
    return Header(
        name=name,
        mode=parse_number(mode) & 0o7777,
        size=parse_number(size),
        mtime=parse_number(mtime),
        kind=kind,
        target=_text(target) if target[0] else b"",
        block=block,
    )


def is_header(block: bytes) -> bool:
    """Whether an archive could begin with this block."""
    if len(block) < BLOCK:
        return False
    try:
        return block == _ZEROS or _has_its_checksum(block)
    except BadArchive:
        return False


def _has_its_checksum(block: bytes) -> bool:
    """Whether the sum of the bytes, the checksum taken as spaces, is right: unsigned, or signed as in old archives."""
    field = block[_CHECKSUM]
    given = parse_number(field)
    unsigned = _sum(block) - sum(field) + len(field) * ord(" ")
    if given == unsigned:
        return True
    high = sum(byte >= 0x80 for byte in block) - sum(byte >= 0x80 for byte in field)
    return given == unsigned - 256 * high


def _sum(block: bytes) -> int:
    """The sum of 512 bytes. The lower half of an Adler-32 that starts from 0 is the sum modulo 65521 (RFC 1950), which
    256 bytes cannot reach; that takes a fifth of the time of `sum`.
    """
    return (adler32(block[:256], 0) & 0xFFFF) + (adler32(block[256:], 0) & 0xFFFF)


def parse_number(field: bytes) -> int:
    """A numeric field: octal digits, or base-256 where the first bit is set (GNU, star). Raises `BadArchive`."""
    digits = field.strip(b" \0")
    if not digits.isdigit():
        if field[0] & 0x80:
            return _base256(field)
        digits = digits.split(b"\0", 1)[0].rstrip(b" ") or b"0"
        if not digits.removeprefix(b"-").isdigit():  # int() takes more than that, such as 1_0 and 0o7
            raise _no_number(field)
    try:
        return int(digits, 8)
    except ValueError:
        raise _no_number(field) from None


def _no_number(field: bytes) -> BadArchive:
    return BadArchive(f"a tar header has {field!r} where a number belongs")


def _base256(field: bytes) -> int:
    value, bits = int.from_bytes(field, "big"), 8 * len(field)
    return value - (1 << bits) if field[0] & 0x40 else value - (1 << (bits - 1))


def parse_decimal(value: bytes) -> int:
    """A non-negative decimal number of a pax record or a sparse map. Raises `BadArchive`."""
    if not _DECIMAL.fullmatch(value):
        raise BadArchive(f"a pax header has {value[:40]!r} where a number belongs")
    return int(value)


def parse_time_ns(value: bytes) -> int:
    """A time of a pax record, in nanoseconds since the epoch; digits beyond those are cut off. Raises `BadArchive`."""
    match = _TIME.fullmatch(value)
    if match is None:
        raise BadArchive(f"a pax header has {value[:40]!r} where a time belongs")
    nanoseconds = int(match[2]) * 10**9 + int((match[3] or b"")[:9].ljust(9, b"0"))
    return -nanoseconds if match[1] else nanoseconds


def parse_pax(data: bytes) -> list[tuple[bytes, bytes]]:
    """The records of a pax header in order, as keyword and value (pax(1), "pax Extended Header").

    Raises `BadArchive`.
    """
    records: list[tuple[bytes, bytes]] = []
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 21)
        if space < 0:
            raise BadArchive("a pax header has a record without a length")
        length = parse_decimal(data[position:space])
        record = data[space + 1 : position + length]
        keyword, equals, value = record[:-1].partition(b"=")
        if position + length > len(data) or record[-1:] != b"\n" or not keyword or not equals:
            raise BadArchive(f"a pax header has a broken record: {data[position : position + 40]!r}")
        records.append((keyword, value))
        position += length
    return records


def overlay(base: Mapping[bytes, bytes], records: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """`base` with the records on top; a record with an empty value takes the keyword away (pax(1))."""
    result = dict(base)
    for keyword, value in records:
        if value:
            result[keyword] = value
        else:
            result.pop(keyword, None)
    return result


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]
