"""How full the cache and its disk may become, and how much there is to give up when they are."""

from dataclasses import dataclass

from csi_driver.cache.room import Room
from csi_driver.config import Config, Mark
from csi_driver.host.files import Usage

_LEAST_FREE = 256 << 20  # bytes; a filesystem without any free space is slow, and other programs break on it
_FULL = Mark(percent=100)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows.

    `max_bytes` caps what the cache holds, 0 means no cap. `keep_free` of the filesystem stays free of pulls, by default
    1 % of it but at most 256 MiB; a share of the inodes stays free as well. Above `high_water` the cache gives up what
    was not used for `minimum_age` seconds, down to `low_water`: both are shares of the filesystem in use, by bytes or
    by inodes, or sizes of the cache.
    """

    max_bytes: int = 0
    keep_free: Mark | None = None
    high_water: Mark = _FULL
    low_water: Mark = _FULL
    minimum_age: float = 0.0

    @classmethod
    def of(cls, config: Config) -> "Limits":
        cache = config.cache
        return cls(
            max_bytes=config.features.disk_usage_limit,
            keep_free=cache.keep_free,
            high_water=cache.high_water,
            low_water=cache.low_water,
            minimum_age=cache.minimum_age_in_seconds,
        )

    def kept_free(self, usage: Usage) -> Room:
        """What pulls must leave free."""
        if self.keep_free is None:
            return Room(min(usage.total // 100, _LEAST_FREE), usage.inodes_total // 100)
        share = self.keep_free if self.keep_free.percent is not None else Mark(percent=1)
        return Room(self.keep_free.of(usage.total), share.of(usage.inodes_total))

    def shortage(self, wanted: Room, held: Room, usage: Usage) -> Room:
        """What is lacking for `wanted` beside the `held` that is there: on the disk, or under the cap."""
        short = (wanted + self.kept_free(usage) - _free(usage)).lacking
        if not usage.inodes_total:
            short = Room(short.bytes)  # btrfs and others have no fixed number of inodes, and tell 0
        if self.max_bytes:
            short |= Room(wanted.bytes + held.bytes - self.max_bytes)
        return short

    def above_high_water(self, held: Room, usage: Usage) -> Room:
        """What of the `held` is to be given up by and by, down to the low-water mark; nothing below the high one."""
        high, low = self.high_water, self.low_water
        if high.percent is None:
            return Room(held.bytes - low.bytes if held.bytes > high.bytes else 0).lacking
        used = Room(usage.total, usage.inodes_total) - _free(usage)
        return Room(
            used.bytes - low.of(usage.total) if used.bytes > high.of(usage.total) else 0,
            used.inodes - low.of(usage.inodes_total) if used.inodes > high.of(usage.inodes_total) else 0,
        ).lacking


def _free(usage: Usage) -> Room:
    return Room(usage.available, usage.inodes_free)
