"""What a piece of work costs: programs are run, joined by pipes, and their time, CPU time and memory added up."""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

Word = str | Path

_SAMPLE_SECONDS = 0.03


class Failed(Exception):
    """A program did not do what it was run for."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds from the beginning to the end, seconds of CPU of all processes, and the largest of them in bytes."""

    wall: float
    cpu: float
    peak: int = 0


@dataclass(slots=True)
class _Running:
    name: str
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    peak: int = 0


class Job:
    """Programs that run at the same time; what the benchmark itself uses is not counted."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self._running: list[_Running] = []

    def start(
        self,
        *command: Word,
        stdin: int | None = subprocess.DEVNULL,
        stdout: int | None = subprocess.DEVNULL,
        inherit: Iterable[int] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        """Start a program; the descriptors it is given are the caller's to close."""
        errors = tempfile.TemporaryFile()  # noqa: SIM115  `join` closes it
        surroundings = {**os.environ, **(environment or {})}
        process = subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=errors, pass_fds=tuple(inherit), env=surroundings
        )
        self._running.append(_Running(str(command[0]), process, errors))

    def join(self) -> Usage:
        """Wait for all programs; raises `Failed` if one of them did."""
        ended = threading.Event()
        sampler = threading.Thread(target=self._sample, args=(ended,))
        sampler.start()
        cpu, failed = 0.0, []
        for one in self._running:
            _, status, used = os.wait4(one.process.pid, 0)
            one.process.returncode = os.waitstatus_to_exitcode(status)
            cpu += used.ru_utime + used.ru_stime
            with one.errors:
                one.errors.seek(0)
                told = one.errors.read().decode(errors="replace").strip()
            if one.process.returncode:
                failed.append(f"{one.name} ended with {one.process.returncode}: {told[-300:]}")
        wall = time.perf_counter() - self._begin
        ended.set()
        sampler.join()
        if failed:
            raise Failed("; ".join(failed))
        return Usage(wall, cpu, max(one.peak for one in self._running))

    def _sample(self, ended: threading.Event) -> None:
        """Look at the peaks while they can be seen: `ru_maxrss` would count what was there before exec as well."""
        while True:
            for one in self._running:
                one.peak = max(one.peak, memory(one.process.pid, "VmHWM"))
            if ended.wait(_SAMPLE_SECONDS):
                return


def memory(pid: int | str, field: str) -> int:
    """Bytes: `VmRSS` is now, `VmHWM` at most so far; 0 for a process that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = [int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith(f"{field}:")]
    return found[0] if found else 0


def run(*commands: Sequence[Word], environment: dict[str, str] | None = None) -> Usage:
    """All of these, one after another."""
    begin, usages = time.perf_counter(), []
    for command in commands:
        job = Job()
        job.start(*command, environment=environment)
        usages.append(job.join())
    return _sum(begin, usages)


def together(*pieces: Callable[[], Usage], at_once: int) -> Usage:
    """Several pieces of work, so many at once."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        return _sum(begin, list(pool.map(lambda piece: piece(), pieces)))


def _sum(begin: float, usages: Sequence[Usage]) -> Usage:
    return Usage(time.perf_counter() - begin, sum(one.cpu for one in usages), max(one.peak for one in usages))


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Two ends for programs that are started meanwhile; at the end of the block only they have them."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)
