"""Archives made of whatever bytes there are: every header's sum is right, and nothing else need be."""

from collections.abc import Iterator

from tests.transfer.archives import END, base256, gnu_long, header, padded, pax

NAMES = (
    b"a", b"b", b"a/b", b"a/b/c", b"l", b"l/x", b"../x", b"/x", b"..", b".", b"", b"a/../../x", b"a//b", b"./a", b"a/",
    b"GNUSparseFile.1/a", b"n" * 100, b"n" * 256, b"\xff", b".wh.a", b"a/.wh..wh..opq",
)  # fmt: skip
TARGETS = (
    b"a",
    b"a/b",
    b"l",
    b"../x",
    b"..",
    b"/",
    b"/etc/passwd",
    b"OUTSIDE",
    b"OUTSIDE/canary",
    b".",
    b"",
    b"a/../..",
)
KINDS = b"00000\x0011222255345677xgLKSDMVNZ"
SIZES = (0, 0, 1, 3, 511, 512, 513, 5000, 1 << 33, 1 << 62)
KEYS = (
    "path", "linkpath", "size", "mtime", "mode", "GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.name",
    "GNU.sparse.size", "GNU.sparse.realsize", "GNU.sparse.map", "GNU.sparse.numblocks", "GNU.sparse.offset",
    "GNU.sparse.numbytes", "SCHILY.xattr.user.x", "hdrcharset", "",
)  # fmt: skip
VALUES = (
    b"1",
    b"0",
    b"-1",
    b"99999999999999999999",
    b"0,1",
    b"0,1,1,1",
    b"1,0",
    b"../x",
    b"/x",
    b"a",
    b"",
    b"1.5",
    b"\n",
    b"x" * 300,
)
MAGIC = (b"ustar\00000", b"ustar  \0", bytes(8), b"ustar\0\0\0")


class Choices:
    """Bytes as a supply of decisions; when they run out every decision is the first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def below(self, count: int) -> int:
        self._at += 1
        return self._data[self._at - 1] % count if self._at <= len(self._data) else 0

    def of(self, values: "tuple[bytes, ...]") -> bytes:
        return values[self.below(len(values))]

    def raw(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken.ljust(count, b"\0")


def archive(data: bytes, outside: bytes) -> bytes:
    """The archive that these bytes decide on; where it names something outside, it is `outside`."""
    return b"".join(_pieces(Choices(data))).replace(b"OUTSIDE", outside) + END


def _pieces(choices: Choices) -> Iterator[bytes]:
    while choices:
        match choices.below(10):
            case 0:
                keys = [KEYS[choices.below(len(KEYS))] for _ in range(1 + choices.below(4))]
                yield pax(b"xg"[choices.below(2) :][:1], *((key, choices.of(VALUES)) for key in keys))
            case 1:
                yield gnu_long(b"LK"[choices.below(2) :][:1], choices.of(NAMES + TARGETS))
            case 2:
                yield _sparse(choices)
            case 3:
                yield choices.raw(512)
            case 4:
                yield _like_another(choices)
            case _:
                yield _entry(choices)


def _entry(choices: Choices) -> bytes:
    kind = KINDS[(at := choices.below(len(KINDS))) : at + 1]
    size = SIZES[choices.below(len(SIZES))]
    said: int | bytes = base256(size, 12) if size >= 1 << 33 else size
    body = padded(b"w" * min(size, 5000)) if choices.below(8) else b""
    return header(
        choices.of(NAMES), kind, size=said, target=choices.of(TARGETS), magic=choices.of(MAGIC), mode=0o7777
    ) + (body if kind not in b"12345" or choices.below(4) == 0 else b"")


def _like_another(choices: Choices) -> bytes:
    """A link, and something that goes through it or takes its place."""
    name = choices.of(NAMES[:6])
    link = header(name, b"12"[choices.below(2) :][:1], target=choices.of(TARGETS))
    behind = (name, name + b"/x", name + b"/../x")[choices.below(3)]
    return link + header(behind, b"0512"[choices.below(4) :][:1], size=3, target=choices.of(TARGETS)) + padded(b"www")


def _sparse(choices: Choices) -> bytes:
    """An old GNU sparse header with a map of any numbers."""
    numbers = [choices.below(256) << choices.below(40) for _ in range(8)]
    table = b"".join(b"%011o\0" % min(number, (1 << 33) - 1) for number in numbers)
    real = b"%011o\0" % min(choices.below(256) << choices.below(34), (1 << 33) - 1)
    stored = choices.below(64)
    fields = {386: table, 482: bytes([choices.below(2)]), 483: real}
    block = header(choices.of(NAMES), b"S", size=stored, magic=b"ustar  \0", fields=fields)
    return block + padded(b"s" * stored)
