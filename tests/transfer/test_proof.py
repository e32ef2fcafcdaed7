"""A layer on the disk can be proved to be what its digest names, long after its blob is gone."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csi_driver.errors import ContentMismatch, Stopping
from csi_driver.oci.digest import Digest
from csi_driver.oci.media import Packing
from csi_driver.transfer.proof import prove_file, prove_tree
from tests.transfer.archives import END, gnu_tar, gzipped, header, member, pax, zstd
from tests.transfer.conftest import Bench
from tests.transfer.test_fetch import BIG
from tests.transfer.test_resume import damage
from tests.transfer.test_tar_property import Node, archive_of, trees
from tests.transfer.test_tar_sparse import sparse_files

ARCHIVE = member("d/f", BIG) + header("d/e", b"5") + header("l", b"2", target="d/f") + member("s", b"small") + END


def prove(bench: Bench, blob: bytes) -> None:
    prove_tree(bench.content, bench.into / "skeleton", Digest.of(blob), pace=lambda _: bench.stop.check())


@pytest.mark.parametrize(
    "archive", [ARCHIVE, ARCHIVE + bytes(100_000), b"", END, member("no end", b"x"), member("no padding", b"x")[:513]]
)
def test_an_untouched_tree_is_proved(bench: Bench, archive: bytes) -> None:
    bench.fetch(archive)
    prove(bench, archive)
    assert (bench.into / "skeleton").stat().st_size < 600


@pytest.mark.parametrize(("packing", "pack"), [(Packing.TAR_GZIP, gzipped), (Packing.TAR_ZSTD, zstd)])
def test_an_untouched_tree_of_a_compressed_layer_is_proved(
    bench: Bench, packing: Packing, pack: Callable[[bytes], bytes]
) -> None:
    bench.fetch(pack(ARCHIVE), packing)
    prove(bench, pack(ARCHIVE))
    damage(bench.content / "d/f", 2_000_000)
    with pytest.raises(ContentMismatch):
        prove(bench, pack(ARCHIVE))


def test_a_layer_whose_media_type_was_wrong_is_proved(bench: Bench) -> None:
    bench.fetch(zstd(ARCHIVE), Packing.TAR)
    prove(bench, zstd(ARCHIVE))


@pytest.mark.parametrize("form", sparse_files())
def test_a_sparse_file_is_proved(bench: Bench, form: str) -> None:
    archive = sparse_files()[form] + END
    bench.fetch(archive)
    prove(bench, archive)
    damage(bench.content / "f", 1 << 20)
    with pytest.raises(ContentMismatch):
        prove(bench, archive)


def test_names_of_any_bytes_are_proved(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> None:
    archive = member(b"\xff\xfe", b"1") + pax(b"x", ("path", "é" * 100)) + member("f", b"2") + END
    bench.fetch(archive)
    prove(bench, archive)


@pytest.mark.parametrize("name", ["d/f", "s"])
@pytest.mark.parametrize("change", ["flip", "grow", "shrink", "remove", "link", "directory", "fifo"])
def test_a_changed_file_is_noticed(bench: Bench, name: str, change: str) -> None:
    bench.fetch(ARCHIVE)
    path = bench.content / name
    path.parent.chmod(0o755)
    path.chmod(0o644)
    data = path.read_bytes()
    path.unlink()
    match change:
        case "flip":
            path.write_bytes(b"x" + data[1:])
        case "grow":
            path.write_bytes(data + b"x")
        case "shrink":
            path.write_bytes(data[:-1])
        case "link":
            path.symlink_to("/dev/zero")
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
    with pytest.raises(ContentMismatch):
        prove(bench, ARCHIVE)


@pytest.mark.parametrize(
    "spoil", [b"", b"no skeleton\n", b"model-csi skeleton 2 tar\n", b"model-csi skeleton 1 raw+\n"]
)
def test_a_skeleton_that_is_none_proves_nothing(bench: Bench, spoil: bytes) -> None:
    bench.fetch(ARCHIVE)
    skeleton = bench.into / "skeleton"
    skeleton.write_bytes(spoil)
    with pytest.raises(ContentMismatch, match="skeleton"):
        prove(bench, ARCHIVE)


def test_a_skeleton_that_is_damaged_or_cut_short_proves_nothing(bench: Bench) -> None:
    bench.fetch(ARCHIVE)
    skeleton = bench.into / "skeleton"
    whole = skeleton.read_bytes()
    for size in range(len(whole)):
        skeleton.write_bytes(whole[:size])
        with pytest.raises(ContentMismatch):
            prove(bench, ARCHIVE)
        skeleton.write_bytes(whole[:size] + bytes([whole[size] ^ 0x55]) + whole[size + 1 :])
        with suppress(ContentMismatch):  # not every bit of a zstd frame means something
            prove(bench, ARCHIVE)


def test_a_proof_ends_with_the_driver(bench: Bench) -> None:
    bench.fetch(ARCHIVE)
    bench.stop.set()
    with pytest.raises(Stopping):
        prove(bench, ARCHIVE)


def test_a_file_is_proved_by_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BIG)
    path.chmod(0o444)
    prove_file(path, Digest.of(BIG), pace=lambda _: None)
    prove_file(path, Digest.of(BIG, "sha512"), pace=lambda _: None)
    os.truncate(path, len(BIG) - 1)
    with pytest.raises(ContentMismatch, match="has become"):
        prove_file(path, Digest.of(BIG), pace=lambda _: None)


@pytest.mark.parametrize("change", ["writable", "executable", "link", "directory", "missing", "fifo"])
def test_a_file_that_is_not_what_it_was_is_noticed_without_its_content(tmp_path: Path, change: str) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    for each in (path, other):
        each.write_bytes(BIG)
        each.chmod(0o555)
    prove_file(path, Digest.of(BIG), pace=lambda _: None)
    match change:
        case "writable":
            path.chmod(0o755)
        case "executable":
            path.chmod(0o444 | 0o4111)
        case _:
            path.unlink()
    match change:
        case "link":
            path.symlink_to(other)
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path, 0o444)
    with pytest.raises(ContentMismatch):
        prove_file(path, Digest.of(BIG), pace=lambda _: None)


def test_a_proof_tells_how_much_it_has_read(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> None:
    read: list[int] = []
    path = tmp_path_factory.mktemp("raw") / "file"
    path.write_bytes(BIG)
    path.chmod(0o444)
    prove_file(path, Digest.of(BIG), pace=read.append)
    assert sum(read) == len(BIG)
    read.clear()
    bench.fetch(ARCHIVE)
    prove_tree(bench.content, bench.into / "skeleton", Digest.of(ARCHIVE), pace=read.append)
    assert sum(read) == len(ARCHIVE)


@pytest.mark.parametrize("packing", [Packing.TAR, Packing.TAR_GZIP])
@pytest.mark.parametrize("change", ["mode", "directory mode", "link", "hard link", "more", "no link", "no directory"])
def test_a_tree_whose_names_modes_or_links_changed_is_noticed(bench: Bench, packing: Packing, change: str) -> None:
    archive = (
        header("empty", b"5") + member("d/f", b"x") + header("l", b"2", target="d/f") + header("h", b"1", target="d/f")
        + END
    )  # fmt: skip
    blob = archive if packing is Packing.TAR else gzipped(archive)
    bench.fetch(blob, packing)
    prove(bench, blob)
    tree = bench.content
    for directory in (tree, tree / "d"):
        directory.chmod(0o755)
    match change:
        case "mode":
            (tree / "d/f").chmod(0o644)
        case "link":
            (tree / "l").unlink()
            (tree / "l").symlink_to("/etc/passwd")
        case "hard link":
            (tree / "h").unlink()
            (tree / "h").write_bytes(b"x")
            (tree / "h").chmod(0o444)
        case "more":
            (tree / "more").touch()
        case "no link":
            (tree / "l").unlink()
        case "no directory":
            (tree / "empty").rmdir()
    if change != "directory mode":
        (tree / "d").chmod(0o555)
    tree.chmod(0o555)
    with pytest.raises(ContentMismatch):
        prove(bench, blob)


def test_what_gnu_tar_packs_is_proved(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = tmp_path_factory.mktemp("source")
    for number in range(200):
        (source / f"{number}").write_bytes(os.urandom(number * 50))
    archive = gnu_tar(source)
    bench.fetch(archive)
    prove(bench, archive)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees, form=st.integers(0, 2))
def test_every_tree_is_proved(tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Node], form: int) -> None:
    archive = archive_of(tree, form)
    if archive is not None:
        bench = Bench(tmp_path_factory.mktemp("into"))
        bench.fetch(archive)
        prove(bench, archive)
