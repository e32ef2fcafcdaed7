"""The order of things: every contestant of a case in every round, one after another, so that noise hits them all."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from csi_driver.host.files import remove_tree, usage
from tests.bench.cases import Case, Contestant
from tests.bench.data import warm
from tests.bench.goals import OURS, Goal, Samples, paired
from tests.bench.measure import Failed, Usage
from tests.bench.results import Found, Row, Verdict

_FREE = 2  # times the size of a case that must be free before each of its contestants


def spread(directory: Path) -> None:
    """Have ext4 put each directory made in this one into another part of the disk, chosen by its name.

    Else it puts them where files were removed a moment ago. Their inodes are not used again for minutes, and it passes
    over them one by one for each new file, which then takes ten times as long. Elsewhere this does nothing.
    """
    if shutil.which("chattr"):
        subprocess.run(["chattr", "+T", directory], stderr=subprocess.DEVNULL, check=False)


class Rounds:
    """Measures cases in directories below `scratch`, which is new and empty; `say` tells how far it is."""

    def __init__(self, cases: Sequence[Case], scratch: Path, say: Callable[[str], None]) -> None:
        self._cases = cases
        self._scratch = scratch
        self._say = say
        self._samples: dict[tuple[str, str], list[Usage | None]] = {}
        self._failures: dict[tuple[str, str], str] = {}
        self._load: dict[str, list[float]] = {}

    def run(self, count: int) -> tuple[Found, ...]:
        """All cases, so many times; what every contestant took."""
        for number in range(count):
            for case in self._cases:
                self._say(f"round {number + 1} of {count}: {case.title}")
                self._load.setdefault(case.name, []).append(round(os.getloadavg()[0], 2))
                shift = number % len(case.contestants)
                for contestant in (*case.contestants[shift:], *case.contestants[:shift]):
                    if number and contestant.once:
                        self._samples[case.name, contestant.name].append(None)
                    else:
                        self._measure(case, contestant)
        return tuple(self._found(case) for case in self._cases)

    def _measure(self, case: Case, contestant: Contestant) -> None:
        key = (case.name, contestant.name)
        place = (
            self._scratch / f"{case.name}-{secrets.token_hex(8)}"
        )  # the part of the disk goes by the name, see below
        place.mkdir()
        taken: Usage | None = None
        try:
            self._check_space(case)
            warm(*case.blobs)
            taken = contestant.work(place)
            self._say(f"    {contestant.name}: {taken.wall:.2f} s")
        except Failed as error:
            self._failures[key] = str(error)
            self._say(f"    {contestant.name} failed: {error}")
        self._samples.setdefault(key, []).append(taken)
        if not case.makes_many_files:  # these are small, and go at the very end
            remove_tree(place)
        os.sync()

    def _check_space(self, case: Case) -> None:
        size = sum(blob.size for blob in case.blobs)
        free = usage(self._scratch).available
        if free < _FREE * size:
            raise Failed(f"only {free >> 20} MiB are free, and {_FREE * size >> 20} may be needed")

    def _found(self, case: Case) -> Found:
        samples = {one.name: self._samples[case.name, one.name] for one in case.contestants}
        rows = [self._row(case, one, samples) for one in case.contestants]
        verdicts = [_verdict(goal, samples) for goal in case.goals if set(goal.row) <= set(samples)]
        size = sum(blob.size for blob in case.blobs)
        return Found(case.name, case.title, size, tuple(rows), tuple(verdicts), tuple(self._load[case.name]))

    def _row(self, case: Case, one: Contestant, samples: Samples) -> Row:
        failure = self._failures.get((case.name, one.name), "")
        taken = tuple(samples[one.name])
        if one.name == OURS or OURS not in samples:
            return Row(one.name, one.kind, taken, failure=failure)
        wall = paired(samples, (one.name,), lambda usage: usage.wall)
        cpu = paired(samples, (one.name,), lambda usage: usage.cpu)
        return Row(one.name, one.kind, taken, wall, cpu, failure)


def _verdict(goal: Goal, samples: dict[str, list[Usage | None]]) -> Verdict:
    value = goal.value(samples)
    row = max(goal.row, key=lambda name: _slowest(samples[name]))
    reached = value is not None and goal.reached(value)
    return Verdict(row, goal.text, value, reached, "" if reached else goal.why_not)


def _slowest(samples: Sequence[Usage | None]) -> float:
    return max((one.wall for one in samples if one is not None), default=0.0)
