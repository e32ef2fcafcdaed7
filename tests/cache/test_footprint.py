"""The room that would be had by removing something."""

import os
from pathlib import Path

from csi_driver.cache.footprint import room_of
from csi_driver.cache.layout import LayerId
from csi_driver.cache.room import Room
from tests.cache.shelf import assemble, bring_raw, new_cache


def test_a_file_counts_when_all_its_names_would_go(tmp_path: Path) -> None:
    one, two, other = tmp_path / "one", tmp_path / "two", tmp_path / "other"
    for directory in (one, two, other):
        directory.mkdir()
    for name, places in (("shared", (one, two)), ("elsewhere", (one, other)), ("own", (one,))):
        (places[0] / name).write_bytes(os.urandom(10_000))
        for place in places[1:]:
            os.link(places[0] / name, place / name)  # noqa: TID251  what the driver's files look like
    (one / "link").symlink_to("own")
    block = (one / "own").stat().st_blocks * 512
    assert room_of([one]) == Room(block, 3)  # the directory, `own` and the link
    assert room_of([two]) == Room(0, 1)
    assert room_of([one, two]) == Room(2 * block, 5)
    assert room_of([one, two, other]) == Room(3 * block, 7)
    assert room_of([tmp_path / "gone"]) == Room()


def test_what_a_mounted_damaged_snapshot_keeps_counts_until_it_goes(tmp_path: Path) -> None:
    in_use: set[str] = set()
    cache = new_cache(tmp_path / "root", in_use=in_use)
    one, two = bring_raw(cache, "one", os.urandom(50_000)), bring_raw(cache, "two", os.urandom(50_000))
    assemble(cache, "key", one, two)
    before = cache.inventory().bytes
    identity = cache.quarantine.identity(LayerId.of(one))
    assert identity is not None
    cache.quarantine.give_up_layer(LayerId.of(one), identity, "damaged")
    in_use.update(path.name for path in cache.places.snapshots.iterdir())
    cache.empty_trash()
    assert 0 <= cache.inventory().bytes - before <= 2 * 4096  # its description, and the reason
    assert cache.inventory().room_in_use.bytes >= 50_000
    in_use.clear()
    cache.collect()
    cache.empty_trash()
    assert cache.inventory().bytes < 60_000
