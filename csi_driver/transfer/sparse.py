"""Where the bytes of a sparse file belong: the maps of GNU tar, in all four of their forms."""

from collections.abc import Callable, Iterable, Mapping

from csi_driver.transfer.limits import LimitExceeded
from csi_driver.transfer.tarheader import BLOCK, BadArchive, Header, parse_decimal, parse_number

Segments = tuple[tuple[int, int], ...]
"""Offset and length of each piece of a file that is stored; everything else is a hole."""

_PAIR = 24
_MAX_NUMBER_LINE = 21


def is_sparse(fields: Mapping[bytes, bytes]) -> bool:
    """Whether the pax records of an entry make it a sparse file."""
    return b"GNU.sparse.major" in fields or b"GNU.sparse.map" in fields or b"GNU.sparse.size" in fields


def has_map_in_data(fields: Mapping[bytes, bytes]) -> bool:
    """Whether the map comes before the stored bytes: version 1.0."""
    return fields.get(b"GNU.sparse.major") == b"1" and fields.get(b"GNU.sparse.minor") == b"0"


def apparent_size(fields: Mapping[bytes, bytes]) -> int:
    """The size of the file with its holes."""
    size = fields.get(b"GNU.sparse.realsize", fields.get(b"GNU.sparse.size"))
    if size is None:
        raise BadArchive("a sparse file without its size")
    return parse_decimal(size)


def from_records(records: Iterable[tuple[bytes, bytes]], fields: Mapping[bytes, bytes]) -> Segments:
    """The map of version 0.1 (one record of numbers) or 0.0 (a record for each number, in order)."""
    if b"GNU.sparse.map" in fields:
        numbers = [parse_decimal(number) for number in fields[b"GNU.sparse.map"].split(b",")]
    else:
        wanted = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")
        numbers = [parse_decimal(value) for keyword, value in records if keyword in wanted]
    return _pairs(numbers)


def from_data(read: Callable[[int], bytes], limit: int) -> tuple[Segments, int]:
    """The map of version 1.0, which fills whole blocks before the stored bytes; and how many bytes it took."""
    data = bytearray(read(BLOCK))
    numbers: list[int] = []
    position, wanted = 0, 1
    while len(numbers) < wanted:
        end = data.find(b"\n", position, position + _MAX_NUMBER_LINE)
        if end < 0:
            if len(data) - position >= _MAX_NUMBER_LINE:
                raise BadArchive("a sparse map has a line that is no number")
            _check_map_size(len(data), limit)
            data += read(BLOCK)
            continue
        numbers.append(parse_decimal(bytes(data[position:end])))
        position = end + 1
        if len(numbers) == 1:
            wanted = 1 + 2 * numbers[0]
    return _pairs(numbers[1:]), len(data)


def from_old_header(header: Header, read: Callable[[int], bytes], limit: int) -> tuple[Segments, int]:
    """The map of an old GNU header (type S), which may go on in further blocks; and the size with holes."""
    size = parse_number(header.block[483:495])
    segments = _old_pairs(header.block[386:482])
    more, total = header.block[482], BLOCK
    while more:
        total += BLOCK
        _check_map_size(total, limit)
        block = read(BLOCK)
        segments += _old_pairs(block[:504])
        more = block[504]
    return tuple(segments), size


def check_map(segments: Segments, *, stored: int, size: int) -> Segments:
    """The same segments, in order, inside the file, and as long as what is stored. Raises `BadArchive`."""
    end = 0
    for offset, length in segments:
        if offset < end or length < 0:
            raise BadArchive("a sparse map is not in order")
        end = offset + length
    if end > size or sum(length for _, length in segments) != stored:
        raise BadArchive("a sparse map does not fit its file")
    return tuple((offset, length) for offset, length in segments if length)


def _pairs(numbers: list[int]) -> Segments:
    if len(numbers) % 2:
        raise BadArchive("a sparse map has an offset without a length")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _old_pairs(data: bytes) -> list[tuple[int, int]]:
    pairs = [data[start : start + _PAIR] for start in range(0, len(data), _PAIR)]
    return [(parse_number(pair[:12]), parse_number(pair[12:])) for pair in pairs if any(pair)]


def _check_map_size(size: int, limit: int) -> None:
    if size > limit:
        raise LimitExceeded(f"a sparse map of more than {limit} bytes is not supported")
