"""A stream of buffers as whoever reads an archive sees it."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal.isal_zlib import crc32

from csi_driver.transfer.blocks import Blocks
from csi_driver.transfer.buffers import Buffer, BufferPool
from csi_driver.transfer.tarheader import BadArchive

SIZE = 1024

steps = st.lists(st.tuples(st.sampled_from(["read", "whole", "spans"]), st.integers(0, 3 * SIZE)), max_size=12)


def buffers_of(pool: BufferPool, data: bytes, lengths: list[int]) -> Iterator[Buffer]:
    """`data` in buffers of these lengths, again and again."""
    with pool.allowance(lambda: False) as allowance:
        position = 0
        for length in lengths * (len(data) // sum(lengths) + 1):
            piece = data[position : position + length]
            buffer = allowance.take()
            buffer.length = len(piece)
            buffer.room[: len(piece)] = piece
            position += len(piece)
            yield buffer


@given(st.binary(max_size=6 * SIZE), st.lists(st.integers(1, SIZE), min_size=1, max_size=4), steps)
def test_every_byte_is_read_once_in_order_and_summed_however_it_is_asked_for(
    data: bytes, lengths: list[int], steps: list[tuple[str, int]]
) -> None:
    pool, seen = BufferPool(count=2, size=SIZE), b""
    kept: list[bytes] = []
    blocks = Blocks(buffers_of(pool, data, lengths), keep=kept.append)
    expected_kept = b""
    try:
        for way, count in steps:
            if way == "read":
                read = blocks.read(count)
                expected_kept += read
                seen += read
            elif way == "whole":
                whole = blocks.whole(count)
                assert whole is None or len(whole) == count
                seen += bytes(whole or b"")
            else:
                seen += b"".join([bytes(buffer.window(start, stop)) for buffer, start, stop in blocks.spans(count)])
            assert seen == data[: len(seen)]
            assert (blocks.position, blocks.crc) == (len(seen), crc32(seen))
    except BadArchive:
        assert len(seen) + count > len(data)
    else:
        expected_kept += b"".join(blocks.rest())
        assert (blocks.position, blocks.crc) == (len(data), crc32(data))
        assert b"".join(kept) == expected_kept
    blocks.close()
    assert pool.free == pool.count


def test_what_is_asked_for_beyond_the_end_is_no_archive() -> None:
    blocks = Blocks(buffers_of(BufferPool(count=2, size=SIZE), bytes(700), [SIZE]), keep=lambda _: None)
    assert blocks.block() == bytes(512)
    with pytest.raises(BadArchive, match="ends at byte 700"):
        blocks.block()
    blocks.close()
