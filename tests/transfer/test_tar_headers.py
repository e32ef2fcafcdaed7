"""What headers of tar archives say, in every dialect."""

import os
import stat
import tarfile

import pytest

from csi_driver.errors import NoSpace
from csi_driver.oci.media import Packing
from tests.transfer.archives import (
    BLOCK,
    END,
    base256,
    gnu_long,
    gnu_tar,
    header,
    member,
    padded,
    pax,
    record,
    tarfile_of,
)
from tests.transfer.conftest import Bench

GZIP, ZSTD = Packing.TAR_GZIP, Packing.TAR_ZSTD


# T1


@pytest.mark.parametrize("padding", [0, BLOCK, 9216, 3 << 20])
def test_zeros_behind_the_end_marker_belong_to_the_blob(bench: Bench, padding: int) -> None:
    bench.fetch(member("w", b"weights") + END + bytes(padding))
    assert bench.tree() == {"w": b"weights"}


# T2


def test_an_archive_without_end_marker_is_accepted_with_a_note(bench: Bench) -> None:
    fetched = bench.fetch(member("w", b"weights"))
    assert bench.tree() == {"w": b"weights"}
    assert fetched.notes == ("the archive has no end marker",)


@pytest.mark.parametrize("size", [1, 100, BLOCK + 1, BLOCK + 700, BLOCK + 999, BLOCK + 1001, 3 * BLOCK - 1])
def test_a_truncated_archive_is_refused(bench: Bench, size: int) -> None:
    bench.refuses(member("w", bytes(1000))[:size])


def test_an_archive_that_ends_with_the_last_byte_of_its_last_file_is_accepted_and_proved(bench: Bench) -> None:
    fetched = bench.fetch(member("a", b"a" * 700) + header("b", size=22) + b"b" * 22)
    assert bench.tree() == {"a": b"a" * 700, "b": b"b" * 22}
    assert any("end" in note for note in fetched.notes)


def test_an_archive_that_ends_behind_an_extended_header_is_refused(bench: Bench) -> None:
    bench.refuses(pax(b"x", ("path", "w")), match="extended header")
    bench.refuses(pax(b"x", ("path", "w")) + END, match="extended header")


# T3


def test_a_damaged_second_header_is_refused(bench: Bench) -> None:
    bench.refuses(member("a", b"a") + b"1" * BLOCK + END, match="checksum")


def test_a_checksum_that_is_wrong_by_the_modulus_of_adler_32_is_wrong(bench: Bench) -> None:
    full = header("w", target=b"\xff" * 100, prefix=b"\xff" * 155, magic=b"ustar  \0")
    assert int(full[148:154], 8) > 65521
    less = b"%06o" % (int(full[148:154], 8) - 65521)
    bench.refuses(full[:148] + less + full[154:] + END, match="checksum")
    bench.fetch(full + END)
    assert bench.tree() == {"w": b""}


def test_anything_but_zeros_behind_the_end_marker_is_refused(bench: Bench) -> None:
    bench.refuses(member("a", b"a") + END + member("b", b"b") + END, match="behind the end")
    bench.refuses(member("a", b"a") + bytes(BLOCK) + b"x" + bytes(BLOCK - 1), match="behind the end")


# T4


def test_a_pax_path_and_size_and_time_count_more_than_the_header(bench: Bench) -> None:
    records = pax(b"x", ("path", "dir/é"), ("size", "5"), ("mtime", "1700000000.123456789"))
    bench.fetch(records + header("short", size=0) + padded(b"hello") + END)
    assert bench.tree() == {"dir": None, "dir/é": b"hello"}
    assert (bench.content / "dir/é").stat().st_mtime_ns == 1_700_000_000_123_456_789


def test_the_last_of_several_pax_records_counts_and_an_empty_one_takes_it_back(bench: Bench) -> None:
    several = pax(b"x", ("path", "one"), ("path", "two")) + pax(b"x", ("path", "three"))
    taken_back = pax(b"x", ("path", "other"), ("path", ""))
    bench.fetch(several + member("a", b"3") + taken_back + member("b", b"b") + END)
    assert bench.tree() == {"three": b"3", "b": b"b"}


def test_a_global_pax_header_holds_for_all_that_follow_unless_they_say_otherwise(bench: Bench) -> None:
    globally = pax(b"g", ("mtime", "1600000000"), ("comment", "by git archive"))
    bench.fetch(globally + member("a") + pax(b"x", ("mtime", "1500000000")) + member("b") + member("c") + END)
    times = {name: (bench.content / name).stat().st_mtime for name in "abc"}
    assert times == {"a": 1_600_000_000, "b": 1_500_000_000, "c": 1_600_000_000}


def test_a_long_gnu_name_is_read(bench: Bench) -> None:
    name = "d" * 90 + "/" + "f" * 90
    bench.fetch(gnu_long(b"L", name.encode()) + member(name[:100], b"x") + END)
    assert bench.tree() == {"d" * 90: None, name: b"x"}


def test_a_long_gnu_link_is_read(bench: Bench) -> None:
    target = "t" * 120
    link = gnu_long(b"K", target.encode()) + header("l", b"2", target=target[:100])
    bench.fetch(gnu_long(b"L", target.encode()) + member("t", b"x") + link + END)
    assert bench.tree() == {target: b"x", "l": target}


def test_the_ustar_prefix_goes_in_front_of_the_name(bench: Bench) -> None:
    bench.fetch(member("f", b"x", prefix=b"some/prefix") + END)
    assert bench.tree() == {"some": None, "some/prefix": None, "some/prefix/f": b"x"}


def test_a_star_header_keeps_times_behind_its_prefix(bench: Bench) -> None:
    fields = {476: b"14000000000\0" * 2, 508: b"tar\0"}
    bench.fetch(member("f", b"x", prefix=b"p", fields=fields) + END)
    assert bench.tree() == {"p": None, "p/f": b"x"}


def test_a_v7_header_has_no_magic_and_marks_directories_by_a_slash(bench: Bench) -> None:
    bench.fetch(
        header("d/", b"\0", magic=bytes(8)) + member("d/f", b"x", kind=b"\0", magic=bytes(8), prefix=b"ignored") + END
    )
    assert bench.tree() == {"d": None, "d/f": b"x"}


def test_a_gnu_header_has_no_prefix(bench: Bench) -> None:
    bench.fetch(member("f", b"x", magic=b"ustar  \0", fields={345: b"14000000000\0"}) + END)
    assert bench.tree() == {"f": b"x"}


def test_numbers_may_be_in_base_256(bench: Bench) -> None:
    fields = {108: base256(1 << 40, 8), 116: base256(1 << 40, 8)}
    bench.fetch(
        header("f", size=base256(5, 12), mtime=base256(1_700_000_001, 12), fields=fields) + padded(b"hello") + END
    )
    assert bench.tree() == {"f": b"hello"}
    assert (bench.content / "f").stat().st_mtime == 1_700_000_001


@pytest.mark.parametrize("mtime", [b"\xff" * 12, base256(1 << 80, 12), -1])
def test_a_time_nobody_meant_becomes_the_epoch(bench: Bench, mtime: int | bytes) -> None:
    entry = pax(b"x", ("mtime", "-1.5")) + member("f", b"x") if mtime == -1 else member("f", b"x", mtime=mtime)
    bench.fetch(entry + END)
    assert (bench.content / "f").stat().st_mtime == 0


def test_a_checksum_may_be_of_signed_bytes(bench: Bench) -> None:
    block = bytearray(header(b"f\xc3\xa9"))
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(byte - 256 if byte > 127 else byte for byte in block)
    bench.fetch(bytes(block) + END)
    assert bench.tree() == {"fé": b""}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_python_writes_is_read(bench: Bench, form: int) -> None:
    long = "/".join(["directory" * 5] * 3) + "/file"
    bench.fetch(tarfile_of({"a": b"1", long: b"2", "empty": b""}, form=form))
    assert {name: data for name, data in bench.tree().items() if data is not None} == {
        "a": b"1",
        long: b"2",
        "empty": b"",
    }


@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_what_gnu_tar_writes_is_read(bench: Bench, tmp_path_factory: pytest.TempPathFactory, form: str) -> None:
    source = tmp_path_factory.mktemp("source")
    (source / "models/deep").mkdir(parents=True)
    (source / "models/deep/w.bin").write_bytes(os.urandom(1_500_000))
    (source / "models/x").write_bytes(b"")
    (source / "models/l").symlink_to("deep/w.bin")
    (source / "models/y").hardlink_to(source / "models/x")
    if form != "v7":
        (source / "models" / ("n" * 150)).write_bytes(b"long") if form != "ustar" else None
    bench.fetch(gnu_tar(source, f"--format={form}"))
    expected = {str(p.relative_to(source)): p for p in source.rglob("*")}
    found = {str(p.relative_to(bench.content)): p for p in bench.content.rglob("*")}
    assert found.keys() == expected.keys()
    for name, path in expected.items():
        assert found[name].is_symlink() == path.is_symlink()
        assert int(found[name].lstat().st_mtime) == int(path.lstat().st_mtime)
        assert path.is_dir() or found[name].read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense",
        b"7 path=x",
        b"99999 path=x\n",
        b"0 path=x\n",
        b"-1 path=x\n",
        b"9 pathx=\n\n",
        b"9 nothing\n",
        b"6 =xx\n",
        record(b"size", b"-5"),
        record(b"size", b"5x"),
        record(b"mtime", b"soon"),
    ],
)
def test_a_broken_pax_header_is_refused(bench: Bench, data: bytes) -> None:
    bench.refuses(header("x", b"x", size=len(data)) + padded(data) + member("f") + END, match="pax")


@pytest.mark.parametrize("size", [b"\xff" * 12, b"12345678901z", b"0x10\0", b"0o10\0", b"+10\0", b"1_0\0", b"10 0\0"])
def test_a_broken_size_is_refused(bench: Bench, size: bytes) -> None:
    bench.refuses(header("f", size=size) + END)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_an_extended_header_must_fit_into_memory(bench: Bench, kind: bytes) -> None:
    with pytest.raises(NoSpace, match="extended headers"):
        bench.fetch(header("f", kind, size=200 << 20) + bytes(1 << 20))
    with pytest.raises(NoSpace, match="extended headers"):
        bench.fetch(pax(kind, ("comment", "c" * 5000)) * 300)


# T17


def test_directories_are_made_when_missing_and_read_only_at_the_end(bench: Bench) -> None:
    bench.fetch(member("a/b/f", b"x") + header("a/b/", b"5", mode=0o500, mtime=1_600_000_000) + END)
    assert {
        stat.S_IMODE(path.stat().st_mode) for path in (bench.content, bench.content / "a", bench.content / "a/b")
    } == {0o555}
    assert (bench.content / "a/b").stat().st_mtime == 1_600_000_000
