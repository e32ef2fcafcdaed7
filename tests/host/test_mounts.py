"""Binding directories read-only, and finding and ending mounts, on the real mount table."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from csi_driver.errors import DriverError
from csi_driver.host.kernel import Kernel
from csi_driver.host.mounts import Mounts

pytestmark = pytest.mark.usefixtures("mount_namespace")


class OldKernel(Kernel):
    """A kernel before 5.2: no open_tree(2), no mount_setattr(2), and statx(2) knows nothing of mounts."""

    def call(self, number: int, *arguments: int | bytes) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def is_mount_root(self, path: bytes) -> bool | None:
        os.lstat(path)
        return None


class UnattachingKernel(OldKernel):
    """An old kernel that refuses every remount."""

    def mount(self, source: bytes | None, target: bytes, flags: int) -> None:
        if source is None:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        super().mount(source, target, flags)


@pytest.fixture(params=[Kernel, OldKernel], ids=["new kernel", "old kernel"])
def mounts(request: pytest.FixtureRequest) -> Mounts:
    return Mounts(kernel=request.param())


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "a model"
    directory.mkdir()
    (directory / "weights").write_bytes(b"weights")
    return directory


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "tab\tnew\nline \\ \udcff"
    directory.mkdir()
    yield directory
    Mounts().unmount(directory)


def options(mounts: Mounts, target: Path) -> frozenset[str]:
    return [mount for mount in mounts.table() if mount.point == str(target)][-1].options


def test_a_bound_directory_is_seen_and_cannot_be_written(mounts: Mounts, source: Path, target: Path) -> None:
    mounts.bind_read_only(source, target)
    assert (target / "weights").read_bytes() == b"weights"
    with pytest.raises(OSError, match="Read-only"):
        (target / "new").write_bytes(b"")
    assert {"ro", "nosuid", "nodev"} <= options(mounts, target)
    assert "noexec" not in options(mounts, target)
    (source / "still writable here").write_bytes(b"")


def test_noexec_is_there_when_asked_for(mounts: Mounts, source: Path, target: Path) -> None:
    mounts.bind_read_only(source, target, noexec=True)
    assert {"ro", "nosuid", "nodev", "noexec"} <= options(mounts, target)


def test_a_bind_of_a_noexec_mount_stays_noexec(mounts: Mounts, source: Path, target: Path, tmp_path: Path) -> None:
    strict = tmp_path / "strict"
    strict.mkdir()
    mounts.bind_read_only(source, strict, noexec=True)
    mounts.bind_read_only(strict, target)
    assert "noexec" in options(mounts, target)
    mounts.unmount(strict)


def test_only_a_mounted_path_is_a_mount_point(mounts: Mounts, source: Path, target: Path) -> None:
    assert not mounts.is_mount_point(target)
    mounts.bind_read_only(source, target)
    assert mounts.is_mount_point(target)
    assert not mounts.is_mount_point(source)
    assert not mounts.is_mount_point(target / "missing")
    assert not mounts.is_mount_point(target / "weights" / "below a file")


def test_a_link_to_a_mount_point_is_none_itself(mounts: Mounts, source: Path, target: Path, tmp_path: Path) -> None:
    mounts.bind_read_only(source, target)
    link = tmp_path / "link"
    link.symlink_to(target)
    assert not mounts.is_mount_point(link)


def test_unmounting_takes_away_all_mounts_stacked_at_a_place(mounts: Mounts, source: Path, target: Path) -> None:
    for _ in range(3):
        mounts.bind_read_only(source, target)
    mounts.unmount(target)
    assert not mounts.is_mount_point(target)
    assert list(target.iterdir()) == []


def test_unmounting_what_is_not_mounted_is_fine(mounts: Mounts, target: Path) -> None:
    mounts.unmount(target)
    mounts.unmount(target / "missing")


def test_a_mount_that_is_in_use_is_unmounted_and_its_user_goes_on(mounts: Mounts, source: Path, target: Path) -> None:
    mounts.bind_read_only(source, target)
    with (target / "weights").open("rb") as file:
        mounts.unmount(target)
        assert not mounts.is_mount_point(target)
        assert file.read() == b"weights"


def test_the_table_names_points_with_blanks_and_bytes_that_are_no_text(
    mounts: Mounts, source: Path, target: Path
) -> None:
    mounts.bind_read_only(source, target)
    (mount,) = [mount for mount in mounts.table() if mount.point == str(target)]
    assert mount.root.endswith("/a model")
    assert mount.is_read_only
    assert mount.fs_type
    assert mount.device == "{}:{}".format(*(f(source.stat().st_dev) for f in (os.major, os.minor)))


def test_a_link_as_target_is_refused_not_followed(source: Path, target: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(target)
    with pytest.raises(DriverError):
        Mounts().bind_read_only(source, link)
    assert not Mounts().is_mount_point(target)


def test_a_missing_target_is_named_with_the_source_and_the_reason(mounts: Mounts, source: Path, tmp_path: Path) -> None:
    with pytest.raises(DriverError, match=r"a model.*missing.*No such file"):
        mounts.bind_read_only(source, tmp_path / "missing")


def test_a_refused_remount_leaves_no_writable_mount_behind(source: Path, target: Path) -> None:
    with pytest.raises(DriverError, match="not permitted"):
        Mounts(kernel=UnattachingKernel()).bind_read_only(source, target)
    assert not Mounts().is_mount_point(target)


def test_no_mount_or_descriptor_is_left_when_the_target_cannot_be_mounted_on(source: Path, tmp_path: Path) -> None:
    before, descriptors = Mounts().table(), len(os.listdir("/proc/self/fd"))
    with pytest.raises(DriverError):
        Mounts().bind_read_only(source, tmp_path / "missing")
    assert Mounts().table() == before
    assert len(os.listdir("/proc/self/fd")) == descriptors
