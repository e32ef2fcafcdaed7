"""Whoever waits can be asked to look up now and then."""

import threading

import pytest

from csi_driver.inflight import Deadline, Wait


def test_a_waiting_caller_ticks_at_once_and_then_as_often_as_each_tick_asks() -> None:
    wait, ticks = Wait(Deadline.never()), 0

    def tick() -> float:
        nonlocal ticks
        ticks += 1
        return 0.0

    with wait.ticking(tick):
        wait.until(lambda: ticks == 3)
    assert ticks == 3


def test_ticks_come_in_the_thread_that_waits() -> None:
    wait, threads = Wait(Deadline.never()), []

    def tick() -> float:
        threads.append(threading.current_thread())
        wait.wake()
        return 3600.0

    with wait.ticking(tick):
        wait.until(lambda: bool(threads))
    assert threads == [threading.current_thread()]


def test_a_tick_moves_no_deadline() -> None:
    wait = Wait(Deadline.after(0.0))
    with wait.ticking(lambda: 0.0), pytest.raises(TimeoutError):
        wait.until(lambda: False)


def test_after_the_context_nothing_ticks() -> None:
    wait, ticks = Wait(Deadline.never()), []

    def tick() -> float:
        ticks.append(1)
        return 0.0

    with wait.ticking(tick):
        wait.until(lambda: len(ticks) == 2)
    wait.wake()
    rounds = iter([False, True])
    wait.until(lambda: next(rounds))
    assert len(ticks) == 2
