"""Room on the disk: promised before the first byte, and made by giving up what is not in use."""

import os
import re
from pathlib import Path

import pytest

from csi_driver.cache.gc import Inventory
from csi_driver.cache.layers import Held
from csi_driver.cache.layout import LayerId
from csi_driver.cache.limits import Limits
from csi_driver.cache.room import Room
from csi_driver.cache.space import Need, Space
from csi_driver.cache.store import Cache
from csi_driver.config import Mark
from csi_driver.errors import NoSpace
from csi_driver.host.files import Usage
from csi_driver.oci.digest import Digest
from tests.cache.shelf import assemble, bring_raw, everything_below, new_cache, raw_layer, receive_raw, tree_of
from tests.conftest import NewFilesystem

GIB = 1 << 30
HERE = "registry.local"
BLOCK = 64 << 10
IN_USE = r"128 KiB of it in use: \S+/model:v1 \(64 KiB, being published\), \S+/model:v1 \(64 KiB, mounted\)"


def layer(name: str) -> LayerId:
    return LayerId(Digest.of(name.encode()), is_tree=False)


A = {layer("a"): 60 * GIB}


class Disk:
    """A disk of 100 GiB with a cache on it, in numbers only."""

    def __init__(self) -> None:
        self.available = 100 * GIB
        self.layers: dict[LayerId, Held] = {}
        self.ingests: dict[LayerId, Held] = {}
        self.strangers: set[LayerId] = set()
        self.wishes: list[int] = []
        self.can_give_up = 0
        self.in_trash = 0
        self.inodes = 0
        self.inodes_free = 0

    def usage(self) -> Usage:
        return Usage(100 * GIB, self.available, self.available, self.inodes, self.inodes_free)

    def inventory(self) -> Inventory:
        return Inventory((), self.layers, self.ingests)

    def is_served(self, layer: LayerId, registry: str) -> bool:
        return registry == HERE and layer in self.layers and layer not in self.strangers

    def reclaim(self) -> None:
        self.available += self.in_trash
        self.in_trash = 0

    def make_room(self, needed: Room, urgent: bool) -> None:
        self.wishes.append(needed.bytes or needed.inodes)
        if self.can_give_up >= needed.bytes:
            self.available += self.can_give_up


@pytest.fixture
def disk() -> Disk:
    return Disk()


def space_on(disk: Disk, *, max_bytes: int = 0, keep_free: int | None = 0) -> Space:
    limits = Limits(max_bytes=max_bytes, keep_free=None if keep_free is None else Mark(bytes=keep_free))
    return Space(
        usage=disk.usage,
        inventory=lambda: disk.inventory(),  # noqa: PLW0108  a test replaces it
        is_served=disk.is_served,
        reclaim=disk.reclaim,
        make_room=disk.make_room,
        limits=lambda: limits,
    )


def needs(sizes: dict[LayerId, int], registry: str = HERE) -> list[Need]:
    return [Need(each, registry, Room(size)) for each, size in sizes.items()]


def test_two_pulls_do_not_count_on_the_same_room(disk: Disk) -> None:
    space = space_on(disk)
    with space.reserve(needs({layer("a"): 60 * GIB})), pytest.raises(NoSpace):
        space.reserve(needs({layer("b"): 60 * GIB})).__enter__()
    with space.reserve(needs({layer("b"): 60 * GIB})):
        assert disk.wishes == [20 * GIB]


def test_a_layer_that_two_pulls_wait_for_counts_once(disk: Disk) -> None:
    space = space_on(disk)
    with (
        space.reserve(needs({layer("a"): 60 * GIB})),
        space.reserve(needs({layer("a"): 60 * GIB, layer("b"): 40 * GIB})),
    ):
        assert disk.wishes == []


def test_what_is_on_the_disk_already_is_not_asked_for_again(disk: Disk) -> None:
    space = space_on(disk)
    with space.reserve(needs({layer("a"): 90 * GIB})):
        disk.ingests[layer("a")] = Held(80 * GIB, 0.0)
        disk.available = 20 * GIB
        with space.reserve(needs({layer("b"): 10 * GIB})):
            pass
        disk.layers[layer("a")] = Held(90 * GIB, 0.0)
        disk.available = 10 * GIB
        with space.reserve(needs({layer("a"): 90 * GIB, layer("b"): 10 * GIB})):
            assert disk.wishes == []


def test_a_pull_whose_bytes_are_all_on_the_disk_goes_on_though_the_disk_is_full(disk: Disk) -> None:
    disk.ingests[layer("a")] = Held(90 * GIB, 0.0)
    disk.available = 0
    with space_on(disk, keep_free=GIB).reserve(needs({layer("a"): 90 * GIB})):
        assert disk.wishes == []


def test_exactly_what_is_missing_is_to_be_given_up(disk: Disk) -> None:
    disk.can_give_up = 30 * GIB
    with space_on(disk).reserve(needs({layer("a"): 105 * GIB})):
        assert disk.wishes == [5 * GIB]


def test_the_refusal_has_all_the_numbers(disk: Disk) -> None:
    space = space_on(disk, max_bytes=150 * GIB, keep_free=GIB)
    disk.layers[layer("x")] = Held(10 * GIB, 0.0)
    with space.reserve(needs({layer("a"): 20 * GIB})), pytest.raises(NoSpace) as caught:
        space.reserve(needs({layer("b"): 85 * GIB})).__enter__()
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
    with space.reserve(needs({layer("a"): 20 * GIB})), pytest.raises(NoSpace, match="of at most 50 GiB"):
        space.reserve(needs({layer("b"): 11 * GIB})).__enter__()
    assert disk.wishes == [GIB]


def test_a_little_of_the_disk_stays_free_unless_said_otherwise(disk: Disk) -> None:
    space = space_on(disk, keep_free=None)
    with space.reserve(needs({layer("a"): 100 * GIB - (256 << 20)})):
        pass
    with pytest.raises(NoSpace):
        space.reserve(needs({layer("a"): 100 * GIB - (255 << 20)})).__enter__()


def test_a_pull_that_ends_while_another_is_weighed_still_counts(disk: Disk) -> None:
    space = space_on(disk, max_bytes=100 * GIB)
    pull = space.reserve(needs({layer("a"): 60 * GIB}))
    pull.__enter__()
    disk.ingests[layer("a")] = Held(10 * GIB, 0.0)
    look = disk.inventory

    def ending() -> Inventory:
        """What was there just before the pull came to its end."""
        seen = look()
        if layer("a") in disk.ingests:
            disk.ingests, disk.layers = {}, {layer("a"): Held(60 * GIB, 0.0)}
            pull.__exit__(None, None, None)
        return Inventory((), dict(seen.layers), {layer("a"): Held(10 * GIB, 0.0)} if not seen.layers else {})

    disk.inventory = ending  # type: ignore[method-assign]
    with pytest.raises(NoSpace):
        space.reserve(needs({layer("b"): 60 * GIB})).__enter__()


def test_a_layer_that_another_registry_served_takes_its_room_once_more(disk: Disk) -> None:
    disk.layers[layer("a")] = Held(60 * GIB, 0.0)
    disk.available = 40 * GIB
    space = space_on(disk)
    with space.reserve(needs({layer("a"): 60 * GIB})):
        assert disk.wishes == []
    with pytest.raises(NoSpace, match="needs 60 GiB more, 20 GiB too much"):
        space.reserve(needs({layer("a"): 60 * GIB}, "elsewhere")).__enter__()
    disk.ingests[layer("a")] = Held(50 * GIB, 0.0)
    disk.available = 10 * GIB
    with space.reserve(needs({layer("a"): 60 * GIB}, "elsewhere")), pytest.raises(NoSpace):
        space.reserve(needs({layer("b"): 1})).__enter__()


def test_what_lies_in_the_trash_is_reclaimed_before_anything_more_is_given_up(disk: Disk) -> None:
    disk.available, disk.in_trash = 10 * GIB, 60 * GIB
    with space_on(disk).reserve(needs({layer("a"): 70 * GIB})):
        assert disk.wishes == []


def test_inodes_are_promised_like_bytes(disk: Disk) -> None:
    disk.inodes, disk.inodes_free = 10_000, 200
    space = space_on(disk)
    need = [Need(layer("a"), HERE, Room(0, 60))]
    with space.reserve(need), pytest.raises(NoSpace, match="needs about 60 more inodes, 20 too many: the disk has 200"):
        space.reserve([Need(layer("b"), HERE, Room(0, 60))]).__enter__()
    assert disk.wishes == [20]


def test_a_filesystem_without_a_number_of_inodes_has_enough_of_them(disk: Disk) -> None:
    with space_on(disk).reserve([Need(layer("a"), HERE, Room(0, 1 << 40))]):
        assert disk.wishes == []


def model(cache: Cache, key: str, letter: bytes, *, used: float) -> None:
    assemble(cache, key, bring_raw(cache, "weights", letter * BLOCK))
    os.utime(cache.places.snapshot(key) / "snapshot.json", (used, used))


def keys(cache: Cache) -> list[str]:
    return [snapshot.key for snapshot in cache.snapshots()]


def test_a_pull_makes_room_under_the_cap_by_giving_up_the_oldest(root: Path) -> None:
    cache = new_cache(root, max_bytes=4 * BLOCK)
    for key, letter, used in (("old", b"o", 1), ("new", b"n", 3), ("middle", b"m", 2)):
        model(cache, key, letter, used=used)
    with cache.reserve(needs({layer("coming"): 2 * BLOCK})):
        assert keys(cache) == ["middle", "new"]
        assert everything_below(cache.places.trash) == []
    assert cache.inventory().bytes == 2 * BLOCK
    assert tree_of(cache.snapshot("new")) == {"weights": b"n" * BLOCK}


def test_what_is_mounted_or_leased_is_never_given_up_and_nothing_goes_in_vain(root: Path) -> None:
    cache = new_cache(root, in_use={"mounted"}, max_bytes=3 * BLOCK)
    for key, letter in (("mounted", b"m"), ("leased", b"l"), ("free", b"f")):
        model(cache, key, letter, used=1)
    with cache.lease("leased"), pytest.raises(NoSpace, match=IN_USE):
        cache.reserve(needs({layer("coming"): 2 * BLOCK})).__enter__()
    assert keys(cache) == ["free", "leased", "mounted"]
    with cache.lease("leased"), cache.reserve(needs({layer("coming"): BLOCK})):
        assert keys(cache) == ["leased", "mounted"]


def test_a_leased_layer_stays_until_its_snapshot_is_there(root: Path) -> None:
    cache = new_cache(root, max_bytes=1)
    fresh = bring_raw(cache, "weights", b"w" * BLOCK)
    half = raw_layer("other", b"other")
    receive_raw(cache, half, b"oth")
    with cache.lease("key", [LayerId.of(fresh), LayerId.of(half)]):
        assert cache.collect().room.bytes == 0
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
    assert cache.collect().room.bytes == 0
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
        cache.reserve(needs({layer("coming"): 1 << 20})).__enter__()
    with cache.reserve(needs({layer("coming"): (1 << 20) - 2 * BLOCK - (64 << 10)})):
        pass


def test_what_earlier_processes_threw_away_is_removed_and_nothing_of_this_one(cache: Cache, root: Path) -> None:
    left = cache.places.trash / "left"
    (left / "tree").mkdir(parents=True)
    (left / "tree" / "file").write_bytes(b"")
    (left / "tree").chmod(0o555)
    new_cache(root).empty_trash()
    assert everything_below(cache.places.trash) == []
