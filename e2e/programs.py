"""Programs that tests start: none of them outlives its test."""

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_PATIENCE = 60.0  # seconds for a program that was told to end


def end(process: "subprocess.Popen[str] | subprocess.Popen[bytes]", patience: float = _PATIENCE) -> int:
    """Tell a program to end, and kill it if it does not; its exit code."""
    process.terminate()
    try:
        return process.wait(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def run(
    command: Sequence[str | Path], *, patience: float, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a program that starts others, to its end, or for so many seconds.

    It is then told to end, and so it is when this is interrupted: killed at once, it would leave the others behind.
    Raises `AssertionError` with what it said when the time is over.
    """
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    try:
        said = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        words = _ended(process)
        raise AssertionError(f"{command} is not done after {patience} s, and said:\n{words}") from None
    except BaseException:
        _ended(process)
        raise
    return subprocess.CompletedProcess(command, process.returncode, *said)


def _ended(process: "subprocess.Popen[str]") -> str:
    """See to its end; all that it said."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        return "".join(process.communicate(timeout=_PATIENCE))
    process.kill()
    return "".join(process.communicate())
