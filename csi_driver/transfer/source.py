"""What is fetched, and what it is fetched from."""

from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from csi_driver.oci.digest import Digest
from csi_driver.oci.media import Packing
from csi_driver.oci.part import Part


@dataclass(frozen=True, slots=True)
class Blob:
    """A layer as its descriptor names it: `size` is in bytes as stored, that is compressed where `packing` says so.

    `part` is what is kept of a tar layer, None for all of it.
    """

    digest: Digest
    size: int
    packing: Packing
    part: Part | None = None


class Body(Protocol):
    """The bytes that answer one request."""

    def readinto(self, view: memoryview, /) -> int:
        """Read at least one byte into `view` and say how many; 0 at the end.

        Raises `Unavailable` when the connection breaks or nothing arrives for too long.
        """

    def abort(self) -> None:
        """From any thread: a `readinto` under way ends at once, whatever it returns or raises."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Source(Protocol):
    """One blob at a registry, in ranges."""

    def open(self, start: int, stop: int | None, /, *, briefly: bool = False) -> Body:
        """The bytes from `start` up to, not including, `stop`; all the rest for None.

        Raises `RangeIgnored` when only the whole blob can be had, and `Unavailable` when it cannot be had now, although
        the source has asked for it as often as makes sense; for moments only if `briefly`, as the caller has another
        way and cannot end that.
        """


@dataclass(frozen=True, slots=True)
class Fetched:
    """How a layer came: `resumed` bytes were there from an earlier attempt; `notes` are sentences for the log."""

    resumed: int = 0
    entries: int = 0
    notes: tuple[str, ...] = ()
