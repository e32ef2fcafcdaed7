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


def test_the_last_of_the_room_is_not_taken_a_look_at_the_cache_for_every_file(tmp_path: Path) -> None:
    """A look counts all that the cache holds, the layer itself included: with one a file, files cost their square."""
    looks = 0

    def limits() -> Limits:
        nonlocal looks
        looks += 1
        return Limits(max_bytes=3 * UNIT, keep_free=None)

    file = 64 << 10
    with growth(Cache(tmp_path / "root", in_use=set, limits=limits)) as more:
        for size in range(0, 3 * UNIT + 1, file):
            more.grant(size, size // file)
        with pytest.raises(NoSpace, match="too much"):
            more.grant(3 * UNIT + file, 1)
    assert looks < 300


def test_room_that_comes_back_is_taken_in_large_pieces_again(cache: Cache) -> None:
    with growth(cache) as more:
        with cache.reserve([Need(OTHER, "registry.local", Room(UNIT, 1))]):
            more.grant(2 * UNIT, 10)
        for number in range(100):
            more.grant(2 * UNIT + (number << 20), 10)
        assert not room_for_another(cache, UNIT - (120 << 20))
