"""How long a command goes on asking the driver."""

from dataclasses import dataclass, field

import pytest

from csi_driver.cli.driver import patiently
from csi_driver.errors import Busy, DriverError, NotFound, StillPulling, Unavailable
from csi_driver.inflight import Deadline

PULLING = StillPulling("pulling host/model:v1: 47 % (12.5 of 26.0 GiB, 412 MiB/s, 34 s left)")
AWAY = Unavailable("host cannot be reached")
BUSY = Busy("another call is at work on csi-1")


@dataclass
class Asker:
    """Asks a driver that answers with these errors, one a call, and then well."""

    answers: list[DriverError]
    pauses: list[float] = field(default_factory=list)
    shown: list[tuple[int, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def show(self, step: str, done: int, total: int) -> None:
        self.shown.append((done, total))

    def note(self, text: str) -> None:
        self.notes.append(text)

    def call(self) -> str:
        if self.answers:
            raise self.answers.pop(0)
        return "published"

    def ask(self, seconds: float = float("inf")) -> str:
        return patiently(self.call, self, Deadline.after(seconds), sleep=self.pauses.append)


def ask(*answers: DriverError) -> Asker:
    asker = Asker(list(answers))
    assert asker.ask() == "published"
    return asker


def test_a_pull_is_waited_for_without_a_pause_as_the_driver_takes_its_time() -> None:
    asker = ask(*[PULLING] * 100)
    assert asker.pauses == []
    assert asker.shown == [(int(12.5 * 2**30), 26 * 2**30)] * 100


def test_a_pull_whose_size_is_not_known_is_waited_for_too() -> None:
    assert ask(StillPulling("the registry has not answered yet")).notes == ["the registry has not answered yet"]


def test_another_call_on_the_volume_is_waited_for() -> None:
    assert ask(*[BUSY] * 20).pauses == [0.5] * 20


def test_an_absent_registry_is_asked_five_times_with_growing_pauses() -> None:
    asker = ask(*[AWAY] * 4)
    assert asker.pauses == [1.0, 2.0, 4.0, 8.0]
    assert set(asker.notes) == {"host cannot be reached; trying again"}
    with pytest.raises(Unavailable):
        Asker([AWAY] * 5).ask()


def test_an_absence_that_ended_counts_no_more() -> None:
    assert len(ask(*[AWAY, AWAY, AWAY, AWAY, PULLING] * 3).pauses) == 12


def test_a_wish_of_the_registry_is_heeded_within_reason() -> None:
    assert ask(Unavailable("busy", retry_after=3.0), Unavailable("busy", retry_after=3600.0)).pauses == [3.0, 8.0]


@pytest.mark.parametrize("answer", [PULLING, AWAY, BUSY], ids=lambda error: type(error).__name__)
def test_no_patience_means_one_call(answer: DriverError) -> None:
    asker = Asker([answer, answer])
    with pytest.raises(type(answer)):
        asker.ask(seconds=0.0)
    assert (len(asker.answers), asker.pauses) == (1, [])


def test_a_pause_is_never_longer_than_the_patience_that_is_left() -> None:
    asker = Asker([AWAY, AWAY])
    assert asker.ask(seconds=0.5) == "published"
    assert max(asker.pauses) <= 0.5


def test_what_will_not_change_is_not_asked_again() -> None:
    asker = Asker([NotFound("no such model"), PULLING])
    with pytest.raises(NotFound):
        asker.ask()
    assert asker.answers == [PULLING]
