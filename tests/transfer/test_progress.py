"""Progress tells how far, how fast and how long, for one transfer and for many."""

import pytest

from csi_driver.transfer.progress import Progress, Totals, describe

MIB = 1 << 20


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_nothing_is_known_before_the_first_byte(clock: Clock) -> None:
    progress = Progress(100, clock=clock)
    assert (progress.fetched, progress.total, progress.rate()) == (0, 100, 0.0)
    assert progress.remaining_seconds() is None


def test_the_rate_is_that_of_the_last_ten_seconds(clock: Clock) -> None:
    progress = Progress(1000 * MIB, clock=clock)
    for rate in [100] * 20 + [10] * 20:
        clock.now += 1
        progress.advance(rate * MIB)
    assert progress.rate() == pytest.approx(10 * MIB)
    assert progress.fetched == 2200 * MIB


def test_a_stall_slows_the_rate_down_to_nothing(clock: Clock) -> None:
    progress = Progress(1000, clock=clock)
    clock.now += 1
    progress.advance(500)
    assert progress.rate() == pytest.approx(500)
    clock.now += 4
    assert progress.rate() == pytest.approx(100)
    clock.now += 30
    assert progress.rate() == 0.0
    assert progress.remaining_seconds() is None


def test_what_was_found_is_no_part_of_the_rate(clock: Clock) -> None:
    progress = Progress(1000, clock=clock)
    progress.found(600)
    clock.now += 2
    progress.advance(100)
    assert (progress.fetched, progress.rate()) == (700, 50.0)
    assert progress.remaining_seconds() == pytest.approx(6.0)
    assert Progress.sum([progress]).here == 600
    progress.found(-600)
    assert progress.fetched == 100


def test_nothing_remains_at_the_end(clock: Clock) -> None:
    progress = Progress(10, clock=clock)
    progress.advance(10)
    assert progress.remaining_seconds() == 0.0


def test_parts_are_added_up(clock: Clock) -> None:
    parts = [Progress(100, clock=clock), Progress(300, clock=clock)]
    clock.now += 1
    parts[0].advance(50)
    parts[1].advance(150)
    total = Progress.sum(parts)
    assert total.here == 0
    assert (total.fetched, total.total, total.rate(), total.remaining_seconds()) == (200, 400, 200.0, 1.0)
    assert Progress.sum([]).remaining_seconds() == 0.0


@pytest.mark.parametrize(
    ("fetched", "total", "rate", "text"),
    [
        (int(12.3 * 1024) * MIB, int(26.1 * 1024) * MIB, 412 * MIB, "47 % (12.3 of 26.1 GiB, 412 MiB/s, 34 s left)"),
        (0, 5, 0, "0 % (0 of 5 B)"),
        (0, 0, 0, "0 % (0 of 0 B)"),
        (1023, 1023, 10, "100 % (1023 of 1023 B, 10 B/s, 0 s left)"),
        (MIB, 3 * MIB, 1024, "33 % (1.0 of 3.0 MiB, 1 KiB/s, 34 min left)"),
        (0, 1 << 40, 20 * MIB, "0 % (0.0 of 1.0 TiB, 20 MiB/s, 14 h 33 min left)"),
        (200, 100, 10, "100 % (200 of 100 B, 10 B/s, 0 s left)"),
    ],
)
def test_progress_in_words(fetched: int, total: int, rate: int, text: str) -> None:
    assert describe(Totals(fetched=fetched, total=total, bytes_per_second=rate)) == text
