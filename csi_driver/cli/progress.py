"""How far long work is, on standard error: bars on a terminal, and a line now and then anywhere else."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

import click

from csi_driver import amounts
from csi_driver.cli.output import printable

_SECONDS_BETWEEN_LINES = 5.0


class Meter(Protocol):
    """Where work reports to."""

    def show(self, step: str, done: int, total: int) -> None:
        """`done` of `total` bytes of this step are done; a `total` of 0 is one that is not known yet."""

    def note(self, text: str) -> None:
        """Something to know while waiting; said once as long as it stays the same."""


@contextmanager
def meter(stream: TextIO) -> Iterator[Meter]:
    """A meter for as long as the work lasts; what it drew on a terminal is gone afterwards."""
    if stream.isatty():
        from csi_driver.cli.bars import bars  # noqa: PLC0415  rich takes a tenth of a second, and only a terminal has use for it

        with bars(stream) as shown:
            yield shown
    else:
        yield Lines(stream)


class Lines:
    """Steps as lines of a log, at most one every few seconds; work that is soon done says nothing."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._began: dict[str, tuple[float, int]] = {}  # step -> when it was first seen, and how far it was
        self._next = clock() + _SECONDS_BETWEEN_LINES
        self._noted = ""

    def show(self, step: str, done: int, total: int) -> None:
        now = self._clock()
        began, before = self._began.setdefault(step, (now, done))
        if now < self._next:
            return
        self._next = now + _SECONDS_BETWEEN_LINES
        rate = (done - before) / (now - began) if now > began else 0.0
        click.echo(f"{step}: {_share(done, total)}, {amounts.size(rate)}/s", file=self._stream)

    def note(self, text: str) -> None:
        if text != self._noted:
            self._noted = text
            click.echo(printable(text), file=self._stream)


def _share(done: int, total: int) -> str:
    if total <= 0:
        return amounts.size(done)
    return f"{100 * min(done, total) // total} % ({amounts.size(done)} of {amounts.size(total)})"
