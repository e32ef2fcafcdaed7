"""Sparse files in archives stay sparse."""

import os
import resource

import pytest

from csi_driver.errors import NoSpace
from csi_driver.oci.media import Packing
from csi_driver.transfer.limits import Limits
from tests.transfer.archives import (
    END,
    gnu_tar,
    header,
    member,
    padded,
    pax,
)
from tests.transfer.conftest import Bench

GZIP, ZSTD = Packing.TAR_GZIP, Packing.TAR_ZSTD


# T15


def sparse_files(name: str = "f") -> dict[str, bytes]:
    """The same file, `AAAA` at 4096 and `B` at 1 MiB in a size of 2 MiB, in every sparse format."""
    size, pieces = 2 << 20, [(4096, b"AAAA"), (1 << 20, b"B")]
    stored = b"".join(data for _, data in pieces)
    numbers = [number for offset, data in pieces for number in (offset, len(data))]
    old = b"".join(b"%011o\0" % number for number in [*numbers, size, 0])
    listed = "\n".join(map(str, [len(pieces), *numbers])) + "\n"
    per_piece = [r for o, d in pieces for r in (("GNU.sparse.offset", str(o)), ("GNU.sparse.numbytes", str(len(d))))]
    return {
        "old GNU": header(name, b"S", size=len(stored), magic=b"ustar  \0", fields={386: old, 483: b"%011o\0" % size})
        + padded(stored),
        "pax 0.0": pax(b"x", ("GNU.sparse.size", str(size)), ("GNU.sparse.numblocks", "2"), *per_piece)
        + member(name, stored),
        "pax 0.1": pax(
            b"x",
            ("GNU.sparse.size", str(size)),
            ("GNU.sparse.numblocks", "2"),
            ("GNU.sparse.name", name),
            ("GNU.sparse.map", ",".join(map(str, numbers))),
        )
        + member("GNUSparseFile.1/f", stored),
        "pax 1.0": pax(
            b"x",
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", name),
            ("GNU.sparse.realsize", str(size)),
        )
        + member("GNUSparseFile.1/f", padded(listed.encode()) + stored),
    }


@pytest.mark.parametrize("form", sparse_files())
def test_a_sparse_file_is_sparse_again(bench: Bench, form: str) -> None:
    bench.fetch(sparse_files()[form] + member("next", b"n") + END)
    expected = bytearray(2 << 20)
    expected[4096:4100], expected[1 << 20] = b"AAAA", ord("B")
    assert bench.tree() == {"f": bytes(expected), "next": b"n"}
    assert (bench.content / "f").stat().st_blocks * 512 < 1 << 20


@pytest.mark.parametrize("form", ["gnu", "0.0", "0.1", "1.0"])
def test_what_gnu_tar_makes_of_a_file_with_many_holes_is_read(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory, form: str
) -> None:
    source = tmp_path_factory.mktemp("source")
    with open(source / "holes", "wb") as file:
        for number in range(60):
            file.seek(number * 100_000)
            file.write(b"%d" % number)
        file.truncate(7_000_000)
    arguments = ["--format=gnu"] if form == "gnu" else ["--format=posix", f"--sparse-version={form}"]
    bench.fetch(gnu_tar(source, "--sparse", "--hole-detection=raw", *arguments))
    assert (bench.content / "holes").read_bytes() == (source / "holes").read_bytes()


@pytest.mark.parametrize("form", ["gnu", "0.0", "0.1", "1.0"])
def test_a_file_that_is_all_hole_is_all_zeros(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory, form: str
) -> None:
    source = tmp_path_factory.mktemp("source")
    (source / "zeros").write_bytes(b"")
    os.truncate(source / "zeros", 3_000_000)
    (source / "other").write_bytes(b"other")
    arguments = ["--format=gnu"] if form == "gnu" else ["--format=posix", f"--sparse-version={form}"]
    bench.fetch(gnu_tar(source, "--sparse", "--hole-detection=raw", *arguments))
    assert bench.tree() == {"zeros": bytes(3_000_000), "other": b"other"}


def test_the_holes_of_a_sparse_file_count_against_the_limit(bench: Bench) -> None:
    bench.limits = Limits(unpacked_bytes=1 << 30)
    hole = pax(b"x", ("GNU.sparse.size", str(20 << 30)), ("GNU.sparse.map", f"{20 << 30},0")) + member("f")
    with pytest.raises(NoSpace, match="unpacks to more"):
        bench.fetch(hole + END)


@pytest.mark.parametrize(
    "records",
    [
        [("GNU.sparse.size", "10"), ("GNU.sparse.map", "0,5,3,5")],
        [("GNU.sparse.size", "10"), ("GNU.sparse.map", "0,5,6")],
        [("GNU.sparse.size", "10"), ("GNU.sparse.map", "5,10")],
        [("GNU.sparse.size", "100"), ("GNU.sparse.map", "0,1")],
        [("GNU.sparse.size", "100"), ("GNU.sparse.map", "x")],
        [("GNU.sparse.map", "0,10")],
        [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "10")],
        [("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "10")],
    ],
)
def test_a_sparse_map_that_fits_no_file_is_refused(bench: Bench, records: list[tuple[str, str]]) -> None:
    bench.refuses(pax(b"x", *records) + member("f", b"0123456789") + END)


def test_a_file_larger_than_the_filesystem_can_have_finds_no_room(bench: Bench) -> None:
    hole = pax(b"x", ("GNU.sparse.size", str(2 << 30)), ("GNU.sparse.map", f"{2 << 30},0")) + member("f")
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, most[1]))
    try:
        with pytest.raises(NoSpace, match="cannot write 'f': File too large"):
            bench.fetch(hole + END)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
