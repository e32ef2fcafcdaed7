"""When there is too much in the cache: under the cap, on the disk, above the high-water mark."""

import pytest

from csi_driver.cache.limits import Limits
from csi_driver.cache.room import Room
from csi_driver.config import Config, Mark
from csi_driver.host.files import Usage

GIB = 1 << 30


def disk(*, used: float, inodes_used: float = 0.0) -> Usage:
    """A filesystem of 100 GiB and 1000 inodes, of which so much is taken, in percent."""
    free = int((100 - used) * GIB)
    return Usage(100 * GIB, free, free, 1000, int(1000 - 10 * inodes_used))


def test_the_shortage_is_over_the_cap_or_under_what_the_disk_keeps_free() -> None:
    capped = Limits(max_bytes=10 * GIB)
    assert capped.shortage(Room(), Room(15 * GIB), disk(used=15)) == Room(5 * GIB)
    assert capped.shortage(Room(GIB), Room(8 * GIB), disk(used=15)) == Room()
    assert Limits(keep_free=Mark(percent=20)).shortage(Room(GIB), Room(), disk(used=80)) == Room(GIB)
    assert Limits(keep_free=Mark(bytes=3 * GIB)).shortage(Room(), Room(), disk(used=99)) == Room(2 * GIB)


def test_a_share_that_is_kept_free_is_one_of_inodes_too() -> None:
    usage = disk(used=0, inodes_used=80)
    assert Limits(keep_free=Mark(percent=10)).shortage(Room(0, 150), Room(), usage) == Room(0, 50)
    assert Limits(keep_free=Mark(bytes=1)).shortage(Room(0, 150), Room(), usage) == Room()


@pytest.mark.parametrize(
    ("used", "inodes_used", "excess"),
    [(89, 0, Room()), (91, 0, Room(21 * GIB)), (50, 91, Room(0, 210)), (95, 95, Room(25 * GIB, 250)), (90, 90, Room())],
)
def test_above_a_high_share_of_the_disk_it_goes_down_to_the_low_one(
    used: float, inodes_used: float, excess: Room
) -> None:
    limits = Limits(high_water=Mark(percent=90), low_water=Mark(percent=70))
    assert limits.above_high_water(Room(1), disk(used=used, inodes_used=inodes_used)) == excess


def test_marks_in_bytes_are_of_the_cache_whatever_else_is_on_the_disk() -> None:
    limits = Limits(high_water=Mark(bytes=20 * GIB), low_water=Mark(bytes=15 * GIB))
    assert limits.above_high_water(Room(20 * GIB), disk(used=99)) == Room()
    assert limits.above_high_water(Room(21 * GIB), disk(used=22)) == Room(6 * GIB)


def test_a_filesystem_that_does_not_count_inodes_is_never_full_of_them() -> None:
    usage = Usage(100 * GIB, 50 * GIB, 50 * GIB, 0, 0)
    limits = Limits(keep_free=Mark(percent=10), high_water=Mark(percent=60), low_water=Mark(percent=50))
    assert limits.shortage(Room(0, 1 << 40), Room(), usage) == Room()
    assert limits.above_high_water(Room(), usage) == Room()


def test_the_defaults_are_kubelets_for_images() -> None:
    limits = Limits.of(Config())
    assert (str(limits.high_water), str(limits.low_water), limits.minimum_age) == ("85%", "80%", 120.0)
