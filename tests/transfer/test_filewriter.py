"""A file gets its bytes whatever the disk can do."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csi_driver.transfer import filewriter
from csi_driver.transfer.buffers import Buffer, BufferPool
from csi_driver.transfer.filewriter import FileWriter

SIZE = 64 << 10
DATA = os.urandom(2 << 20)


def pieces(data: bytes, first: int) -> Iterator[tuple[Buffer, int, int]]:
    """The data as it lies in buffers when it begins at offset `first` of the first of them."""
    pool = BufferPool(count=1, size=SIZE)
    with pool.allowance(lambda: False) as allowance:
        position = 0
        while position < len(data):
            buffer = allowance.take()
            piece = data[position : position + SIZE - first]
            buffer.room[first : first + len(piece)] = piece
            buffer.length = SIZE
            yield buffer, first, first + len(piece)
            buffer.release()
            position += len(piece)
            first = 0


def opened(path: Path, *, direct: bool) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | (os.O_DIRECT if direct else 0), 0o644)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=st.integers(0, SIZE // 512 - 1), size=st.integers((1 << 20) - 700, 1_300_000), direct=st.booleans())
def test_every_size_at_every_place_is_written(
    tmp_path_factory: pytest.TempPathFactory, first: int, size: int, direct: bool
) -> None:
    path = tmp_path_factory.mktemp("file") / "file"
    with FileWriter(opened(path, direct=direct), "file", size=size, direct=direct) as writer:
        for buffer, start, stop in pieces(DATA[:size], first * 512):
            writer.append(buffer, start, stop)
        assert writer.position == size
        writer.finish(10**9)
    assert path.read_bytes() == DATA[:size]
    assert path.stat().st_mtime == 1


@pytest.mark.parametrize("after", range(4))
def test_a_disk_that_wants_other_alignment_gets_buffered_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    path, size, calls = tmp_path / "file", 1_200_001, 0
    write = os.pwrite

    def refuse(descriptor: int, view: memoryview, offset: int) -> int:
        nonlocal calls
        calls += 1
        if after == calls - 1:
            raise OSError(errno.EINVAL, "not so")
        return write(descriptor, view, offset)

    monkeypatch.setattr(os, "pwrite", refuse)
    with FileWriter(opened(path, direct=True), "file", size=size, direct=True) as writer:
        for buffer, start, stop in pieces(DATA[:size], 512):
            writer.append(buffer, start, stop)
        writer.finish()
    assert path.read_bytes() == DATA[:size]


def test_a_large_buffered_file_is_written_back_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[int, int]] = []
    monkeypatch.setattr(filewriter, "_WRITEBACK_STEP", 256 << 10)
    monkeypatch.setattr(filewriter, "start_writeback", lambda _, offset, size: started.append((offset, size)))
    with FileWriter(opened(tmp_path / "file", direct=False), "file", size=len(DATA), direct=False) as writer:
        for buffer, start, stop in pieces(DATA, 0):
            writer.append(buffer, start, stop)
        writer.finish()
    assert started == [(offset, 256 << 10) for offset in range(0, len(DATA), 256 << 10)]
    assert (tmp_path / "file").read_bytes() == DATA
