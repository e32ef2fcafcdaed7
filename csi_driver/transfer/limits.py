"""How much one layer may ask of the node."""

from dataclasses import dataclass

from csi_driver.errors import NoSpace


class LimitExceeded(NoSpace):
    """A layer unpacks to more than it may."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what a tar layer unpacks to, against archives made to fill the disk or the memory.

    `entries` counts files, links and directories; `unpacked_bytes` counts file sizes, holes included, and the archive
    itself; `header_bytes` bounds the extended headers and the sparse map of one entry, which pass through memory;
    `window_bytes` bounds what a zstd frame may ask to keep in memory (RFC 8878, section 3.1.1.1.2), at most 2 GiB; the
    default takes `zstd --long=28`, and leaves a pod with the usual memory limit alive.
    """

    entries: int = 1_000_000
    unpacked_bytes: int = 16 << 40
    header_bytes: int = 1 << 20
    window_bytes: int = 256 << 20
