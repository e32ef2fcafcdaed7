"""Nothing that a test waits for keeps it for ever."""

import subprocess
import sys

import pytest

from e2e import programs
from e2e.waiting import at_most, until

SILENT = [sys.executable, "-c", "import time; time.sleep(3600)"]


def test_what_does_not_come_is_named() -> None:
    with pytest.raises(AssertionError, match=r"the sun rises: not after 0\.1 s"):
        until(lambda: False, "the sun rises", patience=0.1)


def test_a_program_that_says_nothing_is_not_listened_to_for_ever() -> None:
    with subprocess.Popen(SILENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with at_most(process.kill, patience=0.1):
            assert process.stdout.readline() == ""


def test_a_program_that_takes_too_long_is_ended_and_named() -> None:
    with pytest.raises(AssertionError, match=r"time\.sleep\(3600\).* is not done after 0\.1 s"):
        programs.run(SILENT, patience=0.1)


def test_a_program_that_does_not_end_when_it_is_told_to_is_killed() -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(3600)"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "deaf\n"

        assert programs.end(process, patience=0.1) == -9
