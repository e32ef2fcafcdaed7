"""Room on a disk, in the two measures in which it ends: bytes and inodes."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """A number of bytes and a number of inodes."""

    bytes: int = 0
    inodes: int = 0

    def __add__(self, other: "Room") -> "Room":
        return Room(self.bytes + other.bytes, self.inodes + other.inodes)

    def __sub__(self, other: "Room") -> "Room":
        return Room(self.bytes - other.bytes, self.inodes - other.inodes)

    def __or__(self, other: "Room") -> "Room":
        """The larger one of each."""
        return Room(max(self.bytes, other.bytes), max(self.inodes, other.inodes))

    @property
    def lacking(self) -> "Room":
        """What of it is above zero."""
        return self | Room()

    def covers(self, other: "Room") -> bool:
        """Whether there is as much of both."""
        return self.bytes >= other.bytes and self.inodes >= other.inodes

    @classmethod
    def sum(cls, rooms: "Iterable[Room]") -> "Room":
        total_bytes = total_inodes = 0
        for room in rooms:
            total_bytes += room.bytes
            total_inodes += room.inodes
        return cls(total_bytes, total_inodes)


def shown(count: int) -> str:
    """Bytes for people."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.4g} {unit}"
        amount /= 1024
    return f"{amount:.4g} TiB"
