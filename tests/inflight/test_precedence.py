"""Who is in a hurry goes first; all others step aside and wait for their turn."""

import pytest

from csi_driver.inflight import Deadline, Dropped, Precedence, Wait, spawn

SOON = 30.0


class Told:
    """Counts how often a run was told to step aside."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def may_go(precedence: Precedence[str], key: str) -> bool:
    try:
        precedence.wait_for_turn(key, Wait(Deadline.after(0.0)))
    except TimeoutError:
        return False
    return True


def test_without_anybody_in_a_hurry_all_may_go_at_once() -> None:
    precedence: Precedence[str] = Precedence()
    told = Told()
    with precedence.running("a", step_aside=told), precedence.running("b", step_aside=told):
        assert may_go(precedence, "c")
    assert told.times == 0


def test_a_run_steps_aside_when_another_becomes_urgent_and_goes_when_that_has_ended() -> None:
    precedence: Precedence[str] = Precedence()
    ahead, urgent = Told(), Told()
    with precedence.running("ahead", step_aside=ahead):
        with precedence.wanting("urgent"):
            assert ahead.times > 0
            with precedence.running("urgent", step_aside=urgent):
                assert not may_go(precedence, "ahead")
        assert may_go(precedence, "ahead")
    assert urgent.times == 0


def test_a_run_stays_urgent_when_whoever_was_in_a_hurry_has_left() -> None:
    precedence: Precedence[str] = Precedence()
    with precedence.running("a", step_aside=Told()):
        with precedence.wanting("a"):
            pass
        assert precedence.is_urgent("a")
        assert not may_go(precedence, "b")
    assert not precedence.is_urgent("a")
    assert may_go(precedence, "b")


def test_a_run_that_a_hurried_caller_joins_goes_on_and_the_others_step_aside() -> None:
    precedence: Precedence[str] = Precedence()
    joined, other = Told(), Told()
    with (
        precedence.running("joined", step_aside=joined),
        precedence.running("other", step_aside=other),
        precedence.wanting("joined"),
    ):
        assert (joined.times, other.times > 0) == (0, True)


def test_two_urgent_runs_do_not_wait_for_each_other() -> None:
    precedence: Precedence[str] = Precedence()
    told = Told()
    with (
        precedence.wanting("a"),
        precedence.wanting("b"),
        precedence.running("a", step_aside=told),
        precedence.running("b", step_aside=told),
    ):
        assert precedence.is_urgent("a")
        assert precedence.is_urgent("b")
    assert told.times == 0


def test_a_run_that_begins_while_others_are_urgent_is_told_at_once() -> None:
    precedence: Precedence[str] = Precedence()
    told = Told()
    with precedence.wanting("urgent"), precedence.running("late", step_aside=told):
        assert told.times == 1


def test_whoever_waits_for_its_turn_is_woken_when_it_comes() -> None:
    precedence: Precedence[str] = Precedence()
    wait = Wait(Deadline.after(SOON))
    with precedence.wanting("urgent"):
        waiting = spawn("waiting", lambda: precedence.wait_for_turn("ahead", wait))
    waiting.result(SOON)


def test_whoever_waits_for_its_turn_can_be_called_off() -> None:
    precedence: Precedence[str] = Precedence()
    wait = Wait(Deadline.never())
    with precedence.wanting("urgent"):
        waiting = spawn("waiting", lambda: precedence.wait_for_turn("ahead", wait))
        wait.drop()
        with pytest.raises(Dropped):
            waiting.result(SOON)
