"""Files that appear whole, last, are locked and vanish."""

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from csi_driver.errors import Conflict
from csi_driver.host import files
from csi_driver.host.tree import TreeWriter


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


WRITERS = [files.write_atomically, partial(files.write_atomically, durable_name=False), files.write_for_this_boot]


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_is_replaced_whole_and_nothing_else_is_left(
    tmp_path: Path, write: Callable[[Path, bytes], None]
) -> None:
    path = tmp_path / "record"
    write(path, b"old")
    with path.open("rb") as reader:
        write(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["record"]


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    (tmp_path / "record").mkdir()
    with pytest.raises(IsADirectoryError):
        files.write_atomically(tmp_path / "record", b"new")
    assert names(tmp_path) == ["record"]


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".new-0123").write_bytes(b"half")
    (tmp_path / ".new-4567").mkdir()
    (tmp_path / "record").write_bytes(b"whole")
    assert files.remove_temporaries(tmp_path) == 2
    assert names(tmp_path) == ["record"]


def test_a_directory_made_anywhere_is_there_once_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    files.make_directory_anywhere(tmp_path / "layer", 0o700)
    (tmp_path / "layer" / "content").touch()
    files.make_directory_anywhere(tmp_path / "layer", 0o700)
    assert names(tmp_path) == ["layer"]
    assert names(tmp_path / "layer") == ["content"]
    assert stat.S_IMODE((tmp_path / "layer").stat().st_mode) == 0o700


def test_a_published_directory_has_its_final_name_only(tmp_path: Path) -> None:
    (tmp_path / "staging").mkdir()
    (tmp_path / "final").mkdir()
    staged = tmp_path / "staging" / "tree"
    staged.mkdir()
    (staged / "file").write_bytes(b"")
    files.publish(staged, tmp_path / "final" / "tree")
    assert names(tmp_path / "final" / "tree") == ["file"]
    assert names(tmp_path / "staging") == []


def test_a_directory_that_holds_something_is_not_replaced(tmp_path: Path) -> None:
    for name in ("staged", "final"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "of").write_text(name)
    with pytest.raises(FileExistsError):
        files.publish(tmp_path / "staged", tmp_path / "final")
    assert (tmp_path / "final" / "of").read_text() == "final"


@pytest.mark.usefixtures("ordinary_user")
def test_a_read_only_directory_is_moved_and_stays_read_only_for_an_ordinary_user(tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    tree = tmp_path / "tree"
    tree.mkdir(0o555)
    files.publish(tree, tmp_path / "to" / "tree")
    assert stat.S_IMODE((tmp_path / "to" / "tree").stat().st_mode) == 0o555
    assert files.move_aside(tmp_path / "to" / "tree", tmp_path / "aside")
    assert not files.move_aside(tmp_path / "to" / "tree", tmp_path / "aside")


@pytest.mark.usefixtures("ordinary_user")
def test_a_read_only_tree_is_removed_with_all_below_it_by_an_ordinary_user(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "kept").write_bytes(b"")
    with TreeWriter(root) as tree:
        for path in ("a/b/c/file", "a/file", "a2/b/file"):
            os.close(tree.file(path))
        tree.symlink("a/link", "b")
        tree.finish()
    root.chmod(0o755)
    (root / "escape").symlink_to(tmp_path / "outside")
    root.chmod(0o555)
    files.remove_tree(root)
    assert names(tmp_path) == ["outside"]
    assert names(tmp_path / "outside") == ["kept"]


def test_removing_takes_files_and_links_and_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to("directory")
    for name in ("file", "link", "missing"):
        files.remove_tree(tmp_path / name)
    assert names(tmp_path) == ["directory"]


def test_removing_a_deep_and_wide_tree_needs_few_descriptors(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with TreeWriter(root) as tree:
        tree.directory("/".join(["d"] * 200))
        for number in range(300):
            os.close(tree.file(f"wide/{number}/file"))
        tree.finish()
    files.remove_tree(root)
    assert names(tmp_path) == []


def test_directories_are_made_down_to_the_last(tmp_path: Path) -> None:
    files.make_directories(tmp_path / "a" / "b", below=tmp_path)
    files.make_directories(tmp_path / "a" / "b", below=tmp_path)
    assert (tmp_path / "a" / "b").is_dir()


def test_syncs_reach_files_directories_trees_and_the_filesystem(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").write_bytes(b"data")
    files.sync_file(tmp_path / "a" / "file")
    files.sync_directory(tmp_path / "a")
    files.sync_tree(tmp_path)
    files.sync_filesystem(tmp_path)


def test_usage_counts_bytes_and_inodes(tmp_path: Path) -> None:
    usage = files.usage(tmp_path)
    assert usage.total > usage.free >= usage.available > 0
    assert usage.inodes_total >= usage.inodes_free


def test_one_process_at_a_time_holds_a_lock_and_the_next_is_told_which(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    script = (
        "import sys; from pathlib import Path; from csi_driver.host.files import exclusive_lock\n"
        "with exclusive_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Conflict, match=f"pid {holder.pid}"), files.exclusive_lock(path):
            pass
        holder.kill()
    with files.exclusive_lock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_lock_is_held_on_a_full_disk_too() -> None:
    with files.exclusive_lock(Path("/dev/full")):
        pass


def test_failures_other_than_a_full_disk_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        files.write_atomically(tmp_path / "missing" / "record", b"")
    assert caught.value.errno == errno.ENOENT
