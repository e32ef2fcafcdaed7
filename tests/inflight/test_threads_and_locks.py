"""Threads, locks, places and channels."""

import contextvars
import threading

import pytest

from csi_driver.errors import Busy, Stopping
from csi_driver.inflight import Channel, ChannelClosed, KeyedLocks, Pool, Slots, Stop, every, lasting, spawn

SOON = 30.0
who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")


def test_work_sees_the_context_of_whoever_handed_it_over() -> None:
    token = who.set("a pod")
    try:
        assert Pool("test", 1).submit(who.get).result(SOON) == "a pod"
        assert spawn("test", who.get).result(SOON) == "a pod"
    finally:
        who.reset(token)


def test_repeated_work_ends_when_it_is_asked_to() -> None:
    stop, done, told = Stop(), threading.Event(), list[Exception]()
    repeating = every("test", 0.0, done.set, stop, failed=told.append)
    assert done.wait(SOON)
    stop.set()
    repeating.result(SOON)
    assert told == []
    with pytest.raises(Stopping):
        stop.check()


def test_repeated_work_goes_on_after_a_failure_and_tells_of_it() -> None:
    stop, outcomes = Stop(), iter((ValueError("first"), ValueError("second")))
    told: list[Exception] = []

    def work() -> None:
        error = next(outcomes, None)
        if error is None:
            stop.set()
        else:
            raise error

    every("test", 0.0, work, stop, failed=told.append).result(SOON)
    assert [str(error) for error in told] == ["first", "second"]


def test_lasting_work_begins_anew_after_a_failure_and_tells_of_it() -> None:
    stop, outcomes = Stop(), iter((OSError("no more descriptors"), RuntimeError("no more threads")))
    told: list[Exception] = []

    def work() -> None:
        error = next(outcomes, None)
        if error is not None:
            raise error
        stop.set()

    lasting("test", work, stop, failed=told.append, pause=0.0).result(SOON)
    assert [str(error) for error in told] == ["no more descriptors", "no more threads"]


def test_lasting_work_that_failed_does_not_hold_up_the_end() -> None:
    stop, failed = Stop(), threading.Event()
    work = lasting("test", lambda: 1 // 0, stop, failed=lambda _: failed.set(), pause=3600.0)
    assert failed.wait(SOON)
    stop.set()
    work.result(SOON)


def test_the_second_caller_on_a_key_is_told_that_it_is_busy() -> None:
    locks: KeyedLocks[str] = KeyedLocks()
    with locks.hold("volume a"), pytest.raises(Busy, match="volume a"), locks.hold("volume a"):
        pass
    with locks.hold("volume a"), locks.hold("volume b"):
        pass


def test_a_patient_caller_gets_the_lock_when_it_is_free() -> None:
    locks: KeyedLocks[str] = KeyedLocks()
    held, leave = threading.Event(), threading.Event()

    def first() -> None:
        with locks.hold("volume a"):
            held.set()
            assert leave.wait(SOON)

    def second() -> str:
        with locks.hold("volume a", patience=SOON):
            return "mine"

    holder = spawn("first", first)
    assert held.wait(SOON)
    patient = spawn("second", second)
    leave.set()
    assert patient.result(SOON) == "mine"
    holder.result(SOON)


def test_who_finds_no_place_goes_away_at_once() -> None:
    slots = Slots(1, full="every place is taken")
    with slots.take(), pytest.raises(Busy, match="every place is taken"), slots.take():
        pass
    with slots.take():
        pass


def test_a_channel_hands_over_in_order_and_ends() -> None:
    channel: Channel[int] = Channel(2)

    def send() -> None:
        for number in range(100):
            channel.put(number)
        channel.end()

    sender = spawn("sender", send)
    assert list(channel) == list(range(100))
    sender.result(SOON)


def test_a_sender_learns_that_the_receiver_has_gone() -> None:
    channel: Channel[int] = Channel(1)
    channel.put(1)
    sender = spawn("sender", lambda: channel.put(2))
    assert channel.abandon() in ([1], [1, 2])
    with pytest.raises(ChannelClosed):
        channel.put(3)
    if sender.exception(SOON):
        with pytest.raises(ChannelClosed):
            sender.result(SOON)
