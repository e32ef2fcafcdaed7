"""What is to be reached, as numbers that a run either reaches or not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.measure import Usage

OURS = "model-csi"

Samples = Mapping[str, Sequence[Usage | None]]
"""What each contestant took, round by round; None where it failed."""


@dataclass(frozen=True, slots=True)
class Goal:
    """`value` is to be at most (or at least) `bound`; `row` is the contestant beside which the table shows it.

    `why_not` is what is known about the cause when it is not reached.
    """

    text: str
    row: tuple[str, ...]
    value: Callable[[Samples], float | None]
    bound: float
    at_most: bool = True
    why_not: str = ""

    def reached(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound


def within(times: float, *limits: str, why_not: str = "") -> Goal:
    """Our time is at most so many times that of the limit; of several limits, the slowest in each round."""
    named = f"the slowest of {len(limits)} limits" if len(limits) > 1 else "this"
    return Goal(f"≤ {times:g}x {named}", limits, lambda samples: paired(samples, limits, _wall), times, why_not=why_not)


def faster(times: float, peer: str, why_not: str = "") -> Goal:
    """The peer takes at least so many times our time."""

    def value(samples: Samples) -> float | None:
        ratio = paired(samples, (peer,), _wall)
        return ratio and 1 / ratio

    return Goal(f"≥ {times:g}x faster", (peer,), value, times, at_most=False, why_not=why_not)


def less_cpu(share: float, peer: str, why_not: str = "") -> Goal:
    """We take at most so large a share of the peer's CPU time."""
    return Goal(
        f"≤ {share:g}x its CPU", (peer,), lambda samples: paired(samples, (peer,), _cpu), share, why_not=why_not
    )


def less_memory(share: float, peer: str, why_not: str = "") -> Goal:
    """We take at most so large a share of the peer's memory."""
    return Goal(
        f"≤ {share:g}x its memory", (peer,), lambda samples: paired(samples, (peer,), _peak), share, why_not=why_not
    )


def cpu_per_gb(seconds: float, size: int, why_not: str = "") -> Goal:
    """CPU seconds for each 10^9 bytes of the blob."""
    return Goal(
        f"≤ {seconds:g} CPU s/GB", (OURS,), lambda samples: _own(samples, lambda one: one.cpu / (size / 1e9)), seconds,
        why_not=why_not,
    )  # fmt: skip


def memory(megabytes: float, row: str = OURS, why_not: str = "") -> Goal:
    """The largest resident set, in 10^6 bytes."""
    return Goal(
        f"≤ {megabytes:g} MB", (row,), lambda samples: _own(samples, lambda one: one.peak / 1e6, row), megabytes,
        why_not=why_not,
    )  # fmt: skip


def rate(megabytes: float, size: int, why_not: str = "") -> Goal:
    """10^6 bytes of the blob each second, from beginning to end."""
    return Goal(
        f"≥ {megabytes:g} MB/s", (OURS,), lambda samples: _own(samples, lambda one: size / 1e6 / one.wall), megabytes,
        at_most=False, why_not=why_not,
    )  # fmt: skip


def seconds(bound: float, row: str, why_not: str = "") -> Goal:
    """Seconds from the beginning to the end."""
    return Goal(f"≤ {bound:g} s", (row,), lambda samples: _own(samples, _wall, row), bound, why_not=why_not)


def paired(samples: Samples, others: Sequence[str], of: Callable[[Usage], float], ours: str = OURS) -> float | None:
    """The median over the rounds of our number divided by the largest of the others' in the same round."""
    if any(name not in samples for name in (ours, *others)):
        return None
    ratios = []
    for own, *found in zip(samples[ours], *(samples[name] for name in others), strict=True):
        known = [of(one) for one in found if one is not None]
        if own is not None and len(known) == len(others) and max(known) > 0:
            ratios.append(of(own) / max(known))
    return median(ratios) if ratios else None


def _own(samples: Samples, of: Callable[[Usage], float], row: str = OURS) -> float | None:
    found = [of(one) for one in samples.get(row, ()) if one is not None]
    return median(found) if found else None


def _wall(usage: Usage) -> float:
    return usage.wall


def _cpu(usage: Usage) -> float:
    return usage.cpu


def _peak(usage: Usage) -> float:
    return usage.peak
