"""What a run found, as it is kept in a JSON file: the table is made of this alone, today or later."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from tests.bench.measure import Usage


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal and what became of it; `value` is None when there was nothing to compare."""

    row: str
    text: str
    value: float | None
    reached: bool
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """What one contestant took, round by round; None where it failed, and then `failure` says how.

    `wall_ratio` and `cpu_ratio` are ours to theirs, the median of the ratios within the rounds.
    """

    name: str
    kind: str
    samples: tuple[Usage | None, ...]
    wall_ratio: float | None = None
    cpu_ratio: float | None = None
    failure: str = ""

    def median(self, what: str) -> float | None:
        """The median of one number of the samples."""
        found = [getattr(sample, what) for sample in self.samples if sample is not None]
        return median(found) if found else None


@dataclass(frozen=True, slots=True)
class Found:
    """One case; `load` is the load average when it began, round by round."""

    name: str
    title: str
    size: int
    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    load: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """A whole run."""

    made: str
    sizes: str
    rounds: int
    machine: Mapping[str, str]
    programs: Mapping[str, str]
    cases: tuple[Found, ...]
    absent: Sequence[str] = field(default=())

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Results":
        given = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**given, "cases": tuple(_case(case) for case in given["cases"])})


def _case(given: dict[str, list[dict[str, object]]]) -> Found:
    rows = tuple(_row(row) for row in given["rows"])
    verdicts = tuple(Verdict(**verdict) for verdict in given["verdicts"])  # type: ignore[arg-type]
    return Found(**{**given, "rows": rows, "verdicts": verdicts, "load": tuple(given["load"])})  # type: ignore[arg-type]


def _row(given: dict[str, object]) -> Row:
    samples = tuple(Usage(**one) if one else None for one in given["samples"])  # type: ignore[attr-defined]
    return Row(**{**given, "samples": samples})  # type: ignore[arg-type]
