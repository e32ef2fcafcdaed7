"""A driver that is killed at any step loses nothing, leaks nothing and shows nothing wrong."""

import sys

import pytest

from e2e import programs, sandbox


def test_drivers_killed_at_numbered_steps_leave_every_volume_whole(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        sandbox.own_namespace()
    except OSError as error:
        pytest.skip(str(error))
    done = programs.run([sys.executable, "-m", "e2e.crash"], patience=600)
    assert done.returncode == 0, done.stdout + done.stderr
    with capsys.disabled():
        print(f"\n{done.stdout}", end="")
