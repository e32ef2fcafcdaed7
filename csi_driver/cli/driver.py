"""How commands speak to the driver of this node: patiently, as kubelet does."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from csi_driver.amounts import UNITS
from csi_driver.cli.exits import NoDriver
from csi_driver.cli.progress import Meter
from csi_driver.csi.client import Client
from csi_driver.csi.endpoint import Endpoint
from csi_driver.errors import AccessDenied, Busy, Conflict, StillPulling, Unavailable
from csi_driver.inflight import Deadline

T = TypeVar("T")

_TRIES = 5  # in a row that may find the registry or the driver unavailable: about 15 seconds
_LONGEST_PAUSE = 8.0
_AMOUNTS = re.compile(r"(\d+(?:\.\d+)?) of (\d+(?:\.\d+)?) (B|KiB|MiB|GiB|TiB|PiB)\b")


@contextmanager
def driver(endpoint: str) -> Iterator[Client]:
    """The driver at `endpoint`; raises `NoDriver` when there is none and `AccessDenied` when it may not be asked."""
    place = Endpoint.parse(endpoint)
    try:
        served = place.is_served()
    except Conflict as error:
        raise AccessDenied(str(error)) from error
    if not served:
        raise NoDriver(f"no driver listens at {place}: start it with `model-csi serve` or name another --endpoint")
    with Client(place) as client:
        yield client


def patiently(
    call: Callable[[], T], meter: Meter, patience: Deadline, *, sleep: Callable[[float], None] = time.sleep
) -> T:
    """The outcome of `call`, made again while a pull goes on, another call is at work or the registry is away.

    Raises the last refusal when `patience` ends, and an `Unavailable` that has come five times in a row.
    """
    tries = 0
    while True:
        try:
            return call()
        except (StillPulling, Busy, Unavailable) as error:
            tries = tries + 1 if isinstance(error, Unavailable) else 0
            if tries == _TRIES or not patience.remaining():
                raise
            if isinstance(error, StillPulling):
                _show(error, meter)
                continue
            meter.note(f"{error}; trying again")
            wished = error.retry_after if isinstance(error, Unavailable) else None
            sleep(min(wished or 2.0 ** (tries - 1), _LONGEST_PAUSE, patience.remaining()))


def amounts(text: str) -> tuple[int, int] | None:
    """Bytes fetched and bytes in all, as the driver's text about a pull tells them; a status carries only text."""
    match = _AMOUNTS.search(text)
    if match is None:
        return None
    scale = 1024 ** UNITS.index(match[3])
    return int(float(match[1]) * scale), int(float(match[2]) * scale)


def _show(error: StillPulling, meter: Meter) -> None:
    told = amounts(str(error))
    if told is None:
        meter.note(str(error))
    else:
        meter.show("pulling", *told)
