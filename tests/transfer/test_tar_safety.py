"""Archives as an attacker would make them: nothing leads outside, nothing is written through a link."""

import errno
import os
import stat
from pathlib import Path

import pytest

from csi_driver.errors import DriverError
from csi_driver.oci.media import Packing
from tests.transfer.archives import (
    END,
    gnu_long,
    header,
    member,
    pax,
    tarfile_of,
)
from tests.transfer.conftest import Bench
from tests.transfer.test_resume import interrupt

GZIP, ZSTD = Packing.TAR_GZIP, Packing.TAR_ZSTD


# T5, T6, T7


@pytest.mark.parametrize("name", ["/abs", "../x", "a/../../x", "a/../b", "..", "a/..", "a\0b"])
def test_a_name_that_leads_outside_is_refused_wherever_it_is_written(bench: Bench, name: str) -> None:
    bench.refuses(pax(b"x", ("path", name)) + member("safe", b"x") + END)
    if "\0" not in name:
        bench.refuses(member(name, b"x") + END)
        bench.refuses(gnu_long(b"L", name.encode()) + member("safe", b"x") + END)
        bench.refuses(header(name, b"5") + END)
        bench.refuses(member("a", b"x") + header("l", b"1", target=name) + END)


def test_an_empty_name_is_refused(bench: Bench) -> None:
    bench.refuses(member("", b"x") + END)
    bench.refuses(member(".", b"x") + END)


def test_dots_within_a_name_are_only_dots(bench: Bench) -> None:
    bench.fetch(member("foo..bar", b"1") + member("..foo", b"2") + member("...", b"3") + END)
    assert bench.tree() == {"foo..bar": b"1", "..foo": b"2", "...": b"3"}


def test_dots_and_slashes_that_lead_nowhere_are_cleaned_away(bench: Bench) -> None:
    bench.fetch(header("./", b"5") + member("./a//b/./c", b"x") + END)
    assert bench.tree() == {"a": None, "a/b": None, "a/b/c": b"x"}


def test_a_component_of_255_bytes_fits_and_one_of_256_does_not(bench: Bench) -> None:
    bench.fetch(pax(b"x", ("path", "n" * 255)) + member("f", b"x") + END)
    bench.refuses(pax(b"x", ("path", "n" * 256)) + member("f", b"x") + END)
    bench.refuses(pax(b"x", ("path", "n/" * 3000 + "n")) + member("f", b"x") + END)


# T8, T9, T10, T11


@pytest.mark.parametrize("target", ["/etc/passwd", "../../x", "..", "", "a/../b", "a/../../x"])
def test_a_symbolic_link_that_could_lead_outside_is_refused(bench: Bench, target: str) -> None:
    bench.refuses(header("l", b"2", target=target) + END)


def test_nothing_is_written_through_a_symbolic_link(bench: Bench) -> None:
    bench.refuses(header("real", b"5") + header("d", b"2", target="real") + member("d/x", b"x") + END)
    bench.refuses(header("d", b"2", target="/tmp") + member("d/x", b"x") + END)


def test_chains_of_links_lead_nowhere_outside(bench: Bench) -> None:
    bench.refuses(header("a", b"2", target="b") + header("b", b"2", target="..") + END)
    bench.refuses(header("d/x", b"2", target="..") + header("y", b"2", target="d/x/..") + END)


def test_a_path_too_long_to_resolve_gains_nothing(bench: Bench) -> None:
    """CVE-2025-4517: directories with long names and links so short that resolving them overflows PATH_MAX."""
    entries, long, step = b"", "d" * 247, ""
    for letter in "abcdefghijklmnop":
        entries += pax(b"x", ("path", f"{step}{long}")) + header("d", b"5")
        entries += pax(b"x", ("path", f"{step}{letter}"), ("linkpath", long)) + header("l", b"2")
        step += f"{letter}/"
    bench.refuses(entries + END)


@pytest.mark.parametrize("first", [member("l", b"1"), header("l", b"2", target="m"), header("l", b"5")])
@pytest.mark.parametrize("second", [member("l", b"2"), header("l", b"2", target="m"), header("l", b"1", target="m")])
def test_a_second_entry_of_the_same_name_is_refused(bench: Bench, first: bytes, second: bytes) -> None:
    bench.refuses(member("m", b"m") + first + second + END, match="'l'")


def test_a_relative_symbolic_link_inside_is_kept(bench: Bench) -> None:
    bench.fetch(
        header("model.file", b"2", target="m/x.gguf")
        + member("m/x.gguf", b"x")
        + header("m/up", b"2", target="../m")
        + END
    )
    assert bench.tree() == {"model.file": "m/x.gguf", "m": None, "m/x.gguf": b"x", "m/up": "../m"}


# T12


def test_a_hard_link_to_an_earlier_file_is_the_same_file(bench: Bench) -> None:
    bench.fetch(member("a/f", b"x") + header("g", b"1", target="a/f", size=1) + END)
    assert bench.tree() == {"a": None, "a/f": b"x", "g": b"x"}
    assert (bench.content / "g").stat().st_ino == (bench.content / "a/f").stat().st_ino


@pytest.mark.parametrize("target", ["/etc/shadow", "../x", "later", "s", "d", "s/f", "f/f"])
def test_a_hard_link_to_anything_else_is_refused(bench: Bench, target: str) -> None:
    before = header("d", b"5") + member("f", b"x") + header("s", b"2", target="f")
    bench.refuses(before + header("l", b"1", target=target) + member("later", b"x") + END)


# T13


@pytest.mark.parametrize("kind", [b"3", b"4", b"6", b"Z", b"s", b"M", b"D"])
def test_devices_and_unknown_types_are_refused(bench: Bench, kind: bytes) -> None:
    bench.refuses(header("odd", kind) + END, match="odd")


def test_a_contiguous_file_is_a_file(bench: Bench) -> None:
    bench.fetch(member("f", b"x", kind=b"7") + END)
    assert bench.tree() == {"f": b"x"}


def test_a_volume_label_is_no_entry(bench: Bench) -> None:
    fetched = bench.fetch(header("label", b"V", magic=b"ustar  \0") + member("f", b"x") + END)
    assert bench.tree() == {"f": b"x"}
    assert fetched.entries == 1


# T14


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o4755, 0o555), (0o7777, 0o555), (0, 0o444), (0o600, 0o444), (0o700, 0o544)]
)
def test_files_are_readable_by_all_and_writable_by_none(bench: Bench, mode: int, expected: int) -> None:
    bench.fetch(member("f", b"x", mode=mode) + END)
    assert stat.S_IMODE((bench.content / "f").stat().st_mode) == expected


# T25, T26


def test_names_are_kept_byte_for_byte(bench: Bench) -> None:
    names = [
        "\xe9".encode("latin-1"),
        "é".encode(),
        "e\u0301".encode(),
        b"new\nline",
        b"back\\slash",
        b"-rf",
        "🤗".encode(),
    ]
    bench.fetch(b"".join(member(name, name) for name in names) + END)
    assert {name: Path(os.fsdecode(bench.content), os.fsdecode(name)).read_bytes() for name in names} == {
        n: n for n in names
    }
    assert sorted(os.listdir(os.fsencode(bench.content))) == sorted(names)


def test_extended_attributes_are_not_set(bench: Bench) -> None:
    capability = pax(b"x", ("SCHILY.xattr.security.capability", "all"), ("SCHILY.xattr.user.x", "y"))
    bench.fetch(capability + member("f", b"x") + END)
    assert os.listxattr(bench.content / "f") == []


def test_errors_of_every_kind_are_the_drivers_own(bench: Bench) -> None:
    for start in range(0, 2048, 37):
        damaged = bytearray(tarfile_of({"a/b": b"x" * 600, "c": b"y"}))
        damaged[start : start + 8] = b"\xff\x00\x80\x7f9 \n="
        try:
            bench.fetch(bytes(damaged))
        except DriverError:
            continue


def allow_names(patch: pytest.MonkeyPatch, most: int) -> None:
    """Be a filesystem on which a file has fewer names than on others, where it would take 65,000 to see this."""
    link = os.link  # noqa: TID251  so that it can be limited

    def limited(name: str, new: str, *, src_dir_fd: int, dst_dir_fd: int, follow_symlinks: bool) -> None:
        if os.stat(name, dir_fd=src_dir_fd).st_nlink >= most:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
        link(name, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks)

    patch.setattr(os, "link", limited)


def test_more_hard_links_than_the_filesystem_allows_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    allow_names(monkeypatch, 3)
    links = [header(f"l{number}", b"1", target="f") for number in range(3)]
    bench.refuses(member("f", b"x") + b"".join(links) + END, match="'l2' is one link more")
    bench.fetch(member("f", b"x") + b"".join(links[:2]) + END)


def test_the_names_that_an_earlier_attempt_made_stand_in_no_links_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = b"".join(header(f"l{number}", b"1", target="f") for number in range(3))
    archive = member("f", b"x") + links + member("big", bytes(300_000)) + END
    interrupt(bench, archive, Packing.TAR, after=200_000)
    allow_names(monkeypatch, 4)
    bench.fetch(archive)
    assert (bench.content / "l2").samefile(bench.content / "f")
