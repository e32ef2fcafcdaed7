"""Work that is in nobody's way."""

import pytest

from csi_driver.errors import Stopping
from csi_driver.inflight import Stop, Throttle


class Clock:
    """Time passes only while somebody sleeps, or when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_so_much_a_second_is_done_however_it_is_cut() -> None:
    clock = Clock()
    throttle = Throttle(lambda: 50.0, Stop(), clock=clock, sleep=clock.sleep)
    for units in (1, 99, 400, 500):
        throttle.spend(units)
    assert clock.now == pytest.approx(100.0 + 1000 / 50)


def test_what_lags_behind_may_catch_up_a_little_and_no_more() -> None:
    clock = Clock()
    throttle = Throttle(lambda: 10.0, Stop(), clock=clock, sleep=clock.sleep)
    clock.now += 60.0
    throttle.spend(100)
    assert clock.now == pytest.approx(100.0 + 60.0 + 10.0 - 0.5)


def test_the_rate_may_change_and_none_is_no_limit() -> None:
    clock, rate = Clock(), [10.0]
    throttle = Throttle(lambda: rate[0], Stop(), clock=clock, sleep=clock.sleep)
    throttle.spend(10)
    assert clock.now == pytest.approx(101.0)
    rate[0] = 0.0
    throttle.spend(1_000_000)
    assert clock.now == pytest.approx(101.0)
    rate[0] = -1.0
    throttle.spend(1_000_000)
    assert clock.now == pytest.approx(101.0)


def test_who_was_told_to_stop_stops_also_out_of_a_pause() -> None:
    clock, stop = Clock(), Stop()
    Throttle(lambda: 0.0, stop).spend(10)
    throttle = Throttle(lambda: 1.0, stop, clock=clock, sleep=lambda _: stop.set())
    with pytest.raises(Stopping):
        throttle.spend(10)
    with pytest.raises(Stopping):
        Throttle(lambda: 0.0, stop).spend(10)
