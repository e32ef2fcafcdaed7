"""How much one layer may ask of the node."""

import sys
from collections.abc import Callable
from dataclasses import dataclass

from csi_driver.config import Config
from csi_driver.errors import NoSpace

Grant = Callable[[int, int], None]
"""Told, before they are taken, how many bytes and inodes of the disk a layer takes so far; raises `NoSpace`."""


def anything(size: int, inodes: int) -> None:
    """A layer may take all that the disk has."""


class LimitExceeded(NoSpace):
    """A layer unpacks to more than it may."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a layer unpacks to, against archives made to fill the disk or the memory.

    `entries` counts files, links and directories, those that an archive only implies included; `unpacked_bytes` counts
    file sizes, holes included, and the archive itself; `ratio` bounds what a compressed layer unpacks to, in multiples
    of its own size, where that is more than `ratio_from` bytes: zeros, which is what sparse and untrained weights are
    made of, shrink a thousandfold; of what models hold otherwise, text shrinks most, to a fifth. `header_bytes` bounds
    the extended headers and the sparse map of one entry, and `path_characters` the paths of all entries and directories
    together: both pass through memory, the latter when a snapshot is made.
    `window_bytes` bounds what a zstd frame may ask to keep in memory (RFC 8878, section 3.1.1.1.2), at most 2 GiB; the
    default takes `zstd --long=28`, and leaves a pod with the usual memory limit alive.
    """

    entries: int = 1_000_000
    unpacked_bytes: int = 16 << 40
    ratio: int = 200
    ratio_from: int = 4 << 30
    header_bytes: int = 1 << 20
    path_characters: int = 128 << 20
    window_bytes: int = 256 << 20

    @classmethod
    def of(cls, config: Config) -> "Limits":
        """What the configuration says."""
        said = config.limits
        return cls(
            entries=said.layer_entries, unpacked_bytes=said.layer_size or sys.maxsize, ratio=said.compression_ratio
        )

    def check_size(self, size: int) -> None:
        """Raise `LimitExceeded` if a layer may not unpack to so many bytes."""
        if size > self.unpacked_bytes:
            raise LimitExceeded(
                f"the layer unpacks to more than {self.unpacked_bytes} bytes; if it is to be trusted, raise "
                "limits.layer_size"
            )

    def check_ratio(self, size: int, compressed: int) -> None:
        """Raise `LimitExceeded` if so many compressed bytes may not unpack to so many."""
        if size > self.ratio_from and size > self.ratio * compressed:
            raise LimitExceeded(
                f"the layer unpacks to more than {self.ratio} times its {compressed} compressed bytes; if it is to be "
                "trusted, raise limits.compression_ratio"
            )

    def check_paths(self, characters: int) -> None:
        """Raise `LimitExceeded` if the paths in an archive may not have so many characters together."""
        if characters > self.path_characters:
            raise LimitExceeded(
                f"the paths in the archive have more than {self.path_characters} characters together; pack "
                "fewer files, or under shorter names"
            )

    def check_entries(self, count: int) -> None:
        """Raise `LimitExceeded` if an archive may not have so many entries."""
        if count > self.entries:
            raise LimitExceeded(
                f"the archive has more than {self.entries} entries, the directories above them included; if it is to "
                "be trusted, raise limits.layer_entries"
            )
