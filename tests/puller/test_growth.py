"""Room for a layer that unpacks to more than was reserved."""

from pathlib import Path

import pytest

from csi_driver.cache.layout import LayerId
from csi_driver.cache.limits import Limits
from csi_driver.cache.room import Room
from csi_driver.cache.space import Need
from csi_driver.cache.store import Cache
from csi_driver.errors import NoSpace
from csi_driver.oci.digest import Digest
from csi_driver.puller.growth import Growth

UNIT = 300 << 20
LAYER = LayerId(Digest.of(b"layer"), is_tree=True)
OTHER = LayerId(Digest.of(b"other"), is_tree=True)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A cache of at most 900 MiB, on a disk that has as much."""
    return Cache(tmp_path / "root", in_use=set, limits=lambda: Limits(max_bytes=3 * UNIT, keep_free=None))


def growth(cache: Cache) -> Growth:
    return Growth(cache, LAYER, "registry.local", Room(UNIT, 10), urgent=True)


def room_for_another(cache: Cache, size: int) -> bool:
    try:
        with cache.reserve([Need(OTHER, "registry.local", Room(size, 1))]):
            return True
    except NoSpace:
        return False


def test_what_was_reserved_needs_no_more(cache: Cache) -> None:
    with growth(cache) as more:
        more.grant(UNIT, 10)
        assert room_for_another(cache, 3 * UNIT)  # the caller's own reservation is not made here


def test_what_is_granted_is_kept_from_others_until_the_end(cache: Cache) -> None:
    with growth(cache) as more:
        more.grant(UNIT + 1, 10)
        assert not room_for_another(cache, 2 * UNIT)
        assert room_for_another(cache, UNIT)
        more.grant(3 * UNIT, 10)  # no half as much again can be had, but so much can
        assert not room_for_another(cache, 1)
        with pytest.raises(NoSpace, match="too much"):
            more.grant(3 * UNIT + 1, 10)
        assert not room_for_another(cache, 1)  # what was granted before still is
    assert room_for_another(cache, 3 * UNIT)


def test_a_second_attempt_asks_anew(cache: Cache) -> None:
    more = growth(cache)
    for _ in range(2):
        with more:
            more.grant(2 * UNIT, 10)
            assert not room_for_another(cache, 2 * UNIT)
        assert room_for_another(cache, 3 * UNIT)
