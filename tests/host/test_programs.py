"""A program is run for a bounded time, with bounded output, and nothing of it stays."""

import os
from pathlib import Path

import pytest

from csi_driver.host.programs import ProgramFailed, Ran, run

ENVIRON = {"PATH": os.environ["PATH"], "GREETING": "hello"}


def script(directory: Path, text: str) -> Path:
    path = directory / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def ran(path: Path, *arguments: str, input_: bytes = b"", timeout: float = 30.0, most_bytes: int = 1 << 20) -> Ran:
    return run(path, arguments, input_=input_, environ=ENVIRON, timeout=timeout, most_bytes=most_bytes)


def test_a_program_gets_arguments_input_and_environment_and_nothing_else(tmp_path: Path) -> None:
    path = script(tmp_path, 'cat; echo "$1 $GREETING $HOME."; pwd; echo oops >&2; exit 3')
    assert ran(path, "a b", input_=b"in ") == Ran(3, b"in a b hello .\n/\n", b"oops\n")


def test_input_and_output_larger_than_pipes_pass_through_at_once(tmp_path: Path) -> None:
    data = os.urandom(1 << 20)
    assert ran(script(tmp_path, "cat"), input_=data, most_bytes=1 << 20).output == data


def test_a_program_need_not_read_its_input(tmp_path: Path) -> None:
    assert ran(script(tmp_path, "exec <&-; echo done"), input_=bytes(1 << 20)).output == b"done\n"


def test_a_program_that_does_not_end_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    path = script(tmp_path, f"exec 3>{fifo}; sleep 1000 & sleep 1000")
    with pytest.raises(ProgramFailed, match=r"program did not end within 0\.3 s"):
        ran(path, timeout=0.3)
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""  # the end of the file comes when the last of them is gone
    os.close(reader)


def test_a_program_that_closes_its_output_but_stays_is_killed(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="did not end"):
        ran(script(tmp_path, "exec >&- 2>&- <&-; sleep 1000"), timeout=0.3)


@pytest.mark.parametrize("stream", [1, 2])
def test_a_program_that_writes_without_end_is_killed(tmp_path: Path, stream: int) -> None:
    with pytest.raises(ProgramFailed, match="wrote more than 1000 bytes"):
        ran(script(tmp_path, f"while :; do echo secret; done >&{stream}"), most_bytes=1000)


def test_a_program_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="missing cannot be run: No such file"):
        ran(tmp_path / "missing")
    path = script(tmp_path, "true")
    path.chmod(0o644)
    with pytest.raises(ProgramFailed, match="program cannot be run: Permission denied"):
        ran(path)
    path.write_bytes(b"\x7fELF")
    path.chmod(0o755)
    with pytest.raises(ProgramFailed, match="Exec format error"):
        ran(path)
    with pytest.raises(ProgramFailed, match="null"):
        ran(path, "a\0b")


def test_what_a_program_wrote_does_not_show(tmp_path: Path) -> None:
    assert "hunter2" not in repr(ran(script(tmp_path, "echo hunter2; echo hunter2 >&2")))


def test_a_program_that_dies_of_a_signal_says_so(tmp_path: Path) -> None:
    assert ran(script(tmp_path, "kill -9 $$")).code == -9
