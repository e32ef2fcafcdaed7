"""Runs that many callers share."""

import gc
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import TypeVar

import pytest

from csi_driver.errors import Stopping, Unavailable
from csi_driver.inflight import Deadline, Dropped, Flights, Future, Pool, Stop, Wait, spawn

SOON = 30.0  # seconds after which a test that waits in vain fails

T = TypeVar("T")


def soon() -> Wait:
    return Wait(Deadline.after(SOON))


def past() -> Wait:
    return Wait(Deadline.after(0))


class Gate:
    """A flight that says when it has started and goes on when it is let."""

    def __init__(self) -> None:
        self.runs = 0
        self.started = threading.Event()
        self.open = threading.Event()

    def __call__(self, stop: Stop) -> int:
        self.runs += 1
        self.started.set()
        assert self.open.wait(SOON)
        return self.runs


def flights(*, outlives_callers: bool = True, unseen_for: float = 150.0) -> Flights[str, int]:
    return Flights(Pool("test", 4), outlives_callers=outlives_callers, unseen_for=unseen_for)


def test_all_who_join_share_one_run() -> None:
    shared, gate = flights(), Gate()
    callers: list[Future[int]] = [spawn("caller", lambda: shared.join("model", gate, soon())) for _ in range(20)]
    assert gate.started.wait(SOON)
    gate.open.set()
    assert {caller.result(SOON) for caller in callers} <= {1, 2}
    assert gate.runs <= 2  # a caller that came after the landing starts anew


def test_a_flight_goes_on_when_its_caller_gives_up_and_the_next_caller_joins_it() -> None:
    shared, gate = flights(), Gate()
    with pytest.raises(TimeoutError):
        shared.join("model", gate, past())
    assert gate.started.wait(SOON)
    retry = spawn("retry", lambda: shared.join("model", gate, soon()))
    gate.open.set()
    assert retry.result(SOON) == 1
    assert gate.runs == 1


def test_a_failure_that_nobody_saw_is_told_to_the_next_caller_once() -> None:
    shared, gate = flights(), threading.Event()

    def fail(stop: Stop) -> int:
        assert gate.wait(SOON)
        raise Unavailable("the registry is down")

    with pytest.raises(TimeoutError):
        shared.join("model", fail, past())
    gate.set()
    with pytest.raises(Unavailable, match="down"):
        shared.join("model", lambda _: 7, soon())
    assert shared.join("model", lambda _: 7, soon()) == 7


def test_an_answer_that_nobody_heard_is_told_to_the_next_caller_once_where_nothing_else_remembers_it() -> None:
    shared: Flights[str, int] = Flights(Pool("test", 4), outlives_callers=True, keeps_answers=True)
    gate = Gate()
    with pytest.raises(TimeoutError):
        shared.join("model", gate, past())
    gate.open.set()
    assert shared.join("model", lambda _: 7, soon()) == 1
    assert shared.join("model", lambda _: 7, soon()) == 7


def test_a_failure_that_nobody_saw_for_long_is_forgotten() -> None:
    shared = flights(unseen_for=0.0)
    gate = threading.Event()

    def fail(stop: Stop) -> int:
        assert gate.wait(SOON)
        raise Unavailable("the registry was down")

    with pytest.raises(TimeoutError):
        shared.join("model", fail, past())
    gate.set()
    while shared.keys():
        pass
    assert shared.join("model", lambda _: 7, soon()) == 7


def test_a_failure_that_nobody_came_for_is_not_kept_for_ever() -> None:
    shared, gate = flights(unseen_for=0.0), threading.Event()
    failures: list[weakref.ref[Exception]] = []

    def fail(stop: Stop) -> int:
        assert gate.wait(SOON)
        error = Unavailable("the registry was down")
        failures.append(weakref.ref(error))
        raise error

    with pytest.raises(TimeoutError):
        shared.join("model", fail, past())
    gate.set()
    while shared.keys():
        pass
    assert shared.join("another model", lambda _: 7, soon()) == 7
    gc.collect()
    assert [failure() for failure in failures] == [None]


def test_a_flight_that_finds_no_thread_fails_and_the_next_starts_anew() -> None:
    shared = flights()
    usual = threading.stack_size(1 << 46)  # bytes of address space that no thread can have
    try:
        with pytest.raises(RuntimeError, match="thread"):
            shared.join("model", lambda _: 7, soon())
    finally:
        threading.stack_size(usual)
    assert shared.join("model", lambda _: 7, soon()) == 7


def test_a_flight_that_finds_no_memory_keeps_nobody_waiting_for_ever() -> None:
    class Exhausted(Pool):
        """Has no memory left, but for the second time that it is asked."""

        def submit(self, work: Callable[[], T], *, owner: Hashable = None) -> "Future[T]":
            if not self.is_asked:
                self.is_asked = True
                raise MemoryError
            return super().submit(work, owner=owner)

        is_asked = False

    shared: Flights[str, int] = Flights(Exhausted("test", 1), outlives_callers=True)
    with pytest.raises(MemoryError):
        shared.join("model", lambda _: 7, soon())
    assert shared.join("model", lambda _: 7, soon()) == 7


def test_a_dropped_caller_leaves_at_once_and_the_others_stay() -> None:
    shared, gate, wait = flights(), Gate(), soon()
    leaver = spawn("leaver", lambda: shared.join("model", gate, wait))
    stayer = spawn("stayer", lambda: shared.join("model", gate, soon()))
    assert gate.started.wait(SOON)
    wait.drop()
    with pytest.raises(Dropped):
        leaver.result(SOON)
    gate.open.set()
    assert stayer.result(SOON) == 1


def test_a_flight_that_does_not_outlive_its_callers_is_asked_to_stop() -> None:
    shared, stopped = flights(outlives_callers=False), threading.Event()

    def fly(stop: Stop) -> int:
        assert stop.wait(SOON)
        stopped.set()
        stop.check()
        return 0

    with pytest.raises(TimeoutError):
        shared.join("layer", fly, past())
    assert stopped.wait(SOON)


def test_who_comes_while_a_flight_is_stopping_gets_a_new_one_after_it() -> None:
    shared = flights(outlives_callers=False)
    asked, leave, order = threading.Event(), threading.Event(), []

    def first(stop: Stop) -> int:
        assert stop.wait(SOON)
        asked.set()
        assert leave.wait(SOON)
        order.append("first")
        stop.check()
        return 1

    def second(stop: Stop) -> int:
        order.append("second")
        return 2

    with pytest.raises(TimeoutError):
        shared.join("layer", first, past())
    assert asked.wait(SOON)
    newcomer = spawn("newcomer", lambda: shared.join("layer", second, soon()))
    leave.set()
    assert newcomer.result(SOON) == 2
    assert order == ["first", "second"]


def test_one_failure_ends_the_wait_for_all_and_the_rest_is_asked_to_stop() -> None:
    shared, stopped = flights(outlives_callers=False), threading.Event()

    def endless(stop: Stop) -> int:
        if stop.wait(SOON):
            stopped.set()
        return 0

    def fail(stop: Stop) -> int:
        raise Unavailable("gone")

    with pytest.raises(Unavailable, match="gone"):
        shared.join_all({"a": endless, "b": fail}, soon())
    assert stopped.wait(SOON)


def test_after_close_nothing_starts_and_what_flies_is_asked_to_stop() -> None:
    shared, gate = flights(), threading.Event()

    def fly(stop: Stop) -> int:
        gate.set()
        assert stop.wait(SOON)
        return 3

    flying = spawn("caller", lambda: shared.join("model", fly, soon()))
    assert gate.wait(SOON)
    assert shared.keys() == ["model"]
    shared.close()
    shared.drain(soon())
    assert shared.keys() == []
    assert flying.result(SOON) == 3
    with pytest.raises(Stopping):
        shared.join("other", lambda _: 1, soon())
