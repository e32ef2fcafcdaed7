"""Writing a tree that nothing leads out of, on the real filesystem."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csi_driver.errors import NoSpace, UnsupportedArtifact
from csi_driver.host.files import remove_tree
from csi_driver.host.tree import PathTaken, TreeWriter
from tests.conftest import NewFilesystem


def write(tree: TreeWriter, path: str, data: bytes = b"data", mode: int = 0o444) -> None:
    descriptor = tree.file(path, mode)
    os.write(descriptor, data)
    os.close(descriptor)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    return directory


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_what_was_written_can_be_cleared_away_with_all_below_it(root: Path) -> None:
    with TreeWriter(root, open_directories=2) as tree:
        write(tree, "d/e/f")
        write(tree, "d/e/g/h/i")
        tree.symlink("d/l", "e")
        write(tree, "kept")
        tree.clear("d")
        assert sorted(path.name for path in root.iterdir()) == ["kept"]
        write(tree, "d", b"a file now")
        tree.clear("d/e/f")
        write(tree, "d/e/f", b"again")
        tree.clear("nothing/here")
        tree.finish()
    assert (root / "d/e/f").read_bytes() == b"again"
    assert (root / "kept").exists()


def test_clearing_follows_no_link(root: Path, tmp_path: Path) -> None:
    (root / "inside").mkdir()
    (root / "inside/file").write_bytes(b"x")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_bytes(b"x")
    with TreeWriter(root) as tree:
        tree.symlink("l", "inside")
        (root / "m").symlink_to(tmp_path / "outside")
        tree.clear("l/file")
        tree.clear("m/file")
        assert not (root / "l").is_symlink()
        assert not (root / "m").is_symlink()
    assert (root / "inside/file").exists()
    assert (tmp_path / "outside/file").exists()


def test_what_is_in_the_way_is_told_apart(root: Path) -> None:
    with TreeWriter(root) as tree:
        write(tree, "a")
        for path in ("a", "a/b"):
            with pytest.raises(PathTaken):
                write(tree, path)


def test_files_get_their_parents_and_exactly_their_mode_whatever_the_umask(root: Path) -> None:
    before = os.umask(0o077)
    try:
        with TreeWriter(root) as tree:
            write(tree, "a/b/run.sh", mode=0o555)
            write(tree, "a/weights", mode=0o444)
            tree.finish()
    finally:
        os.umask(before)
    assert (mode_of(root / "a/b/run.sh"), mode_of(root / "a/weights")) == (0o555, 0o444)
    assert [mode_of(path) for path in (root, root / "a", root / "a/b")] == [0o555] * 3
    assert (root / "a/weights").read_bytes() == b"data"


def test_directories_get_the_last_time_they_were_given_after_all_is_written(root: Path) -> None:
    with TreeWriter(root) as tree:
        tree.directory("", mtime_ns=3)
        tree.directory("a/b", mtime_ns=1)
        tree.directory("a/b", mtime_ns=1_500_000_000_123_456_789)
        write(tree, "a/b/c/later")
        tree.finish()
    assert (root / "a/b").stat().st_mtime_ns == 1_500_000_000_123_456_789
    assert root.stat().st_mtime_ns == 3


def test_a_link_gets_its_own_time(root: Path) -> None:
    with TreeWriter(root) as tree:
        tree.symlink("link", "missing", mtime_ns=7)
    assert (root / "link").lstat().st_mtime_ns == 7


@pytest.mark.parametrize("path", ["", "/a", "a//b", "./a", "a/.", "a/../b", "..", "a/", "a\0b"])
def test_an_unclean_path_is_refused(root: Path, path: str) -> None:
    with TreeWriter(root) as tree, pytest.raises(UnsupportedArtifact, match="not a clean"):
        tree.file(path)
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["foo..bar", "..foo", "-x", "new\nline", "back\\slash", "\udcff\udcfe", "ü", "u\u0308", "x" * 255]
)
def test_any_other_name_is_kept_byte_for_byte(root: Path, name: str) -> None:
    with TreeWriter(root) as tree:
        write(tree, f"{name}/{name}")
    assert os.listdir(os.fsencode(root)) == os.listdir(os.fsencode(root / name)) == [os.fsencode(name)]


def test_a_path_as_long_as_the_kernel_allows_is_written_though_the_root_comes_on_top(root: Path) -> None:
    long = "/".join(["d" * 240] * 16) + "/" + "f" * 200
    with TreeWriter(root, open_directories=2) as tree:
        write(tree, long)
        tree.finish()
    remove_tree(root)
    assert not root.exists()


@pytest.mark.parametrize("path", ["d/" * 256 + "f", "x" * 256, "/".join(["d" * 255] * 17)])
def test_a_path_too_long_or_too_deep_is_refused(root: Path, path: str) -> None:
    with TreeWriter(root) as tree, pytest.raises(UnsupportedArtifact, match="long"):
        tree.file(path)


@pytest.mark.parametrize("first", ["file", "link", "directory"])
@pytest.mark.parametrize("second", ["file", "link", "hard link"])
def test_nothing_is_written_where_something_is(root: Path, first: str, second: str) -> None:
    with TreeWriter(root) as tree:
        write(tree, "other", b"other")
        make = {
            "file": lambda: write(tree, "taken"),
            "link": lambda: tree.symlink("taken", "other"),
            "hard link": lambda: tree.hardlink("taken", "other"),
            "directory": lambda: tree.directory("taken"),
        }
        make[first]()
        with pytest.raises(UnsupportedArtifact, match="'taken' appears twice"):
            make[second]()
    assert (root / "other").read_bytes() == b"other"


@pytest.mark.parametrize("target", ["d", ".", "missing"])
def test_nothing_is_written_through_a_link_or_below_a_file(root: Path, target: str) -> None:
    with TreeWriter(root) as tree:
        tree.directory("d")
        tree.symlink("link", target)
        write(tree, "file")
        for parent in ("link", "file"):
            with pytest.raises(UnsupportedArtifact, match="no directory"):
                tree.file(f"{parent}/x")
            with pytest.raises(UnsupportedArtifact, match="no directory"):
                tree.directory(f"{parent}/x/y")
            with pytest.raises(UnsupportedArtifact, match="no directory"):
                tree.directory(parent)
    assert list((root / "d").iterdir()) == []


@pytest.mark.parametrize(
    ("path", "target"),
    [("model.file", "m/x.gguf"), ("a/b/l", "../../x"), ("a/l", ".."), ("l", "./a/./b"), ("l", "l"), ("a/l", "../a/m")],
)
def test_a_link_that_stays_inside_is_kept_as_it_was(root: Path, path: str, target: str) -> None:
    with TreeWriter(root) as tree:
        tree.symlink(path, target)
    assert (root / path).readlink() == Path(target)
    assert os.readlink(root / path) == target


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("l", "/etc/passwd"),
        ("l", ".."),
        ("a/l", "../../x"),
        ("a/l", "./.././../x"),
        ("l", "a/../../x"),
        ("l", "a/.."),
        ("l", ""),
        ("l", "a\0"),
    ],
)
def test_a_link_that_could_lead_outside_is_refused(root: Path, path: str, target: str) -> None:
    with TreeWriter(root) as tree, pytest.raises(UnsupportedArtifact, match="symbolic link"):
        tree.symlink(path, target)
    assert not os.path.lexists(root / path)


names = st.sampled_from(["a", "b", "c"])
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
targets = st.lists(st.sampled_from(["a", "b", "c", "..", "."]), min_size=1, max_size=6).map("/".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(paths, targets), max_size=12), st.lists(paths, max_size=4))
def test_no_set_of_links_leads_out_of_the_root(tmp_path: Path, links: list[tuple[str, str]], files: list[str]) -> None:
    root = tmp_path / "jail" / "root"
    remove_tree(root)
    root.mkdir(parents=True)
    with TreeWriter(root) as tree:
        for path, target in links:
            try:
                tree.symlink(path, target)
            except UnsupportedArtifact:
                continue
        for path in files:
            try:
                write(tree, path)
            except UnsupportedArtifact:
                continue
        tree.finish()
    for directory, _, others in os.walk(root):
        for name in (*others, *os.listdir(directory)):
            resolved = Path(os.path.realpath(Path(directory) / name))
            assert resolved == root or root in resolved.parents


def test_a_hard_link_names_a_file_written_before(root: Path) -> None:
    with TreeWriter(root) as tree:
        write(tree, "a/file")
        tree.hardlink("b/again", "a/file")
    assert (root / "a/file").samefile(root / "b/again")


@pytest.mark.parametrize("existing", ["later", "link", "directory", "file/x", "link/x", "/etc/shadow", "../x", ""])
def test_a_hard_link_to_anything_else_is_refused(root: Path, existing: str) -> None:
    with TreeWriter(root) as tree:
        write(tree, "file")
        tree.symlink("link", "file")
        tree.directory("directory")
        with pytest.raises(UnsupportedArtifact):
            tree.hardlink("new", existing)
    assert not os.path.lexists(root / "new")


def test_a_file_from_elsewhere_is_adopted_without_copying_and_links_are_not_followed(
    root: Path, tmp_path: Path
) -> None:
    (tmp_path / "source").write_bytes(b"source")
    directory = os.open(tmp_path, os.O_RDONLY)
    with TreeWriter(root) as tree:
        tree.adopt("a/b", "source", source_directory=directory)
        assert tree.holds("a/b", "source", source_directory=directory)
    os.close(directory)
    assert (root / "a/b").samefile(tmp_path / "source")


def test_content_is_written_whole_with_its_time(root: Path) -> None:
    with TreeWriter(root) as tree:
        tree.write("a/b", b"content", mtime_ns=42)
    written = root / "a/b"
    assert (written.read_bytes(), mode_of(written), written.stat().st_mtime_ns) == (b"content", 0o444, 42)


def test_a_copy_is_a_file_of_its_own(root: Path, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"source" * 100_000)
    source = os.open(tmp_path / "source", os.O_RDONLY)
    with TreeWriter(root) as tree:
        assert tree.copy("a/b", source, 0o555, 42) == 600_000
    os.close(source)
    copied = root / "a/b"
    assert copied.read_bytes() == b"source" * 100_000
    assert (mode_of(copied), copied.stat().st_mtime_ns, copied.stat().st_nlink) == (0o555, 42, 1)


@pytest.mark.parametrize(
    ("own", "other", "same"),
    [
        (b"x" * 3_000_000, b"x" * 3_000_000, True),
        (b"x" * 3_000_000, b"x" * 2_999_999 + b"y", False),
        (b"", b"x", False),
    ],
)
def test_files_are_compared_by_their_bytes(root: Path, tmp_path: Path, own: bytes, other: bytes, same: bool) -> None:
    (tmp_path / "other").write_bytes(other)
    directory = os.open(tmp_path, os.O_RDONLY)
    with TreeWriter(root) as tree:
        write(tree, "own", own)
        assert tree.holds("own", "other", source_directory=directory) is same
        tree.symlink("link", "own")
        assert not tree.holds("link", "other", source_directory=directory)
    os.close(directory)


def test_links_are_compared_by_their_targets(root: Path, tmp_path: Path) -> None:
    os.symlink("x", tmp_path / "same")
    os.symlink("y", tmp_path / "other")
    directory = os.open(tmp_path, os.O_RDONLY)
    with TreeWriter(root) as tree:
        tree.symlink("link", "x")
        assert tree.holds("link", "same", source_directory=directory)
        assert not tree.holds("link", "other", source_directory=directory)
    os.close(directory)


def test_what_an_earlier_writer_left_can_be_discarded_and_written_again(root: Path) -> None:
    with TreeWriter(root) as tree:
        write(tree, "a/half", b"ha")
    with TreeWriter(root) as tree:
        tree.discard("a/half")
        tree.discard("a/missing")
        tree.discard("a/half/below")
        write(tree, "a/half", b"whole")
        tree.finish()
    assert (root / "a/half").read_bytes() == b"whole"
    assert mode_of(root / "a") == 0o555


def test_few_descriptors_are_open_however_many_directories_there_are(root: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with TreeWriter(root, open_directories=4) as tree:
        for number in range(40):
            write(tree, f"d{number}/e/f")
            assert len(os.listdir("/proc/self/fd")) <= before + 5
        tree.finish()
    assert len(os.listdir("/proc/self/fd")) == before


def test_where_files_cannot_be_written_directly_nothing_is_left_behind(new_filesystem: NewFilesystem) -> None:
    root = new_filesystem("ramfs")
    with TreeWriter(root) as tree, pytest.raises(OSError, match="Invalid"):
        tree.file("new", flags=os.O_DIRECT)
    assert list(root.iterdir()) == []


def test_a_full_disk_is_named_as_such(new_filesystem: NewFilesystem) -> None:
    with TreeWriter(new_filesystem("tmpfs", "nr_inodes=2")) as tree:
        write(tree, "file", b"")
        with pytest.raises(NoSpace, match=r"'more'.*No space left"):
            write(tree, "more", b"")


def test_a_hard_link_to_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedArtifact, match="no regular file"):
        TreeWriter(tmp_path).hardlink("l", "n" * 256)
