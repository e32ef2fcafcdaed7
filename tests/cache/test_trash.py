"""What was given up goes slowly when there is time, and at once when its room is needed."""

import errno
import os
import threading
from pathlib import Path

import pytest

from csi_driver.cache.trash import Trash, as_long
from csi_driver.inflight import Stop, lasting, spawn
from tests.cache.shelf import everything_below
from tests.fixtures.driver import eventually

SOON = 30.0
LONG = 3600.0
MANY = 600  # files: several steps


class Rests:
    """Lets a test see that the sweeper rests, which it then does for an hour."""

    def __init__(self) -> None:
        self.begun = threading.Event()

    def __call__(self, seconds: float) -> float:
        self.begun.set()
        return LONG


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "trash").mkdir()
    return tmp_path / "trash"


def given_up(tmp_path: Path, name: str, count: int) -> Path:
    tree = tmp_path / name
    tree.mkdir()
    for number in range(count):
        (tree / f"file-{number}").write_bytes(b"data")
    return tree


def test_what_is_given_up_is_gone_from_its_place_at_once_and_swept_step_by_step(
    tmp_path: Path, directory: Path
) -> None:
    stop, left = Stop(), list[int]()

    def rest(seconds: float) -> float:
        left.append(len(everything_below(directory)))
        if len(left) == 2:
            stop.set()
        return 0.0

    trash = Trash(directory, rest=rest)
    assert trash.take([given_up(tmp_path, "model", MANY), tmp_path / "missing"]) == 1
    assert not (tmp_path / "model").exists()
    assert len(everything_below(directory)) == MANY + 1
    spawn("sweeper", lambda: trash.sweep(stop)).result(SOON)
    assert left == [MANY + 1 - 256, MANY + 1 - 512]


def test_a_sweeper_that_rests_ends_at_once_when_the_driver_stops(tmp_path: Path, directory: Path) -> None:
    rests = Rests()
    trash, stop = Trash(directory, rest=rests), Stop()
    trash.take([given_up(tmp_path, "model", MANY)])
    sweeper = spawn("sweeper", lambda: trash.sweep(stop))
    assert rests.begun.wait(SOON)
    stop.set()
    sweeper.result(SOON)
    assert 0 < len(everything_below(directory)) < MANY + 1
    Trash(directory).empty()
    assert everything_below(directory) == []


def test_whoever_needs_the_room_does_not_wait_for_a_sweeper_that_rests(tmp_path: Path, directory: Path) -> None:
    rests = Rests()
    trash, stop = Trash(directory, rest=rests), Stop()
    trash.take([given_up(tmp_path, "model", MANY)])
    sweeper = spawn("sweeper", lambda: trash.sweep(stop))
    assert rests.begun.wait(SOON)
    trash.empty()
    assert everything_below(directory) == []
    stop.set()
    sweeper.result(SOON)


def test_what_cannot_be_removed_keeps_nothing_else(
    tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trash = Trash(directory)
    trash.take([given_up(tmp_path, "a", 1), given_up(tmp_path, "b", 1)])
    first = min(directory.iterdir())
    unlink = os.unlink

    def refuse(path: str, *, dir_fd: int | None = None) -> None:
        if dir_fd is not None and os.path.samestat(os.stat(first), os.fstat(dir_fd)):
            raise PermissionError(1, "not this one")
        unlink(path, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refuse)
    trash.empty()
    assert list(directory.iterdir()) == [first]
    assert "cannot be removed" in caplog.text


def test_a_sweep_that_failed_is_gone_on_with_by_the_next(
    tmp_path: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trash, stop = Trash(directory, rest=lambda _: 0.0), Stop()
    trash.take([given_up(tmp_path, "a", 1)])
    told: list[Exception] = []

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    def failed(error: Exception) -> None:
        monkeypatch.undo()
        told.append(error)

    monkeypatch.setattr(os, "listdir", refuse)  # which is how a path looks into a directory
    sweeper = lasting("sweeper", lambda: trash.sweep(stop), stop, failed=failed, pause=0.0)
    eventually(lambda: everything_below(directory) == [])
    stop.set()
    sweeper.result(SOON)
    assert [error.errno for error in told if isinstance(error, OSError)] == [errno.EMFILE]


def test_what_was_given_up_before_another_could_not_be_is_swept(tmp_path: Path, directory: Path) -> None:
    trash, stop = Trash(directory, rest=lambda _: 0.0), Stop()
    sweeper = spawn("sweeper", lambda: trash.sweep(stop))
    with pytest.raises(OSError, match="name too long"):
        trash.take([given_up(tmp_path, "a", 1), tmp_path / ("x" * 300)])
    eventually(lambda: everything_below(directory) == [])
    stop.set()
    sweeper.result(SOON)


def test_rests_are_as_long_as_the_work_within_reason() -> None:
    assert (as_long(0.0), as_long(0.5), as_long(60.0)) == (0.01, 0.5, 2.0)
