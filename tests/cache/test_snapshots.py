"""Snapshots on the disk: complete or absent, and never taken for what they are not."""

import json
import logging
import os
import time
from pathlib import Path

import pytest

from csi_driver.cache.store import Cache
from csi_driver.errors import DriverError
from tests.cache.shelf import assemble, bring_raw, new_cache, tree_of


def test_an_unknown_snapshot_is_none(cache: Cache) -> None:
    assert cache.snapshot("key") is None
    assert cache.snapshots() == []


@pytest.mark.parametrize("key", ["", ".", "..", "a/b", "key.damaged-1", "a" * 300])
def test_what_cannot_be_a_key_is_refused(cache: Cache, key: str) -> None:
    with pytest.raises(ValueError, match="not the key"):
        cache.snapshot(key)


@pytest.mark.parametrize(
    "damage",
    [b"", b"\0" * 100, b"[]", b"null", b"7", b'{"format": 2}', b'{"format": 1}', b"\xff", b"{"],
)
def test_a_damaged_description_counts_as_no_snapshot_and_the_tree_is_kept_aside(
    cache: Cache, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    layer = bring_raw(cache, "weights", b"data")
    made = assemble(cache, "key", layer)
    cache.places.snapshot("key").joinpath("snapshot.json").write_bytes(damage)
    with caplog.at_level(logging.WARNING, logger="model-csi"):
        assert cache.snapshot("key") is None
    assert [record.message for record in caplog.records] == ["a snapshot could not be read and was set aside"]
    (aside,) = cache.places.snapshots.iterdir()
    assert (aside / "tree" / "weights").read_bytes() == b"data"
    assert tree_of(assemble(cache, "key", layer)) == {"weights": b"data"}
    assert made.key == "key"


@pytest.mark.parametrize("field", ["manifest_digest", "layers", "size", "created"])
def test_a_description_with_a_wrong_value_is_damaged(cache: Cache, field: str) -> None:
    assemble(cache, "key", bring_raw(cache, "weights", b"data"))
    path = cache.places.snapshot("key") / "snapshot.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: ["wrong"]}))
    assert cache.snapshot("key") is None


def test_a_missing_description_is_damage_too(cache: Cache) -> None:
    assemble(cache, "key", bring_raw(cache, "weights", b"data"))
    (cache.places.snapshot("key") / "snapshot.json").unlink()
    assert cache.snapshots() == []


def test_what_was_set_aside_goes_unless_it_is_mounted(root: Path) -> None:
    used: set[str] = set()
    cache = new_cache(root, in_use=used)
    for key in ("free", "mounted"):
        assemble(cache, key, bring_raw(cache, "weights", b"data"))
        (cache.places.snapshot(key) / "snapshot.json").write_bytes(b"")
        assert cache.snapshot(key) is None
    used |= {path.name for path in cache.places.snapshots.iterdir() if path.name.startswith("mounted.")}
    cache.collect()
    assert {path.name for path in cache.places.snapshots.iterdir()} == used
    used.clear()
    cache.collect()
    assert list(cache.places.snapshots.iterdir()) == []


def test_a_lease_and_a_touch_count_as_use(cache: Cache) -> None:
    assemble(cache, "key", bring_raw(cache, "weights", b"data"))
    description = cache.places.snapshot("key") / "snapshot.json"

    def last_used_after(use: object) -> float:
        os.utime(description, (1, 1))
        assert callable(use)
        use()
        snapshot = cache.snapshot("key")
        assert snapshot is not None
        return snapshot.last_used

    def lease() -> None:
        with cache.lease("key"), cache.lease("not here yet"):
            pass

    assert last_used_after(lambda: None) == 1
    assert last_used_after(lease) > 1
    assert last_used_after(lambda: cache.touch("key")) > 1
    cache.touch("not here")


def test_what_a_wrong_clock_says_was_used_in_years_to_come_is_no_younger_than_what_is_used_now(root: Path) -> None:
    cache = new_cache(root)
    for key in ("future", "now"):
        assemble(cache, key, bring_raw(cache, key, key.encode() * 100))
    later = time.time() + 10 * 365 * 86400.0
    os.utime(cache.places.snapshot("future") / "snapshot.json", (later, later))
    cache.collect()
    cache.touch("now")
    assert cache.give_up(1)[1].snapshots == ("future",)


def test_a_root_that_a_newer_driver_wrote_is_refused(cache: Cache, root: Path) -> None:
    (root / "version").write_text("2\n")
    with pytest.raises(DriverError, match="layout '2', and this driver knows layout 1"):
        new_cache(root)
    (root / "version").write_bytes(b"\xff\xfe")
    with pytest.raises(DriverError, match="this driver knows layout 1"):
        new_cache(root)
    (root / "version").write_text("1\n")
    new_cache(root)


def test_the_root_is_for_its_owner_alone(cache: Cache, root: Path) -> None:
    assert (root / "version").read_text() == "1\n"
    for directory in (root, *cache.places.directories):
        assert directory.stat().st_mode & 0o077 == 0


def test_strange_files_among_the_snapshots_are_left_alone(cache: Cache) -> None:
    assemble(cache, "key", bring_raw(cache, "weights", b"data"))
    strange = [cache.places.snapshots / name for name in ("notes.txt", "notes")]
    for path in strange:
        path.write_bytes(b"")
    assert [snapshot.key for snapshot in cache.inventory().snapshots] == ["key"]
    cache.collect()
    assert all(path.exists() for path in strange)
