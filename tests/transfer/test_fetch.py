"""Blobs become files, whatever the network does meanwhile."""

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_driver.errors import AccessDenied, ContentMismatch, NoSpace, Stopping, Unavailable
from csi_driver.oci.digest import Digest
from csi_driver.oci.media import Packing
from csi_driver.transfer.limits import Limits
from csi_driver.transfer.progress import Progress
from csi_driver.transfer.proof import prove_tree
from csi_driver.transfer.source import Blob
from csi_driver.transfer.stream import Patience
from tests.conftest import NewFilesystem
from tests.transfer.archives import gzipped, tarfile_of, zstd
from tests.transfer.conftest import SMALL, Bench
from tests.transfer.sources import MemorySource

BIG = os.urandom(3 * (1 << 20) + 12_345)
PACK: dict[Packing, Callable[[bytes], bytes]] = {
    Packing.RAW: bytes,
    Packing.TAR: bytes,
    Packing.RAW_GZIP: gzipped,
    Packing.RAW_ZSTD: zstd,
    Packing.TAR_GZIP: gzipped,
    Packing.TAR_ZSTD: zstd,
}
FILES = {"a/b.bin": BIG, "c.txt": b"hello", "empty": b""}


@pytest.mark.parametrize("size", [0, 1, 511, SMALL - 1, SMALL, SMALL + 1, 1 << 20, (1 << 20) + 4096, len(BIG)])
def test_a_raw_blob_becomes_one_file_of_the_same_bytes(bench: Bench, size: int) -> None:
    fetched = bench.fetch(BIG[:size], Packing.RAW)
    assert bench.content.read_bytes() == BIG[:size]
    assert stat.S_IMODE(bench.content.stat().st_mode) == 0o444
    assert (fetched.resumed, fetched.entries, fetched.notes) == (0, 1, ())
    assert bench.progress.fetched == size


def test_a_sha512_digest_is_verified_like_any_other(bench: Bench) -> None:
    bench.fetch(BIG, Packing.RAW, digest=Digest.of(BIG, "sha512"))
    with pytest.raises(ContentMismatch):
        bench.fetch(BIG, Packing.RAW, digest=Digest.of(b"", "sha512"))


def test_an_empty_blob_is_not_asked_for(bench: Bench) -> None:
    source = MemorySource(b"")
    bench.fetch(b"", Packing.RAW, source=source)
    assert source.opened == []


def test_the_first_request_names_no_range(bench: Bench) -> None:
    source = MemorySource(BIG)
    bench.fetch(BIG, Packing.RAW, source=source)
    assert source.opened == [(0, None)]


@pytest.mark.parametrize(
    ("packing", "pack"), [(Packing.TAR, bytes), (Packing.TAR_GZIP, gzipped), (Packing.TAR_ZSTD, zstd)]
)
def test_a_tar_layer_becomes_a_tree(bench: Bench, packing: Packing, pack: "type[bytes]") -> None:
    fetched = bench.fetch(pack(tarfile_of(FILES)), packing)
    assert bench.tree() == {"a": None, **FILES}
    assert (bench.into / "skeleton").is_file()
    assert fetched.entries == 3


@pytest.mark.parametrize("packing", [Packing.RAW_GZIP, Packing.RAW_ZSTD])
@pytest.mark.parametrize("size", [0, 1, SMALL, len(BIG)])
def test_a_compressed_file_becomes_that_file(bench: Bench, packing: Packing, size: int) -> None:
    blob = PACK[packing](BIG[:size])
    fetched = bench.fetch(blob, packing)
    assert bench.tree() == {"file": BIG[:size]}
    assert (fetched.entries, fetched.notes) == (1, ())
    prove_tree(bench.content, bench.into / "skeleton", Digest.of(blob), pace=lambda _: None)


@pytest.mark.parametrize("content", [b"", b"plain", tarfile_of(FILES)])
def test_a_file_that_is_not_compressed_after_all_is_taken_as_it_is(bench: Bench, content: bytes) -> None:
    fetched = bench.fetch(content, Packing.RAW_GZIP)
    assert bench.tree() == {"file": content}
    assert fetched.notes == ("the layer is raw, not raw+gzip as its media type says",)


def test_a_compressed_archive_that_is_said_to_be_a_file_stays_one_file(bench: Bench) -> None:
    bench.fetch(zstd(tarfile_of(FILES)), Packing.RAW_GZIP)
    assert bench.tree() == {"file": tarfile_of(FILES)}


@pytest.mark.parametrize("packing", [Packing.RAW_GZIP, Packing.RAW_ZSTD])
def test_a_compressed_file_that_is_cut_off_is_refused(bench: Bench, packing: Packing) -> None:
    bench.refuses(PACK[packing](BIG)[:-9], packing, match="damaged|cut off")


def test_a_compressed_file_may_not_become_too_large(bench: Bench) -> None:
    bench.limits = Limits(unpacked_bytes=len(BIG) - 1)
    with pytest.raises(NoSpace, match=f"more than {len(BIG) - 1} bytes"):
        bench.fetch(gzipped(BIG), Packing.RAW_GZIP)
    assert list(bench.into.iterdir()) == []


def test_a_filesystem_without_direct_writes_gets_buffered_ones(bench: Bench, new_filesystem: NewFilesystem) -> None:
    bench.into = new_filesystem("ramfs")
    bench.fetch(BIG, Packing.RAW)
    assert (bench.into / "content").read_bytes() == BIG


def test_a_tree_on_a_filesystem_without_direct_writes(bench: Bench, new_filesystem: NewFilesystem) -> None:
    bench.into = new_filesystem("ramfs")
    bench.fetch(tarfile_of(FILES))
    assert (bench.into / "content/a/b.bin").read_bytes() == BIG


def test_a_full_disk_shows_before_the_first_byte(bench: Bench, new_filesystem: NewFilesystem) -> None:
    bench.into = new_filesystem("tmpfs", "size=1m")
    with pytest.raises(NoSpace, match="content"):
        bench.fetch(BIG, Packing.RAW)
    assert list(bench.into.iterdir()) == []


@pytest.mark.parametrize("pack", [bytes, gzipped, zstd])
def test_a_disk_that_fills_up_ends_the_transfer(
    bench: Bench, new_filesystem: NewFilesystem, pack: "type[bytes]"
) -> None:
    bench.into = new_filesystem("tmpfs", "size=1m")
    with pytest.raises(NoSpace):
        bench.fetch(pack(tarfile_of({f"{i}": BIG[i : i + 300_000] for i in range(10)})))


def test_a_full_disk_ends_a_transfer_whose_body_hangs(bench: Bench, new_filesystem: NewFilesystem) -> None:
    bench.into = new_filesystem("tmpfs", "size=1m")
    source = MemorySource(BIG)

    def hang(sent: int) -> None:
        if sent > SMALL:
            assert source.aborted.wait(30)

    with pytest.raises(NoSpace):
        bench.fetch(BIG, Packing.RAW, source=source.calling(hang))


@pytest.mark.parametrize("packing", list(Packing))
def test_wrong_bytes_are_never_left_behind(bench: Bench, packing: Packing) -> None:
    data = PACK[packing](tarfile_of(FILES))
    with pytest.raises(ContentMismatch, match="damaged"):
        bench.fetch(data, packing, digest=Digest.of(b"something else"))
    assert list(bench.into.iterdir()) == []


@pytest.mark.parametrize("packing", [Packing.TAR, Packing.TAR_GZIP, Packing.TAR_ZSTD])
def test_damage_on_the_way_is_not_blamed_on_the_archive(bench: Bench, packing: Packing) -> None:
    good = PACK[packing](tarfile_of(FILES))
    bad = bytearray(good)
    bad[20:200] = bytes(180)
    with pytest.raises(ContentMismatch):
        bench.fetch(good, packing, source=MemorySource(bytes(bad)))


@pytest.mark.parametrize("size", [1, SMALL, len(BIG)])
def test_a_blob_longer_than_its_size_is_refused(bench: Bench, size: int) -> None:
    source = MemorySource(BIG + b"more")
    with pytest.raises(ContentMismatch, match="longer"):
        bench.fetch(BIG[:size], Packing.RAW, source=source)


def test_a_broken_connection_is_resumed_at_the_next_byte(bench: Bench) -> None:
    source = MemorySource(BIG).breaking_after(1_000_000, 1_000_000)
    bench.fetch(BIG, Packing.RAW, source=source)
    assert source.opened == [(0, None), (1_000_000, len(BIG)), (2_000_000, len(BIG))]
    assert bench.content.read_bytes() == BIG


def test_a_body_that_ends_early_is_resumed(bench: Bench) -> None:
    class EndsEarly(MemorySource):
        def open(self, start: int, stop: int | None, /, *, briefly: bool = False):  # type: ignore[no-untyped-def]
            whole = self.data
            self.data = whole[:700_000] if not self.opened else whole
            try:
                return super().open(start, stop, briefly=briefly)
            finally:
                self.data = whole

    source = EndsEarly(BIG)
    bench.fetch(BIG, Packing.RAW, source=source)
    assert source.opened == [(0, None), (700_000, len(BIG))]
    assert bench.content.read_bytes() == BIG


def test_progress_renews_patience(bench: Bench) -> None:
    source = MemorySource(BIG).breaking_after(*[300_000] * 9)
    bench.fetch(BIG, Packing.RAW, source=source)
    assert bench.content.read_bytes() == BIG


def test_what_drips_is_asked_for_again_and_only_what_is_missing(bench: Bench) -> None:
    bench.patience = Patience(attempts=5, pause=0.0, slowest=float("inf"), window=0.0)
    source = MemorySource(BIG, step=100_000)
    bench.fetch(BIG, Packing.RAW, source=source)
    assert bench.content.read_bytes() == BIG
    starts = [start for start, _ in source.opened]
    assert len(starts) > 30
    assert starts == sorted(set(starts))


def test_what_drips_for_ever_ends_patience(bench: Bench) -> None:
    bench.patience = Patience(attempts=3, pause=0.0, slowest=float("inf"), window=0.0)
    source = MemorySource(BIG, step=1)
    with pytest.raises(Unavailable, match="less than inf bytes a second"):
        bench.fetch(BIG, Packing.RAW, source=source)
    assert source.opened == [(0, None), (1, len(BIG)), (2, len(BIG)), (3, len(BIG))]


def test_a_server_without_ranges_that_drips_ends_patience_as_well(bench: Bench) -> None:
    bench.patience = Patience(attempts=3, pause=0.0, slowest=float("inf"), window=0.0)
    with pytest.raises(Unavailable, match="stalls near byte"):
        bench.fetch(BIG, Packing.RAW, source=MemorySource(BIG, step=1, ranges=False))


def test_patience_ends_when_nothing_arrives(bench: Bench) -> None:
    source = MemorySource(BIG).breaking_after(500_000, 0, 0, 0, 0, 0, 0, 0)
    with pytest.raises(Unavailable, match="broke"):
        bench.fetch(BIG, Packing.RAW, source=source)
    assert len(source.opened) == 4  # and three more attempts


def test_a_trickle_is_not_progress(bench: Bench) -> None:
    source = MemorySource(BIG).breaking_after(*[1] * 1000)
    with pytest.raises(Unavailable):
        bench.fetch(BIG, Packing.RAW, source=source)


@pytest.mark.parametrize("packing", list(Packing))
def test_a_server_without_ranges_is_heard_out_from_the_beginning(bench: Bench, packing: Packing) -> None:
    data = PACK[packing](tarfile_of(FILES))
    source = MemorySource(data, ranges=False).breaking_after(1_500_000, 2_000_000)
    bench.fetch(data, packing, source=source)
    assert source.opened == [(0, None), (1_500_000, len(data)), (0, None), (0, None)]
    assert bench.progress.fetched == len(data)


def test_a_refusal_is_passed_on_at_once(bench: Bench) -> None:
    source = MemorySource(BIG).refusing(AccessDenied("not yours"))
    with pytest.raises(AccessDenied):
        bench.fetch(BIG, Packing.RAW, source=source)
    assert len(source.opened) == 1


def test_what_the_source_has_given_up_is_not_asked_for_again(bench: Bench) -> None:
    source = MemorySource(BIG).refusing(*[Unavailable("gave up after 8 tries in 46 s")] * 9)
    with pytest.raises(Unavailable, match="gave up after 8 tries"):
        bench.fetch(BIG, Packing.RAW, source=source)
    assert len(source.opened) == 1


def test_a_refusal_after_some_bytes_is_passed_on(bench: Bench) -> None:
    source = MemorySource(BIG).breaking_after(500_000)

    def refuse_the_next(sent: int) -> None:
        if sent:
            source.refusing(AccessDenied("no more"))

    source.calling(refuse_the_next)
    with pytest.raises(AccessDenied):
        bench.fetch(BIG, Packing.RAW, source=source)


@pytest.mark.parametrize("packing", list(Packing))
def test_a_stop_ends_a_transfer_whose_body_hangs(bench: Bench, packing: Packing) -> None:
    data = PACK[packing](tarfile_of(FILES))
    source = MemorySource(data, step=100_000)

    def hang(sent: int) -> None:
        if sent >= 1_000_000:
            bench.stop.set()
            assert source.aborted.wait(30)

    with pytest.raises(Stopping):
        bench.fetch(data, packing, source=source.calling(hang))


def test_a_stop_ends_a_pause_between_requests(bench: Bench) -> None:
    bench.patience = Patience(attempts=5, pause=3600.0, longest_pause=3600.0)
    source = MemorySource(BIG).breaking_after(0, 0, 0)
    threading.Thread(target=bench.stop.set).start()
    with pytest.raises(Stopping):
        bench.fetch(BIG, Packing.RAW, source=source)


def test_a_stop_ends_the_wait_for_buffers(bench: Bench) -> None:
    with bench.arriving.allowance(lambda: False) as allowance:
        taken = [allowance.take() for _ in range(bench.arriving.count)]
        threading.Thread(target=bench.stop.set).start()
        with pytest.raises(Stopping):
            bench.fetch(BIG, Packing.RAW)
        for buffer in taken:
            buffer.release()


def test_nothing_starts_after_a_stop(bench: Bench) -> None:
    bench.stop.set()
    source = MemorySource(BIG)
    with pytest.raises(Stopping):
        bench.fetch(BIG, Packing.RAW, source=source)
    assert source.opened == []


def test_many_layers_of_all_kinds_share_few_buffers(bench: Bench, tmp_path: Path) -> None:
    engine, failures, threads = bench.engine, [], []

    def fetch(number: int, packing: Packing) -> None:
        into = tmp_path / f"layer-{number}"
        into.mkdir()
        data = PACK[packing](tarfile_of(FILES | {"n": bytes([number])}))
        blob = Blob(Digest.of(data), len(data), packing)
        try:
            engine.fetch(blob, MemorySource(data, step=10_000), into, progress=Progress(len(data)), stop=bench.stop)
        except BaseException as error:  # noqa: BLE001  the test shows them all
            failures.append(error)

    for number in range(12):
        thread = threading.Thread(target=fetch, args=(number, list(Packing)[number % len(Packing)]))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    assert failures == []
    assert all((tmp_path / f"layer-{n}/content").exists() for n in range(12))


def test_what_an_earlier_attempt_left_is_replaced(bench: Bench) -> None:
    bench.content.mkdir()
    (bench.content / "old").write_text("old")
    (bench.into / "skeleton").write_text("old")
    bench.fetch(tarfile_of({"new": b"new"}))
    assert bench.tree() == {"new": b"new"}
