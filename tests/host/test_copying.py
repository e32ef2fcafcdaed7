"""A copy has the bytes of the original, and where that has holes, holes."""

import os
from pathlib import Path

import pytest

from csi_driver.host.copying import copy_file, extents


def write(path: Path, size: int, pieces: dict[int, bytes]) -> None:
    with path.open("wb") as file:
        for offset, data in pieces.items():
            file.seek(offset)
            file.write(data)
        file.truncate(size)


def copy(source: Path, target: Path) -> int:
    with source.open("rb") as original, target.open("xb") as file:
        return copy_file(original.fileno(), file.fileno())


@pytest.mark.parametrize(
    ("size", "pieces"),
    [
        (0, {}),
        (5, {0: b"bytes"}),
        (9 << 20, {0: os.urandom(9 << 20)}),
        (64 << 20, {}),
        (64 << 20, {3 << 20: b"middle"}),
        ((64 << 20) + 5, {0: b"start", 64 << 20: b"end.."}),
    ],
    ids=["empty", "small", "large", "all hole", "holes on both sides", "hole between"],
)
def test_a_copy_is_the_same_holes_included(tmp_path: Path, size: int, pieces: dict[int, bytes]) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    write(source, size, pieces)
    copied = copy(source, target)
    assert target.read_bytes() == source.read_bytes()
    with source.open("rb") as one, target.open("rb") as other:
        held = list(extents(one.fileno()))
        assert list(extents(other.fileno())) == held
    assert copied == sum(length for _, length in held)


def test_bytes_are_copied_where_the_kernel_cannot_do_it(tmp_path: Path) -> None:
    """Memory is another filesystem, from which copy_file_range(2) does not copy."""
    data = os.urandom(5_000_000)
    source = os.memfd_create("source")
    os.write(source, data)
    with (tmp_path / "copy").open("wb") as target:
        assert copy_file(source, target.fileno()) == len(data)
    os.close(source)
    assert (tmp_path / "copy").read_bytes() == data
