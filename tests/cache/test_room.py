"""Room on the disk: promised before the first byte, and made by giving up what is not in use."""

import os
import re
from pathlib import Path

import pytest

from csi_driver.cache.gc import Inventory
from csi_driver.cache.layers import Held
from csi_driver.cache.layout import LayerId
from csi_driver.cache.space import Space
from csi_driver.cache.store import Cache
from csi_driver.errors import NoSpace
from csi_driver.host.files import Usage
from csi_driver.oci.digest import Digest
from tests.cache.shelf import assemble, bring_raw, everything_below, new_cache, raw_layer, receive_raw, tree_of
from tests.conftest import NewFilesystem

GIB = 1 << 30
BLOCK = 64 << 10


def layer(name: str) -> LayerId:
    return LayerId(Digest.of(name.encode()), is_tree=False)


class Disk:
    """A disk of 100 GiB with a cache on it, in numbers only."""

    def __init__(self) -> None:
        self.available = 100 * GIB
        self.layers: dict[LayerId, Held] = {}
        self.ingests: dict[LayerId, Held] = {}
        self.wishes: list[int] = []
        self.can_give_up = 0

    def usage(self) -> Usage:
        return Usage(100 * GIB, self.available, self.available, 0, 0)

    def inventory(self) -> Inventory:
        return Inventory((), self.layers, self.ingests, frozenset(), frozenset())

    def make_room(self, needed: int) -> None:
        self.wishes.append(needed)
        if self.can_give_up >= needed:
            self.available += self.can_give_up


@pytest.fixture
def disk() -> Disk:
    return Disk()


def space_on(disk: Disk, *, max_bytes: int = 0, keep_free: int | None = 0) -> Space:
    return Space(
        usage=disk.usage,
        inventory=disk.inventory,
        make_room=disk.make_room,
        max_bytes=max_bytes,
        keep_free=keep_free,
    )


def test_two_pulls_do_not_count_on_the_same_room(disk: Disk) -> None:
    space = space_on(disk)
    with space.reserve({layer("a"): 60 * GIB}), pytest.raises(NoSpace):
        space.reserve({layer("b"): 60 * GIB}).__enter__()
    with space.reserve({layer("b"): 60 * GIB}):
        assert disk.wishes == [20 * GIB]


def test_a_layer_that_two_pulls_wait_for_counts_once(disk: Disk) -> None:
    space = space_on(disk)
    with space.reserve({layer("a"): 60 * GIB}), space.reserve({layer("a"): 60 * GIB, layer("b"): 40 * GIB}):
        assert disk.wishes == []


def test_what_is_on_the_disk_already_is_not_asked_for_again(disk: Disk) -> None:
    space = space_on(disk)
    with space.reserve({layer("a"): 90 * GIB}):
        disk.ingests[layer("a")] = Held(80 * GIB, 0.0)
        disk.available = 20 * GIB
        with space.reserve({layer("b"): 10 * GIB}):
            pass
        disk.layers[layer("a")] = Held(90 * GIB, 0.0)
        disk.available = 10 * GIB
        with space.reserve({layer("a"): 90 * GIB, layer("b"): 10 * GIB}):
            assert disk.wishes == []


def test_a_pull_whose_bytes_are_all_on_the_disk_goes_on_though_the_disk_is_full(disk: Disk) -> None:
    disk.ingests[layer("a")] = Held(90 * GIB, 0.0)
    disk.available = 0
    with space_on(disk, keep_free=GIB).reserve({layer("a"): 90 * GIB}):
        assert disk.wishes == []


def test_exactly_what_is_missing_is_to_be_given_up(disk: Disk) -> None:
    disk.can_give_up = 30 * GIB
    with space_on(disk).reserve({layer("a"): 105 * GIB}):
        assert disk.wishes == [5 * GIB]


def test_the_refusal_has_all_the_numbers(disk: Disk) -> None:
    space = space_on(disk, max_bytes=150 * GIB, keep_free=GIB)
    disk.layers[layer("x")] = Held(10 * GIB, 0.0)
    with space.reserve({layer("a"): 20 * GIB}), pytest.raises(NoSpace) as caught:
        space.reserve({layer("b"): 85 * GIB}).__enter__()
    assert re.findall(r"[\d.]+ \wiB|0 B", str(caught.value)) == [
        "85 GiB",
        "6 GiB",
        "100 GiB",
        "1 GiB",
        "20 GiB",
        "10 GiB",
        "150 GiB",
        "0 B",
    ]


def test_the_cap_counts_what_is_held_and_what_is_promised(disk: Disk) -> None:
    space = space_on(disk, max_bytes=50 * GIB)
    disk.layers[layer("x")] = Held(20 * GIB, 0.0)
    with space.reserve({layer("a"): 20 * GIB}), pytest.raises(NoSpace, match="of at most 50 GiB"):
        space.reserve({layer("b"): 11 * GIB}).__enter__()
    assert disk.wishes == [GIB]


def test_a_little_of_the_disk_stays_free_unless_said_otherwise(disk: Disk) -> None:
    space = space_on(disk, keep_free=None)
    with space.reserve({layer("a"): 100 * GIB - (256 << 20)}):
        pass
    with pytest.raises(NoSpace):
        space.reserve({layer("a"): 100 * GIB - (255 << 20)}).__enter__()


def test_the_excess_is_over_the_cap_or_under_the_reserve_of_the_disk(disk: Disk) -> None:
    assert space_on(disk, max_bytes=10).excess(held=15) == 5
    assert space_on(disk).excess(held=15) == 0
    assert space_on(disk, keep_free=101 * GIB).excess(held=0) == GIB


def model(cache: Cache, key: str, letter: bytes, *, used: float) -> None:
    assemble(cache, key, bring_raw(cache, "weights", letter * BLOCK))
    os.utime(cache.places.snapshot(key) / "snapshot.json", (used, used))


def keys(cache: Cache) -> list[str]:
    return [snapshot.key for snapshot in cache.snapshots()]


def test_a_pull_makes_room_under_the_cap_by_giving_up_the_oldest(root: Path) -> None:
    cache = new_cache(root, max_bytes=4 * BLOCK)
    for key, letter, used in (("old", b"o", 1), ("new", b"n", 3), ("middle", b"m", 2)):
        model(cache, key, letter, used=used)
    with cache.reserve({layer("coming"): 2 * BLOCK}):
        assert keys(cache) == ["middle", "new"]
    assert cache.inventory().bytes == 2 * BLOCK
    assert everything_below(cache.places.trash) == []
    assert tree_of(cache.snapshot("new")) == {"weights": b"n" * BLOCK}


def test_what_is_mounted_or_leased_is_never_given_up_and_nothing_goes_in_vain(root: Path) -> None:
    cache = new_cache(root, in_use={"mounted"}, max_bytes=3 * BLOCK)
    for key, letter in (("mounted", b"m"), ("leased", b"l"), ("free", b"f")):
        model(cache, key, letter, used=1)
    with cache.lease("leased"), pytest.raises(NoSpace, match="128 KiB of it in use"):
        cache.reserve({layer("coming"): 2 * BLOCK}).__enter__()
    assert keys(cache) == ["free", "leased", "mounted"]
    with cache.lease("leased"), cache.reserve({layer("coming"): BLOCK}):
        assert keys(cache) == ["leased", "mounted"]


def test_a_leased_layer_stays_until_its_snapshot_is_there(root: Path) -> None:
    cache = new_cache(root, max_bytes=1)
    fresh = bring_raw(cache, "weights", b"w" * BLOCK)
    half = raw_layer("other", b"other")
    receive_raw(cache, half, b"oth")
    with cache.lease("key", [LayerId.of(fresh), LayerId.of(half)]):
        assert cache.collect().bytes == 0
    freed = cache.collect()
    assert (freed.layers, freed.ingests) == ((LayerId.of(fresh),), (LayerId.of(half),))
    assert cache.inventory().bytes == 0


def test_collecting_keeps_the_cache_within_its_cap_as_far_as_it_can(root: Path) -> None:
    cache = new_cache(root, in_use={"mounted"}, max_bytes=BLOCK)
    for key, letter, used in (("mounted", b"m", 1), ("old", b"o", 2), ("new", b"n", 3)):
        model(cache, key, letter, used=used)
    assert set(cache.collect().snapshots) == {"old", "new"}
    assert keys(cache) == ["mounted"]
    assert cache.collect().snapshots == ()


def test_a_cache_without_limits_gives_up_nothing(cache: Cache) -> None:
    model(cache, "key", b"k", used=1)
    assert cache.collect().bytes == 0
    assert keys(cache) == ["key"]


def test_a_model_given_up_while_a_pod_reads_it_stays_readable_to_the_pod(root: Path) -> None:
    cache = new_cache(root, max_bytes=1)
    model(cache, "key", b"k", used=1)
    snapshot = cache.snapshot("key")
    assert snapshot is not None
    with (snapshot.tree / "weights").open("rb") as reader:
        assert cache.collect().snapshots == ("key",)
        assert reader.read() == b"k" * BLOCK


def test_a_real_disk_that_is_too_small_is_noticed_before_the_first_byte(new_filesystem: NewFilesystem) -> None:
    cache = new_cache(new_filesystem("tmpfs", "size=1m") / "root", keep_free=BLOCK)
    model(cache, "key", b"k", used=1)
    with pytest.raises(NoSpace, match=r"the disk has .* free and keeps 64 KiB"):
        cache.reserve({layer("coming"): 1 << 20}).__enter__()
    with cache.reserve({layer("coming"): (1 << 20) - 2 * BLOCK - (64 << 10)}):
        pass


def test_what_earlier_processes_threw_away_is_removed_and_nothing_of_this_one(cache: Cache, root: Path) -> None:
    left = cache.places.trash / "left"
    (left / "tree").mkdir(parents=True)
    (left / "tree" / "file").write_bytes(b"")
    (left / "tree").chmod(0o555)
    new_cache(root).clean_trash()
    assert everything_below(cache.places.trash) == []
