"""A part of an archive is unpacked as if the rest were not there."""

import pytest

from csi_driver.errors import ContentMismatch, UnsupportedArtifact
from csi_driver.oci.digest import Digest
from csi_driver.oci.media import Packing
from csi_driver.oci.part import NotInPart, Subtree
from csi_driver.transfer.proof import prove_tree
from csi_driver.transfer.skeleton import gives_back_the_blob
from tests.transfer.archives import END, gzipped, header, member, pax, zstd
from tests.transfer.conftest import Bench
from tests.transfer.test_fetch import BIG
from tests.transfer.test_resume import damage
from tests.transfer.test_tar_sparse import sparse_files

MODELS = Subtree("models")
SYSTEM = (
    header("dev/null", b"3")
    + header("dev/pipe", b"6")
    + header("bin", b"2", target="/usr/bin")
    + member("etc/passwd", b"root")
    + header("etc/shadow", b"1", target="/nowhere")
    + member("strange", b"payload", kind=b"Z")
    + member("big", BIG[:70_000])
)


def fetch(bench: Bench, archive: bytes, packing: Packing = Packing.TAR) -> None:
    bench.part = MODELS
    bench.fetch(archive, packing)
    prove(bench, archive)


def prove(bench: Bench, archive: bytes) -> None:
    prove_tree(bench.content, bench.into / "skeleton", Digest.of(archive), pace=lambda _: None)


@pytest.mark.parametrize(
    ("packing", "pack"), [(Packing.TAR, bytes), (Packing.TAR_GZIP, gzipped), (Packing.TAR_ZSTD, zstd)]
)
def test_only_the_directory_is_kept_and_nothing_else_is_judged(
    bench: Bench, packing: Packing, pack: "type[bytes]"
) -> None:
    archive = SYSTEM + member("models/w.bin", BIG) + member("models/d/c.json", b"{}") + SYSTEM + END
    fetch(bench, pack(archive), packing)
    assert bench.tree() == {
        "dev": None,
        "etc": None,
        "models": None,
        "models/w.bin": BIG,
        "models/d": None,
        "models/d/c.json": b"{}",
    }
    assert not gives_back_the_blob(bench.into / "skeleton")
    damage(bench.content / "models/w.bin", 2_000_000)
    with pytest.raises(ContentMismatch):
        prove(bench, archive)


def test_sparse_files_elsewhere_are_passed_over(bench: Bench) -> None:
    for archive in sparse_files().values():
        fetch(bench, archive + member("models/a", b"a") + END)
        assert bench.tree() == {"models": None, "models/a": b"a"}


def test_a_sparse_file_in_the_directory_is_kept_and_proved(bench: Bench) -> None:
    for form, archive in sparse_files("models/f").items():
        fetch(bench, archive + END)
        assert (bench.content / "models/f").stat().st_size > 1 << 20, form


def test_names_elsewhere_may_be_too_long_for_any_filesystem(bench: Bench) -> None:
    fetch(bench, pax(b"x", ("path", "n" * 300 + "/x")) + member("x") + member("models/a", b"a") + END)
    assert bench.tree() == {"models": None, "models/a": b"a"}


def test_whiteouts_are_kept_as_they_are(bench: Bench) -> None:
    fetch(bench, member("models/.wh.old") + member(".wh.models") + member("models/d/.wh..wh..opq") + END)
    assert bench.tree() == {
        ".wh.models": b"",
        "models": None,
        "models/.wh.old": b"",
        "models/d": None,
        "models/d/.wh..wh..opq": b"",
    }


def test_t16_a_later_entry_takes_the_place_of_an_earlier_one(bench: Bench) -> None:
    archive = (
        member("models/a", b"first")
        + member("models/a", b"second")
        + member("models/d/x/y", b"below")
        + member("models/d", b"now a file")
        + member("models/f", b"file")
        + member("models/f/g", b"now a directory")
        + header("models/l", b"2", target="a")
        + member("models/l", b"not through the link")
        + member("models/b", BIG)
        + member("models/b", BIG[:2_000_000])
        + END
    )
    fetch(bench, archive)
    assert bench.tree() == {
        "models": None,
        "models/a": b"second",
        "models/b": BIG[:2_000_000],
        "models/d": b"now a file",
        "models/f": None,
        "models/f/g": b"now a directory",
        "models/l": b"not through the link",
    }
    damage(bench.content / "models/b", 1_500_000)
    with pytest.raises(ContentMismatch):
        prove(bench, archive)


def test_links_are_made_relative_to_what_was_the_root(bench: Bench) -> None:
    fetch(
        bench,
        member("/models/m/x.gguf", b"x")
        + header("models/model.file", b"2", target="/models/m/x.gguf")
        + header("models/hard", b"1", target="/models/m/x.gguf")
        + END,
    )
    assert (bench.content / "models/model.file").readlink().as_posix() == "m/x.gguf"
    assert (bench.content / "models/hard").samefile(bench.content / "models/m/x.gguf")


@pytest.mark.parametrize("target", ["/etc/passwd", "etc/passwd", "models/later"])
def test_t12_a_hard_link_to_what_is_not_kept_is_refused(bench: Bench, target: str) -> None:
    bench.part = MODELS
    archive = member("etc/passwd", b"x") + header("models/l", b"1", target=target) + member("models/later", b"x") + END
    bench.refuses(archive, match="hard link 'models/l'")


def test_a_part_says_that_it_lacks_something(bench: Bench) -> None:
    bench.part = MODELS
    with pytest.raises(NotInPart):
        bench.fetch(member("a", b"x") + header("models/l", b"1", target="a") + END)


@pytest.mark.parametrize(
    "entry",
    [
        header("models/dev", b"3"),
        header("models/fifo", b"6"),
        header("models/l", b"2", target="a/../../../x"),
        pax(b"x", ("path", "etc/../models/x")) + member("harmless", b"x"),
    ],
)
def test_what_is_wrong_in_the_directory_is_refused(bench: Bench, entry: bytes) -> None:
    bench.part = MODELS
    bench.refuses(member("models/a", b"a") + entry + END)


def test_a_damaged_archive_is_refused_wherever_the_damage_is(bench: Bench) -> None:
    bench.part = MODELS
    bench.refuses(member("models/a", b"a") + member("etc/x", BIG)[:-1000])
    bench.refuses(member("models/a", b"a") + b"x" * 512 + END)


def test_a_part_that_breaks_off_begins_anew(bench: Bench) -> None:
    archive = member("models/a", BIG) + member("models/b", BIG[::-1]) + END
    bench.part = MODELS
    with pytest.raises(UnsupportedArtifact):
        bench.fetch(archive[:-100_000])
    assert list(bench.into.iterdir()) == []
    fetch(bench, archive)


def test_an_archive_with_nothing_in_the_directory_is_an_empty_tree(bench: Bench) -> None:
    fetch(bench, SYSTEM + END)
    assert bench.tree() == {"dev": None, "etc": None}


def test_the_holes_of_a_file_are_not_read_where_something_was_replaced(bench: Bench) -> None:
    """Sixteen terabytes of nothing are one header of an archive, and would be hours of reading at every proof."""
    size = 8 << 40
    sparse = pax(b"x", ("GNU.sparse.size", str(size)), ("GNU.sparse.map", f"{size - 3},3")) + member("models/f", b"end")
    archive = sparse + member("models/a", b"1") + member("models/a", b"2") + END
    bench.part, passed = MODELS, 0

    def count(read: int) -> None:
        nonlocal passed
        passed += read

    bench.fetch(archive)
    if (bench.content / "models/f").stat().st_blocks > 1 << 10:
        pytest.skip("this filesystem has no holes")
    prove_tree(bench.content, bench.into / "skeleton", Digest.of(archive), pace=count)
    assert passed < 1 << 20
    damage(bench.content / "models/f", size - 1)
    with pytest.raises(ContentMismatch):
        prove(bench, archive)
