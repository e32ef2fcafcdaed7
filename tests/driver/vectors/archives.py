"""Archives as tools make them, and as attackers do: each with what has to become of it.

The letters and numbers name the cases where several tests speak of the same one.
"""

import gzip
import io
from pathlib import Path

import zstandard

from csi_driver.errors import NoSpace
from tests.driver.vectors.world import Build, Catalogue, Check, World
from tests.fixtures.producers import OCI_CONFIG, OCI_TAR, archive, push
from tests.transfer.archives import END, base256, gnu_long, gzipped, header, member, pax, zstd
from tests.transfer.test_tar_sparse import sparse_files

ARCHIVES = Catalogue()
mounts, refuses = ARCHIVES.mounts, ARCHIVES.refuses

GOOD = member("good", b"good")
ONE = {"w.bin": b"weights"}
MOST_ENTRIES = 5000  # as the node of these tests is told, where others take a million
W = b"w".ljust(512, b"\0")


def packed(name: str, data: bytes, packing: str = "tar") -> Build:
    """A model whose one layer is this archive."""

    def build(world: World) -> str:
        return world.modelpack(world.tar(data.replace(b"OUTSIDE", bytes(world.outside)), packing=packing))

    build.__name__ = name
    return build


def outside_link(kind: bytes, *more: bytes) -> Build:
    """An archive with a link to the canary by its absolute name, and what comes behind it."""

    def link_to_an_absolute_name(world: World) -> str:
        target = bytes(world.outside / "canary" if kind != b"d" else world.outside)
        link = gnu_long(b"K", target) + header("l", kind if kind != b"d" else b"2", target=target[:100])
        return world.modelpack(world.tar(GOOD + link + b"".join(more) + END))

    return link_to_an_absolute_name


# Streams

mounts("T1", ONE)(packed("padded as GNU tar does", archive(ONE).ljust(10240, b"\0")))
mounts("T1", ONE)(packed("megabytes of zeros behind the end", archive(ONE) + bytes(3 << 20)))
refuses("T2", "end|truncated|cut")(packed("cut off in a file", member("w.bin", b"w" * 5000)[:3000]))
refuses("T2", "end|truncated|cut|header")(packed("cut off in a header", GOOD + header("x")[:300]))
mounts("T2", {"good": b"good"})(packed("without an end marker", GOOD))
refuses("T3", "header|checksum")(packed("damaged second header", GOOD + b"\xff" * 512 + GOOD + END))
refuses("T3", "behind|end")(packed("something behind the end", GOOD + END + member("late", b"x")))

# Headers

for name, data, files in (
    ("a long name of pax", pax(b"x", ("path", "p/" * 200 + "w")) + member("short", b"w"), {"p/" * 200 + "w": b"w"}),
    ("a long name of GNU", gnu_long(b"L", b"p/" * 200 + b"w") + member("short", b"w"), {"p/" * 200 + "w": b"w"}),
    ("a prefix of ustar", member("w", b"w", prefix=b"pre/fix"), {"pre/fix/w": b"w"}),
    ("a header of version 7", member("w", b"w", magic=bytes(8)), {"w": b"w"}),
    (
        "numbers in base 256",
        header("w", size=base256(1, 12), mtime=base256(1 << 33, 12)) + b"w".ljust(512, b"\0"),
        {"w": b"w"},
    ),
    ("a size in pax", pax(b"x", ("size", "1")) + header("w", size=0) + W, {"w": b"w"}),
    ("a global header of pax", pax(b"g", ("comment", "for all")) + member("w", b"w"), {"w": b"w"}),
):
    mounts("T4", files)(packed(name, data + END))
refuses("T4", "8 GiB", NoSpace)(
    packed("a size of eight gibibytes that is not there", pax(b"x", ("size", str(8 << 30))) + header("w") + END)
)

# Names

refuses("T5", "w|\\.\\.")(
    packed("a safe name with another in pax", pax(b"x", ("path", "../w")) + member("w", b"w") + END)
)
for name in ("/abs", "../x", "a/../../x", "a/../.."):
    refuses("T6", ".")(packed(f"the name {name.replace('/', '|')}", GOOD + member(name, b"x") + END))
mounts("T6", {"w": b"w"})(
    lambda world: push(
        world.registry, "team/model:v1", OCI_CONFIG, [world.layer(OCI_TAR, member("/models/w", b"w") + END)]
    )
)
mounts("T7", {"foo..bar": b"1", "..foo": b"2", "...": b"3"})(
    packed("dots that lead nowhere", archive({"foo..bar": b"1", "..foo": b"2", "...": b"3"}))
)
mounts("T25", {b"caf\xe9".decode("utf-8", "surrogateescape"): b"x"})(
    packed("a name that is no UTF-8", member(b"caf\xe9", b"x") + END)
)

# Links

for target in ("/etc/passwd", "../../x", ".."):
    refuses("T8", "l")(packed(f"a link to {target.replace('/', '|')}", GOOD + header("l", b"2", target=target) + END))
refuses("T8", "l")(outside_link(b"2"))
refuses("T9", ".")(outside_link(b"d", member("l/x", b"through the link")))
refuses("T9", ".")(
    packed(
        "a chain of links",
        header("a", b"2", target="b") + header("b", b"2", target="..") + member("a/x", b"x") + END,
    )
)
refuses("T9", ".")(
    packed(
        "a path too long to resolve",
        b"".join(header("/".join(["d" * 200] * depth) + "/l", b"2", target="d" * 200) for depth in (0, 1))
        + member(("d" * 200 + "/") * 19 + "l/x", b"x")
        + END,
    )
)
refuses("T10", "l")(packed("a file in the place of a link", header("l", b"2", target="good") + member("l", b"x") + END))


def _is_a_link(world: World, target: Path) -> None:
    assert (target / "model.file").readlink() == Path("m/x.gguf")


mounts("T11", {"m/x.gguf": b"GGUF", "model.file": b"GGUF"}, check=_is_a_link)(
    packed("a good link", member("m/x.gguf", b"GGUF") + header("model.file", b"2", target="m/x.gguf") + END)
)
mounts("T12", {"good": b"good", "h": b"good"})(packed("a hard link", GOOD + header("h", b"1", target="good") + END))
for target in ("/etc/shadow", "../x", "later", "l", "h"):
    refuses("T12", "h")(
        packed(
            f"a hard link to {target.replace('/', '|')}",
            header("l", b"2", target="good") + GOOD + header("h", b"1", target=target) + member("later", b"x") + END,
        )
    )
refuses("T12", ".")(outside_link(b"1"))

# Kinds and modes

for kind in (b"3", b"4", b"6", b"Z", b"s"):
    refuses("T13", "x")(packed(f"the type {kind.decode()}", GOOD + header("x", kind) + END))
mounts("T13", {"c": b"contiguous"})(packed("a contiguous file", member("c", b"contiguous", kind=b"7") + END))


def modes(**expected: int) -> Check:
    def check(world: World, target: Path) -> None:
        assert {name: (target / name).stat().st_mode & 0o7777 for name in expected} == expected

    return check


mounts("T14", check=modes(s=0o555, w=0o555, n=0o444))(
    packed(
        "modes that say too much or too little",
        member("s", b"s", mode=0o7755) + member("w", b"w", mode=0o777) + member("n", b"n", mode=0) + END,
    )
)
mounts("T17", {"d/w": b"w"}, check=modes(d=0o555))(
    packed("a directory behind its files", member("d/w", b"w") + header("d/", b"5", mode=0o500) + END)
)
mounts("T17", {"a/b/w": b"w"})(packed("directories that are not mentioned", member("a/b/w", b"w") + END))
refuses("T16", "w")(packed("one name twice", member("w", b"one") + member("w", b"two") + END))
mounts("T16", {"w": b"two"})(
    lambda world: push(
        world.registry,
        "team/model:v1",
        OCI_CONFIG,
        [world.layer(OCI_TAR, member("models/w", b"one") + member("models/w", b"two") + END)],
    )
)
mounts("T26", {"w": b"w"})(
    packed(
        "extended attributes", pax(b"x", ("SCHILY.xattr.security.capability", b"\1\0\0\2")) + member("w", b"w") + END
    )
)

# Sparse files


def _is_sparse(world: World, target: Path) -> None:
    status = (target / "f").stat()
    assert status.st_size == 2 << 20
    assert status.st_blocks * 512 < 1 << 20


for form, data in sparse_files().items():
    mounts("T15", check=_is_sparse)(packed(f"sparse in the form {form}", data + END))
refuses("T15", "TiB|limit|bytes", NoSpace)(
    packed(
        "a hole larger than every disk",
        pax(b"x", ("GNU.sparse.size", str(1 << 60)), ("GNU.sparse.map", "0,1"), ("GNU.sparse.name", "f"))
        + member("GNUSparseFile.1/f", b"x")
        + END,
    )
)

# Nothing

for name, data, packing in (
    ("an empty archive", END, "tar"),
    ("no bytes at all", b"", "tar"),
    ("the compressed empty archive", gzipped(END), "tar+gzip"),
    ("the compressed nothing", gzipped(b""), "tar+gzip"),
):
    refuses("T18", "no files|empty")(packed(name, data, packing))


def _beside_a_file(data: bytes, packing: str) -> Build:
    def an_empty_archive_beside_a_file(world: World) -> str:
        return world.modelpack(world.tar(data, packing=packing), world.raw("w.bin", b"weights"))

    return an_empty_archive_beside_a_file


mounts("T18", ONE)(_beside_a_file(END, "tar"))
mounts("T18", ONE)(_beside_a_file(b"", "tar"))
mounts("T18", ONE)(_beside_a_file(gzipped(b""), "tar+gzip"))

# Compression

WHOLE = archive(ONE)
TWO_MEMBERS = gzipped(WHOLE[:700]) + gzipped(WHOLE[700:])
BAD_SUM = bytearray(gzipped(WHOLE))
BAD_SUM[-6] ^= 0xFF
SKIPPED = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"


def _with_dictionary() -> bytes:
    samples: list[bytes | bytearray | memoryview] = [b"weights and biases %d" % number * 20 for number in range(200)]
    dictionary = zstandard.train_dictionary(1024, samples)
    return zstandard.ZstdCompressor(dict_data=dictionary).compress(WHOLE)


def _streamed() -> bytes:
    stream = io.BytesIO()
    with zstandard.ZstdCompressor().stream_writer(stream, closefd=False) as writer:
        writer.write(WHOLE)
    return stream.getvalue()


mounts("T19", ONE)(packed("many members of gzip", TWO_MEMBERS, "tar+gzip"))
mounts("T20", ONE)(packed("zeros behind gzip", gzipped(WHOLE) + bytes(4096), "tar+gzip"))
refuses("T20", "gzip|behind|garbage")(packed("garbage behind gzip", gzipped(WHOLE) + b"garbage", "tar+gzip"))
refuses("T20", "gzip|sum|CRC")(packed("a wrong sum of gzip", bytes(BAD_SUM), "tar+gzip"))
refuses("T20", "gzip|end|truncated")(packed("gzip that is cut off", gzipped(WHOLE)[:-9], "tar+gzip"))
mounts("T21", ONE)(packed("frames of zstd", zstd(WHOLE[:700]) + zstd(WHOLE[700:]), "tar+zstd"))
mounts("T21", ONE)(packed("skippable frames", SKIPPED + zstd(WHOLE) + SKIPPED, "tar+zstd"))
mounts("T21", ONE)(packed("a long window", zstd(WHOLE, window_log=28, enable_ldm=True), "tar+zstd"))
# What zstd --long=31 writes to a pipe begins so (RFC 8878, section 3.1.1.1.2).
refuses("T21", "2147483648 bytes of memory.*--long=")(
    packed("a window that no pod has the memory for", b"\x28\xb5\x2f\xfd\x00" + bytes([(31 - 10) << 3]), "tar+zstd")
)
mounts("T21", ONE)(packed("no size in zstd", _streamed(), "tar+zstd"))
refuses("T21", "dictionary")(packed("a dictionary of zstd", _with_dictionary(), "tar+zstd"))
refuses("T22", "zstd|end|truncated")(packed("zstd that is cut off", zstd(WHOLE)[:-3], "tar+zstd"))
mounts("T23", ONE)(packed("no gzip after all", WHOLE, "tar+gzip"))
mounts("T23", ONE)(packed("gzip after all", gzipped(WHOLE), "tar"))


def _zeros(count: int) -> bytes:
    """A compressed archive with one file of so many mebibytes of zeros."""
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1, mtime=0) as file:
        file.write(header("zeros", size=count << 20))
        for _ in range(count):
            file.write(bytes(1 << 20))
        file.write(END)
    return stream.getvalue()


# The node of these tests keeps at most 256 MiB.
refuses("T24", "zeros|limit|MiB|holds", NoSpace)(packed("a thousand times its size", _zeros(512), "tar+gzip"))
refuses("T24", f"more than {MOST_ENTRIES} entries.*layer_entries", NoSpace)(
    packed("more entries than a layer may have", b"".join(map(member, map(str, range(MOST_ENTRIES + 1)))) + END)
)
refuses("T24", f"more than {MOST_ENTRIES} entries.*layer_entries", NoSpace)(
    packed(
        "more directories than a layer may have",
        b"".join(member(f"{number}/{'d/' * 30}f") for number in range(MOST_ENTRIES // 31)) + END,
    )
)
