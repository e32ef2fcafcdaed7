"""A transfer that ended early is not begun again: what had arrived is on the disk, and is used if it is still true."""

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from csi_driver.errors import AccessDenied, ContentMismatch, Stopping, Unavailable, UnsupportedArtifact
from csi_driver.oci.digest import Digest
from csi_driver.oci.media import Packing
from csi_driver.transfer.buffers import BufferPool
from csi_driver.transfer.journal import Checkpoint, Journal, read_journal
from csi_driver.transfer.proof import prove_tree
from csi_driver.transfer.source import Blob
from tests.fixtures.badblocks import spoil
from tests.transfer.archives import END, gzipped, header, member, pax, zstd
from tests.transfer.conftest import SMALL, Bench
from tests.transfer.sources import MemorySource

DATA = os.urandom(3_000_000)
FILES = {f"f{number}": os.urandom(150_000) for number in range(20)} | {"big": os.urandom((1 << 20) + 17)}
ARCHIVE = b"".join(member(name, data) for name, data in FILES.items()) + END


def interrupt(bench: Bench, data: bytes, packing: Packing, *, after: int) -> None:
    """Fetch some of the data, until the registry will not give any more."""
    source = MemorySource(data).breaking_after(after)

    def refuse_the_next(sent: int) -> None:
        if sent:
            source.refusing(AccessDenied("enough"))

    with pytest.raises(AccessDenied):
        bench.fetch(data, packing, source=source.calling(refuse_the_next))


def damage(path: Path, position: int) -> None:
    path.chmod(0o600)
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)
        file.seek(position)
        file.write(bytes([byte[0] ^ 1]))


def test_a_raw_blob_goes_on_where_it_broke_off(bench: Bench) -> None:
    interrupt(bench, DATA, Packing.RAW, after=2_000_000)
    source = MemorySource(DATA)
    fetched = bench.fetch(DATA, Packing.RAW, source=source)
    resumed = 2_000_000 // SMALL * SMALL
    assert fetched.resumed == resumed
    assert source.opened == [(resumed, len(DATA))]
    assert bench.content.read_bytes() == DATA
    assert bench.progress.fetched == len(DATA)
    assert sorted(path.name for path in bench.into.iterdir()) == ["content", "journal"]
    assert stat.S_IMODE(bench.content.stat().st_mode) == 0o444


@pytest.mark.parametrize("times", [0.5, 3, 7.25])
def test_a_raw_blob_goes_on_though_buffers_had_another_size_then(bench: Bench, times: float) -> None:
    """In a driver of another version."""
    now, bench.arriving = bench.arriving, BufferPool(count=6, size=int(times * SMALL))
    interrupt(bench, DATA, Packing.RAW, after=2_500_000)
    bench.arriving = now
    damage(bench.content, 2_200_000)
    assert 1_600_000 < bench.fetch(DATA, Packing.RAW).resumed <= 2_200_000
    assert bench.content.read_bytes() == DATA


def test_a_raw_blob_may_break_off_many_times(bench: Bench) -> None:
    for after in (300_000, 700_000, 200_000, 500_000):
        interrupt(bench, DATA, Packing.RAW, after=after)
    fetched = bench.fetch(DATA, Packing.RAW)
    assert fetched.resumed > 1_500_000
    assert bench.content.read_bytes() == DATA


def test_a_raw_blob_that_had_arrived_whole_is_only_read_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "chmod", _no_space)
        with pytest.raises(OSError, match="here"):
            bench.fetch(DATA, Packing.RAW)
    source = MemorySource(DATA)
    assert bench.fetch(DATA, Packing.RAW, source=source).resumed == len(DATA)
    assert source.opened == []


@pytest.mark.parametrize(
    ("packing", "data"),
    [(Packing.RAW, DATA), (Packing.TAR, ARCHIVE), (Packing.TAR, member("small", b"a few bytes") + END)],
    ids=["raw", "tar", "small tar"],
)
def test_a_layer_that_nobody_lived_to_take_is_not_fetched_again(bench: Bench, packing: Packing, data: bytes) -> None:
    bench.fetch(data, packing)
    for _ in range(2):
        source = MemorySource(data)
        assert bench.fetch(data, packing, source=source).resumed == len(data)
        assert source.opened == []
        assert not (bench.into / "previous").exists()
    if packing is Packing.RAW:
        assert bench.content.read_bytes() == data
    else:
        prove_tree(bench.content, bench.into / "skeleton", Digest.of(data), pace=lambda _: bench.stop.check())


@pytest.mark.parametrize("moved", [0, 1, 2, 3])
def test_a_tar_layer_goes_on_though_the_attempt_to_go_on_was_killed_at_once(bench: Bench, moved: int) -> None:
    interrupt(bench, ARCHIVE, Packing.TAR, after=2_000_000)
    (bench.into / "previous").mkdir()
    for name in ("content", "skeleton", "journal")[:moved]:
        (bench.into / name).rename(bench.into / "previous" / name)
    assert bench.fetch(ARCHIVE).resumed > 1_700_000
    assert bench.tree() == FILES


def test_a_later_attempt_counts_though_the_one_before_was_not_yet_removed(bench: Bench) -> None:
    interrupt(bench, ARCHIVE, Packing.TAR, after=1_000_000)
    (bench.into / "content").rename(bench.into / "kept")
    (bench.into / "kept" / "f19").write_bytes(b"left when its removal was interrupted")
    bench.fetch(ARCHIVE)
    (bench.into / "previous").mkdir()
    (bench.into / "kept").rename(bench.into / "previous" / "content")
    assert bench.fetch(ARCHIVE).resumed == len(ARCHIVE)
    assert bench.tree() == FILES


def _no_space(*_: object) -> None:
    raise OSError("no further than here")


def test_a_server_without_ranges_is_heard_out_when_a_blob_goes_on(bench: Bench) -> None:
    interrupt(bench, DATA, Packing.RAW, after=2_000_000)
    source = MemorySource(DATA, ranges=False)
    assert bench.fetch(DATA, Packing.RAW, source=source).resumed > 0
    assert bench.content.read_bytes() == DATA


@pytest.mark.parametrize("position", [0, SMALL - 1, 10 * SMALL + 5, 29 * SMALL])
def test_a_raw_blob_goes_on_before_the_first_damage(bench: Bench, position: int) -> None:
    interrupt(bench, DATA, Packing.RAW, after=2_000_000)
    damage(bench.content, position)
    assert bench.fetch(DATA, Packing.RAW).resumed == position // SMALL * SMALL
    assert bench.content.read_bytes() == DATA


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text.replace("journal 1", "journal 2"),
        lambda text: text.replace("3000000", "3000001"),
        lambda text: text.replace("raw", "tar"),
        lambda text: text.split("\n")[0] + "\n",
        lambda text: text.split("\n")[0] + "\nnonsense\n" + text,
        lambda text: text.split("\n")[0] + f"\n{2 << 20} 00000000\n",
        lambda text: text.split("\n")[0] + "\n99999999 00000000\n",
    ],
)
def test_a_journal_that_says_nothing_useful_means_a_new_beginning(bench: Bench, spoil: Callable[[str], str]) -> None:
    interrupt(bench, DATA, Packing.RAW, after=2_000_000)
    journal = bench.into / "journal"
    journal.write_text(spoil(journal.read_text()))
    assert bench.fetch(DATA, Packing.RAW).resumed == 0
    assert bench.content.read_bytes() == DATA


def test_a_journal_that_the_disk_cannot_read_means_a_new_beginning(bench: Bench) -> None:
    interrupt(bench, DATA, Packing.RAW, after=2_000_000)
    spoil(bench.into / "journal")
    assert bench.fetch(DATA, Packing.RAW).resumed == 0
    assert bench.content.read_bytes() == DATA


def test_a_journal_without_its_file_means_a_new_beginning(bench: Bench) -> None:
    interrupt(bench, DATA, Packing.RAW, after=2_000_000)
    bench.content.unlink()
    assert bench.fetch(DATA, Packing.RAW).resumed == 0


def test_a_line_cut_short_does_not_count_and_a_later_line_takes_back_earlier_ones(tmp_path: Path) -> None:
    blob = Blob(Digest.of(b""), 1000, Packing.RAW)
    path = tmp_path / "journal"
    path.write_text(f"model-csi journal 1 {blob.digest} 1000 raw\n1 0000000a\n2 0000000b\n3 0000000c\n2 0000000d\n4 00")
    assert read_journal(path, blob) == (Checkpoint(1, 10), Checkpoint(2, 13))


@pytest.mark.parametrize("half", ["30", "3 0000", "\0\0\0\0", "nonsense\n4 00000001\n"])
def test_what_cannot_be_read_of_a_journal_does_not_spoil_what_is_written_behind_it(tmp_path: Path, half: str) -> None:
    blob = Blob(Digest.of(b""), 1000, Packing.RAW)
    path = tmp_path / "journal"
    with Journal(path, blob) as journal:
        journal.mark(Checkpoint(1, 10))
    with path.open("a") as file:
        file.write(half)  # as a full disk or a power cut leaves it
    with Journal(path, blob) as journal:
        journal.mark(Checkpoint(2, 11))
    assert read_journal(path, blob) == (Checkpoint(1, 10), Checkpoint(2, 11))


def test_a_content_that_turns_out_wrong_is_not_gone_on_with(bench: Bench) -> None:
    wrong = b"x" + DATA[1:]
    source = MemorySource(wrong).breaking_after(2_000_000, *[0] * 9)
    with pytest.raises(Unavailable):
        bench.fetch(DATA, Packing.RAW, source=source)
    with pytest.raises(ContentMismatch):
        bench.fetch(DATA, Packing.RAW)
    assert list(bench.into.iterdir()) == []
    assert bench.fetch(DATA, Packing.RAW).resumed == 0


def test_a_stop_keeps_what_had_arrived(bench: Bench) -> None:
    source = MemorySource(DATA, step=50_000)
    source.calling(lambda sent: bench.stop.set() if sent > 2_000_000 else None)
    with pytest.raises(Stopping):
        bench.fetch(DATA, Packing.RAW, source=source)
    bench.stop = type(bench.stop)()
    assert bench.fetch(DATA, Packing.RAW).resumed > 1_000_000
    assert bench.content.read_bytes() == DATA


def test_a_tar_layer_goes_on_behind_its_last_whole_entry(bench: Bench) -> None:
    interrupt(bench, ARCHIVE, Packing.TAR, after=2_000_000)
    kept = (bench.content / "f3").stat().st_ino
    source = MemorySource(ARCHIVE)
    fetched = bench.fetch(ARCHIVE, source=source)
    assert 1_700_000 < fetched.resumed < 2_000_000
    assert source.opened == [(fetched.resumed, len(ARCHIVE))]
    assert bench.tree() == FILES
    assert (bench.content / "f3").stat().st_ino == kept
    assert (bench.content / "f3").stat().st_nlink == 1
    assert sorted(path.name for path in bench.into.iterdir()) == ["content", "journal", "skeleton"]
    assert bench.progress.fetched == len(ARCHIVE)
    prove_tree(bench.content, bench.into / "skeleton", Digest.of(ARCHIVE), pace=lambda _: bench.stop.check())


def test_a_tar_layer_may_break_off_many_times(bench: Bench) -> None:
    for after in (600_000, 100, 700_000, 100, 1_000_000):
        interrupt(bench, ARCHIVE, Packing.TAR, after=after)
    assert bench.fetch(ARCHIVE).resumed > 1_500_000
    assert bench.tree() == FILES
    assert sorted(path.name for path in bench.into.iterdir()) == ["content", "journal", "skeleton"]


def test_all_that_was_said_before_the_break_holds_behind_it(bench: Bench) -> None:
    before = pax(b"g", ("mtime", "1500000000")) + header("d/", b"5") + member("a/f", DATA[:300_000], mode=0o755)
    before += header("l", b"2", target="a/f") + header("h", b"1", target="a/f") + member("b", DATA[:300_000])
    archive = before + member("last", b"last") + header("h2", b"1", target="a/f") + END + bytes(2 * SMALL)
    interrupt(bench, archive, Packing.TAR, after=len(before) + SMALL)
    assert bench.fetch(archive).resumed >= len(before)
    assert bench.tree() == {
        "d": None,
        "a": None,
        "a/f": DATA[:300_000],
        "l": "a/f",
        "h": DATA[:300_000],
        "b": DATA[:300_000],
        "last": b"last",
        "h2": DATA[:300_000],
    }
    assert (bench.content / "last").stat().st_mtime == 1_500_000_000
    assert stat.S_IMODE((bench.content / "a/f").stat().st_mode) == 0o555
    assert (bench.content / "a/f").stat().st_nlink == 3


def test_a_second_entry_of_the_same_name_is_refused_across_a_break(bench: Bench) -> None:
    before = member("same", DATA[:300_000])
    archive = before + member("same", b"other") + END + bytes(2 * SMALL)
    interrupt(bench, archive, Packing.TAR, after=len(before) + SMALL)
    with pytest.raises(UnsupportedArtifact, match="same"):
        bench.fetch(archive)
    assert list(bench.into.iterdir()) == []


@pytest.mark.parametrize("name", ["f0", "f5"])
def test_a_damaged_file_of_an_unfinished_tree_means_a_new_beginning(bench: Bench, name: str) -> None:
    interrupt(bench, ARCHIVE, Packing.TAR, after=2_000_000)
    damage(bench.content / name, 100)
    assert bench.fetch(ARCHIVE).resumed == 0
    assert bench.tree() == FILES
    assert bench.progress.fetched == len(ARCHIVE)


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"!"), lambda path: path.chmod(0o600)])
def test_a_file_without_bytes_is_looked_at_before_it_is_kept(bench: Bench, spoil: Callable[[Path], object]) -> None:
    archive = member("empty") + ARCHIVE
    interrupt(bench, archive, Packing.TAR, after=2_000_000)
    (bench.content / "empty").chmod(0o644)
    spoil(bench.content / "empty")
    assert bench.fetch(archive).resumed == 0
    assert bench.tree() == FILES | {"empty": b""}
    assert stat.S_IMODE((bench.content / "empty").stat().st_mode) == 0o444


@pytest.mark.parametrize("name", ["content/f5", "skeleton", "journal"])
def test_a_missing_part_of_an_unfinished_tree_means_a_new_beginning(bench: Bench, name: str) -> None:
    interrupt(bench, ARCHIVE, Packing.TAR, after=2_000_000)
    (bench.into / name).unlink()
    assert bench.fetch(ARCHIVE).resumed == 0
    assert bench.tree() == FILES


def test_a_skeleton_cut_short_means_a_new_beginning(bench: Bench) -> None:
    interrupt(bench, ARCHIVE, Packing.TAR, after=2_000_000)
    os.truncate(bench.into / "skeleton", 60)
    assert bench.fetch(ARCHIVE).resumed == 0
    assert bench.tree() == FILES


@pytest.mark.parametrize(("packing", "pack"), [(Packing.TAR_GZIP, gzipped), (Packing.TAR_ZSTD, zstd)])
def test_a_compressed_layer_begins_anew(bench: Bench, packing: Packing, pack: Callable[[bytes], bytes]) -> None:
    interrupt(bench, pack(ARCHIVE), packing, after=2_000_000)
    assert list(bench.into.iterdir()) == []
    assert bench.fetch(pack(ARCHIVE), packing).resumed == 0


KILLED = """
import sys, time
from pathlib import Path
from csi_driver.oci.media import Packing
from tests.transfer.conftest import Bench
from tests.transfer.sources import MemorySource

data = Path(sys.argv[1]).read_bytes()
def hang(sent):
    if sent >= 2_500_000:
        print("here", flush=True)
        time.sleep(3600)
Bench(Path(sys.argv[2])).fetch(data, Packing(sys.argv[3]), source=MemorySource(data, step=50_000).calling(hang))
"""


@pytest.mark.parametrize(("packing", "data"), [(Packing.RAW, DATA), (Packing.TAR, ARCHIVE)])
def test_a_driver_that_is_killed_loses_next_to_nothing(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory, packing: Packing, data: bytes
) -> None:
    blob = tmp_path_factory.mktemp("blob") / "blob"
    blob.write_bytes(data)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(blob), str(bench.into), packing.value], stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        process.send_signal(signal.SIGKILL)
    assert bench.fetch(data, packing).resumed > 1_700_000
    assert packing is Packing.RAW or bench.tree() == FILES
    assert packing is not Packing.RAW or bench.content.read_bytes() == DATA


@pytest.mark.parametrize(("packing", "data"), [(Packing.RAW, DATA), (Packing.TAR, ARCHIVE)])
def test_what_the_disk_would_not_take_is_not_gone_on_with(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, packing: Packing, data: bytes
) -> None:
    """The page cache still has it, and the next sync would succeed without it (fsync(2), "EIO")."""

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            bench.fetch(data, packing)
    assert list(bench.into.iterdir()) == []
    assert bench.fetch(data, packing).resumed == 0
