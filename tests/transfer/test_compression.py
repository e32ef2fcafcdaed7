"""Compressed layers, whole and damaged, honest and not."""

import gzip
import io
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import zstandard

from csi_driver.errors import NoSpace
from csi_driver.inflight import Stop, spawn
from csi_driver.oci.digest import Digest
from csi_driver.oci.media import Packing
from csi_driver.oci.part import Subtree
from csi_driver.transfer.engine import Engine
from csi_driver.transfer.limits import Limits
from csi_driver.transfer.progress import Progress
from csi_driver.transfer.source import Blob
from tests.transfer.archives import (
    END,
    gzipped,
    header,
    member,
    pax,
    tarfile_of,
    zstd,
)
from tests.transfer.conftest import Bench
from tests.transfer.sources import MemorySource

SOON = 30.0
GZIP, ZSTD = Packing.TAR_GZIP, Packing.TAR_ZSTD


# T18


@pytest.mark.parametrize("data", [b"", END, bytes(10240)])
def test_an_archive_without_entries_is_an_empty_tree(bench: Bench, data: bytes) -> None:
    fetched = bench.fetch(data)
    assert (bench.tree(), fetched.entries, fetched.notes) == ({}, 0, ())


@pytest.mark.parametrize(("packing", "data"), [(GZIP, gzipped(b"")), (ZSTD, zstd(b"")), (GZIP, b""), (ZSTD, b"")])
def test_a_compressed_nothing_is_an_empty_tree(bench: Bench, packing: Packing, data: bytes) -> None:
    bench.fetch(data, packing)
    assert bench.tree() == {}


# T19, T20

ARCHIVE = tarfile_of({"a": os.urandom(300_000), "b": b"b"})


def test_a_gzip_stream_of_many_members_is_read_to_the_end(bench: Bench) -> None:
    members = [gzipped(ARCHIVE[start : start + 20_000]) for start in range(0, len(ARCHIVE), 20_000)]
    bench.fetch(b"".join(members), GZIP)
    assert bench.tree()["b"] == b"b"


def test_zeros_behind_a_gzip_stream_are_padding(bench: Bench) -> None:
    bench.fetch(gzipped(ARCHIVE) + bytes(100_000), GZIP)
    assert bench.tree()["b"] == b"b"


@pytest.mark.parametrize(
    "tail", [b"garbage", bytes(10) + b"g", b"\x1f\x8b", bytes(100_000) + b"longer garbage behind zeros"]
)
def test_anything_else_behind_a_gzip_stream_is_refused(bench: Bench, tail: bytes) -> None:
    bench.refuses(gzipped(ARCHIVE) + tail, GZIP, match="gzip")


def test_a_gzip_stream_with_a_wrong_checksum_or_length_is_refused(bench: Bench) -> None:
    good = gzipped(ARCHIVE)
    bench.refuses(good[:-8] + bytes(4) + good[-4:], GZIP, match="gzip")
    bench.refuses(good[:-4] + bytes(4), GZIP, match="gzip")


@pytest.mark.parametrize("missing", [1, 8, 9, 1000, 250_000])
def test_a_truncated_gzip_stream_is_refused(bench: Bench, missing: int) -> None:
    bench.refuses(gzipped(ARCHIVE)[:-missing], GZIP, match="gzip")


def test_a_gzip_stream_is_not_limited_to_one_header_form(bench: Bench) -> None:
    stream = io.BytesIO()
    with gzip.GzipFile("a name", "wb", fileobj=stream) as file:
        file.write(ARCHIVE)
    bench.fetch(stream.getvalue(), GZIP)
    assert bench.tree()["b"] == b"b"


# T21, T22

SKIPPABLE = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"


def test_a_zstd_stream_of_many_frames_is_read_to_the_end(bench: Bench) -> None:
    frames = [zstd(ARCHIVE[start : start + 20_000]) for start in range(0, len(ARCHIVE), 20_000)]
    bench.fetch(SKIPPABLE + SKIPPABLE.join(frames) + SKIPPABLE, ZSTD)
    assert bench.tree()["b"] == b"b"


def test_a_zstd_stream_without_content_size_or_checksum_is_read(bench: Bench) -> None:
    compressor = zstandard.ZstdCompressor(write_content_size=False, write_checksum=False).compressobj()
    bench.fetch(compressor.compress(ARCHIVE) + compressor.flush(), ZSTD)
    assert bench.tree()["b"] == b"b"


def test_a_zstd_stream_of_repeated_bytes_is_read(bench: Bench) -> None:
    bench.fetch(zstd(tarfile_of({"zeros": bytes(3 << 20)}), write_checksum=True), ZSTD)
    assert bench.tree() == {"zeros": bytes(3 << 20)}


@pytest.mark.parametrize("window_log", [27, 28])
def test_a_zstd_stream_with_a_long_window_is_read(bench: Bench, window_log: int) -> None:
    """What `zstd --long=27` and `--long=28` write to a pipe."""
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=window_log)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    bench.fetch(compressor.compress(ARCHIVE) + compressor.flush(), ZSTD)
    assert bench.tree()["b"] == b"b"


def test_a_zstd_window_that_no_pod_has_the_memory_for_is_named(bench: Bench) -> None:
    """What `zstd --long=31` writes to a pipe begins with this window (RFC 8878, section 3.1.1.1.2)."""
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(31 - 10) << 3]) + b"\x01\x00\x00"
    bench.refuses(frame, ZSTD, match="needs 2147483648 bytes of memory to unpack, 268435456 are allowed")


def test_a_zstd_window_over_the_limit_is_named(bench: Bench) -> None:
    bench.limits = Limits(window_bytes=1 << 20)
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=23)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    compressed = compressor.compress(ARCHIVE) + compressor.flush()
    bench.refuses(compressed, ZSTD, match="needs 8388608 bytes of memory to unpack, 1048576 are allowed")


def test_a_zstd_stream_made_with_a_dictionary_is_refused(bench: Bench) -> None:
    samples: list[bytes | bytearray | memoryview[int]] = [
        b"%d some text that comes again and again %d" % (n, n * 7) for n in range(2000)
    ]
    dictionary = zstandard.train_dictionary(4096, samples)
    bench.refuses(zstandard.ZstdCompressor(dict_data=dictionary).compress(ARCHIVE), ZSTD, match="dictionary")


@pytest.mark.parametrize("missing", [1, 2, 100, 290_000])
def test_a_truncated_zstd_stream_is_refused(bench: Bench, missing: int) -> None:
    bench.refuses(zstd(ARCHIVE, write_checksum=True)[:-missing], ZSTD, match="cut off")


def test_a_zstd_stream_cut_between_frames_lacks_the_end_of_the_archive(bench: Bench) -> None:
    bench.refuses(zstd(ARCHIVE[:100_000]), ZSTD, match="ends at byte")


@pytest.mark.parametrize("tail", [b"g", b"garbage", SKIPPABLE[:-1], bytes(100)])
def test_anything_behind_a_zstd_stream_is_refused(bench: Bench, tail: bytes) -> None:
    bench.refuses(zstd(ARCHIVE) + tail, ZSTD, match="zstd")


def test_a_damaged_zstd_stream_is_refused(bench: Bench) -> None:
    damaged = bytearray(zstd(ARCHIVE, write_checksum=True))
    damaged[-1] ^= 1
    bench.refuses(bytes(damaged), ZSTD, match="zstd")


# T23


@pytest.mark.parametrize("said", [Packing.TAR, GZIP, ZSTD])
@pytest.mark.parametrize(("packing", "pack"), [(Packing.TAR, bytes), (GZIP, gzipped), (ZSTD, zstd)])
def test_a_wrong_media_type_is_seen_through(bench: Bench, said: Packing, packing: Packing, pack: "type[bytes]") -> None:
    fetched = bench.fetch(pack(ARCHIVE), said)
    assert bench.tree()["b"] == b"b"
    assert fetched.notes == (() if said is packing else (f"the layer is {packing}, not {said} as its media type says",))


@pytest.mark.parametrize("said", [Packing.TAR, GZIP, ZSTD])
def test_what_is_packed_in_no_known_way_is_refused(bench: Bench, said: Packing) -> None:
    bench.refuses(b"GGUF" + os.urandom(5000), said)


def test_an_archive_whose_first_name_looks_like_gzip_is_an_archive(bench: Bench) -> None:
    bench.fetch(member(b"\x1f\x8b", b"x") + END)
    assert bench.tree() == {"\x1f\udc8b": b"x"}


# T24


def test_a_compression_bomb_meets_the_limit(bench: Bench) -> None:
    bench.limits = Limits(unpacked_bytes=32 << 20)
    bomb = header("zeros", size=1 << 30) + bytes(64 << 20)
    for packing, data in ((GZIP, gzipped(bomb)), (ZSTD, zstd(bomb))):
        with pytest.raises(NoSpace, match="unpacks to more than"):
            bench.fetch(data, packing)


def test_endless_zeros_behind_the_archive_meet_the_limit(bench: Bench) -> None:
    bench.limits = Limits(unpacked_bytes=8 << 20)
    with pytest.raises(NoSpace, match="unpacks to more than"):
        bench.fetch(zstd(END + bytes(64 << 20)), ZSTD)


@pytest.mark.parametrize(("packing", "pack"), [(GZIP, gzipped), (ZSTD, zstd), (Packing.RAW_ZSTD, zstd)])
def test_what_shrinks_too_well_meets_the_limit(bench: Bench, packing: Packing, pack: Callable[[bytes], bytes]) -> None:
    bench.limits = Limits(ratio=20, ratio_from=1 << 20)
    zeros = pack(member("zeros", bytes(4 << 20)) + END)
    with pytest.raises(NoSpace, match=rf"more than 20 times its {len(zeros)} compressed bytes.*compression_ratio"):
        bench.fetch(zeros, packing)
    assert list(bench.into.iterdir()) == []


def test_zeros_that_are_not_many_may_shrink_as_well_as_they_like(bench: Bench) -> None:
    bench.limits = Limits(ratio=2, ratio_from=5 << 20)
    bench.fetch(gzipped(member("zeros", bytes(4 << 20)) + END), GZIP)
    assert bench.tree() == {"zeros": bytes(4 << 20)}


def test_an_archive_asks_before_it_takes_room(bench: Bench) -> None:
    asked: list[tuple[int, int]] = []

    def grant(size: int, inodes: int) -> None:
        asked.append((size, inodes))
        if size > 12288:
            raise NoSpace("no more room")

    bench.grant = grant
    archive = header("d", b"5") + member("d/a", bytes(1000)) + member("b", bytes(2000))
    bench.fetch(archive + END)
    assert asked == [(4096, 1), (8192, 2), (12288, 3)]  # the disk gives out blocks of 4 KiB
    with pytest.raises(NoSpace, match="no more room"):
        bench.fetch(archive + header("c", size=1 << 30) + END)
    assert asked[-1] == (12288 + (1 << 30), 4)
    with pytest.raises(NoSpace, match="no more room"):
        bench.fetch(gzipped(bytes(12289)), Packing.RAW_GZIP)


def test_what_is_not_kept_takes_no_room(bench: Bench) -> None:
    bench.part, asked = Subtree("models"), []
    bench.grant = lambda size, inodes: asked.append((size, inodes))
    bench.fetch(member("etc/x", bytes(5000)) + member("models/a", b"a") + member("usr/y", bytes(5000)) + END)
    assert asked == [(4096, 1)]


def test_too_many_entries_meet_the_limit(bench: Bench) -> None:
    bench.limits = Limits(entries=100)
    with pytest.raises(NoSpace, match="more than 100 entries"):
        bench.fetch(b"".join(member(f"{n}") for n in range(101)) + END)
    bench.fetch(b"".join(member(f"{n}") for n in range(100)) + END)


def test_directories_that_are_only_implied_meet_the_limit_and_take_room(bench: Bench) -> None:
    """Else a million entries of 512 bytes, each in 255 directories of its own, would take a terabyte of them."""
    asked: list[tuple[int, int]] = []
    bench.grant = lambda size, inodes: asked.append((size, inodes))
    bench.limits = Limits(entries=100)
    deep = [member(f"{n}/" + "d/" * 29 + "f") for n in range(4)]
    bench.fetch(b"".join(deep[:3]) + header("0/d", b"5") + END)
    assert asked[-1] == (91 * 4096, 94)  # 3 files without bytes, 90 directories, and one named after it was there
    with pytest.raises(NoSpace, match="more than 100 entries"):
        bench.fetch(b"".join(deep) + member("g") + END)


def test_a_gzip_header_that_does_not_end_is_refused(bench: Bench) -> None:
    bench.refuses(b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (1 << 20), GZIP, match="gzip stream is damaged")


def test_long_paths_meet_a_limit_together_with_those_of_directories(bench: Bench) -> None:
    """Else a few megabytes of zstd would name a million files by 4 KiB each, all in memory when a snapshot is made."""
    bench.limits = Limits(path_characters=10_000)
    named = [pax(b"x", ("path", f"{n}".zfill(200))) + member("f") for n in range(60)]
    bench.fetch(b"".join(named[:50]) + END)
    with pytest.raises(NoSpace, match="paths in the archive have more than 10000 characters"):
        bench.fetch(b"".join(named[:51]) + END)
    with pytest.raises(NoSpace, match="characters"):
        bench.fetch(member("d/" * 45 + "f") + member("e/" * 45 + "f") + member("g/" * 30 + "f") + member("h") + END)


def test_layers_that_hardly_come_leave_another_the_memory_to_be_unpacked(tmp_path: Path) -> None:
    archive = gzipped(tarfile_of({"weights": os.urandom(4 << 20)}))
    held, gate = threading.Semaphore(0), threading.Event()

    def hold(sent: int) -> None:
        if sent >= 3 << 20:  # the first buffer is full, and being unpacked
            held.release()
            assert gate.wait(SOON)

    engine = Engine(blobs=10)

    def fetch(name: str, source: MemorySource) -> int:
        (tmp_path / name).mkdir()
        blob = Blob(Digest.of(archive), len(archive), GZIP)
        return engine.fetch(blob, source, tmp_path / name, progress=Progress(blob.size), stop=Stop()).entries

    slow = [
        spawn(f"slow-{n}", partial(fetch, f"slow-{n}", MemorySource(archive, step=1 << 20).calling(hold)))
        for n in range(9)
    ]
    for _ in slow:
        assert held.acquire(timeout=SOON)
    assert spawn("fast", partial(fetch, "fast", MemorySource(archive))).result(SOON) == 1
    gate.set()
    assert [each.result(SOON) for each in slow] == [1] * 9
