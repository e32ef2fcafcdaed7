"""The node's bandwidth, when it is limited, is shared by all transfers and exceeded by none."""

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_driver.errors import Stopping
from csi_driver.oci.media import Packing
from csi_driver.transfer.bandwidth import Bandwidth
from csi_driver.transfer.splitting import Splitting
from tests.transfer.conftest import SMALL, Bench
from tests.transfer.sources import MemorySource
from tests.transfer.test_resume import interrupt

DATA = os.urandom(20 * SMALL)


class Clock:
    """Time passes when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(st.integers(10**6, 10**9), st.lists(st.integers(1, 10**7), min_size=1, max_size=20))
def test_whoever_waits_as_told_receives_no_more_than_the_limit(limit: int, counts: list[int]) -> None:
    clock = Clock()
    bandwidth = Bandwidth(lambda: limit, clock=clock)
    for count in counts:
        turn = bandwidth.spend(count)
        while (pause := bandwidth.wait(turn)) > 1e-6:
            assert pause <= 1.0  # the limit may change meanwhile
            clock.now += pause
    assert clock.now - 1000.0 == pytest.approx(sum(counts) / limit, abs=1e-3)


def test_connections_take_turns() -> None:
    clock = Clock()
    bandwidth = Bandwidth(lambda: 100, clock=clock)
    first, second, third = [bandwidth.spend(30) for _ in range(3)]
    assert [bandwidth.wait(turn) for turn in (first, second, third)] == pytest.approx([0.3, 0.6, 0.9])
    clock.now += 10
    assert bandwidth.wait(third) == 0.0
    assert bandwidth.wait(bandwidth.spend(50)) == 0.5  # what nobody used is gone


def test_only_a_quarter_of_a_second_is_asked_for_at_once() -> None:
    assert Bandwidth(lambda: 1000).most(1 << 20) == 250
    assert Bandwidth(lambda: 1).most(1 << 20) == 1
    assert Bandwidth(lambda: 10**12).most(1 << 20) == 1 << 20


def test_no_limit_is_no_wait() -> None:
    bandwidth = Bandwidth(lambda: 0)
    assert bandwidth.wait(bandwidth.spend(10**12)) == 0.0
    assert bandwidth.most(1 << 20) == 1 << 20


def test_a_limit_may_be_lifted_while_transfers_run(bench: Bench) -> None:
    limits = iter([1, 1, 1])
    bench.bandwidth = lambda: next(limits, 0)
    bench.fetch(DATA, Packing.RAW)
    assert bench.content.read_bytes() == DATA


def test_who_waits_under_a_limit_of_before_goes_on_under_that_of_now() -> None:
    """A limit that was mistyped keeps nobody waiting once it was mended."""
    clock, limit = Clock(), 100
    bandwidth = Bandwidth(lambda: limit, clock=clock)
    first, second = bandwidth.spend(10_000), bandwidth.spend(10_000)
    for _ in range(10):
        clock.now += bandwidth.wait(first)
    assert clock.now == 1010.0
    assert bandwidth.wait(first) > 0
    limit = 10_000
    clock.now += bandwidth.wait(first)
    assert clock.now == pytest.approx(1010.9)
    assert bandwidth.wait(second) == pytest.approx(1.0)
    limit = 0
    assert bandwidth.wait(second) == 0.0


def test_a_transfer_goes_on_at_once_when_its_limit_is_lifted(bench: Bench) -> None:
    """What had arrived before there was a limit would have cost hours under it."""
    limits = iter([0, 1, 1])
    bench.bandwidth = lambda: next(limits, 0)
    bench.fetch(DATA, Packing.RAW)
    assert bench.content.read_bytes() == DATA


def test_what_waits_for_its_turn_is_not_taken_for_slow(bench: Bench) -> None:
    bench.splitting = Splitting(slow=5e6, after=0.0)
    bench.bandwidth = lambda: 4_000_000
    source = MemorySource(DATA)
    bench.fetch(DATA, Packing.RAW, source=source)
    assert source.opened == [(0, None)]


def test_a_stop_ends_the_wait_for_ones_turn(bench: Bench) -> None:
    bench.bandwidth = lambda: 1
    source = MemorySource(DATA).calling(lambda _: threading.Thread(target=bench.stop.set).start())
    with pytest.raises(Stopping):
        bench.fetch(DATA, Packing.RAW, source=source)


def test_what_only_leads_to_the_missing_bytes_is_waited_for_as_well(bench: Bench) -> None:
    """A server without ranges sends everything again, and all of it counts."""
    interrupt(bench, DATA, Packing.RAW, after=15 * SMALL)
    asked: list[int] = []

    def limit() -> int:
        asked.append(1)
        return 0

    bench.bandwidth = limit
    bench.fetch(DATA, Packing.RAW, source=MemorySource(DATA, ranges=False, step=SMALL))
    assert len(asked) == 3 * 20  # before each piece how much may come, and after it what that costs, and still does
