"""Layers: received aside, proved by their final name."""

import errno
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from csi_driver.cache.layers import Layers
from csi_driver.cache.layout import LayerId
from csi_driver.cache.store import Cache
from csi_driver.errors import DriverError
from csi_driver.oci.digest import Digest
from tests.cache.shelf import (
    Link,
    assemble,
    bring_raw,
    bring_tree,
    everything_below,
    new_cache,
    raw_layer,
    receive_raw,
    receive_tree,
    shown,
    tree_layer,
)
from tests.fixtures.badblocks import damage, spoil


def test_a_layer_is_absent_until_it_is_committed(cache: Cache) -> None:
    layer = raw_layer("weights", b"data")
    assert cache.layer(LayerId.of(layer)) is None
    receive_raw(cache, layer, b"data")
    assert cache.layer(LayerId.of(layer)) is None
    path = cache.commit(LayerId.of(layer))
    assert cache.layer(LayerId.of(layer)) == path
    assert path.read_bytes() == b"data"
    assert everything_below(cache.places.ingests) == []


def test_a_file_gets_the_normal_mode_and_the_time_of_its_model(cache: Cache) -> None:
    layer = bring_raw(cache, "run", b"#!", mode=0o4751, mtime_ns=1_234_567_890_123_456_789)
    path = cache.layer(LayerId.of(layer))
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o555
    assert path.stat().st_mtime_ns == 1_234_567_890_123_456_789


def test_a_tree_keeps_its_skeleton_and_loses_its_journal(cache: Cache) -> None:
    layer = LayerId.of(bring_tree(cache, {"a/b": b"b", "link": Link("a/b")}))
    path, skeleton = cache.layer(layer), cache.skeleton(layer)
    assert path is not None
    assert skeleton is not None
    assert shown(path) == {"a/b": b"b", "link": Link("a/b")}
    assert skeleton.read_bytes() == b"headers"
    assert sorted(os.listdir(path.parent)) == ["content", "skeleton"]
    assert everything_below(cache.places.ingests) == []


def test_the_same_digest_as_file_and_as_tree_is_two_layers(cache: Cache) -> None:
    raw = LayerId.of(bring_raw(cache, "archive.tar", b"data"))
    tree = LayerId(raw.digest, is_tree=True)
    assert cache.layer(raw) is not None
    assert cache.layer(tree) is None
    assert cache.skeleton(raw) is None
    assert cache.ingest(tree) != cache.ingest(raw)


def test_committing_again_changes_nothing_and_clears_what_was_received_twice(cache: Cache) -> None:
    layer = bring_raw(cache, "weights", b"data", mtime_ns=5)
    receive_raw(cache, layer, b"data")
    path = cache.commit(LayerId.of(layer), mode=0o777, mtime_ns=9)
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_mtime_ns) == (0o444, 5)
    assert everything_below(cache.places.ingests) == []


def test_what_was_received_is_still_there_for_the_next_driver(cache: Cache, root: Path) -> None:
    layer = raw_layer("weights", b"data")
    receive_raw(cache, layer, b"da")
    later = new_cache(root)
    later.recover()
    assert (later.ingest(LayerId.of(layer)) / "content").read_bytes() == b"da"


@pytest.mark.parametrize("journal", ["journal", "previous/journal"])
def test_recovery_keeps_an_unfinished_layer_whose_journal_tells_how_far_it_came(
    cache: Cache, root: Path, journal: str
) -> None:
    into = cache.ingest(LayerId.of(raw_layer("weights", b"data")))
    (into / journal).parent.mkdir(exist_ok=True)
    (into / journal).write_bytes(b"2 bytes")
    new_cache(root).recover()
    assert (into / journal).exists()


@pytest.mark.parametrize("left", [(), ("content",), ("content", "skeleton")])
def test_recovery_removes_what_no_attempt_can_go_on_from(cache: Cache, root: Path, left: tuple[str, ...]) -> None:
    into = cache.ingest(LayerId.of(raw_layer("weights", b"data")))
    for name in left:
        (into / name).write_bytes(b"da")
    later = new_cache(root)
    later.recover()
    later.empty_trash()
    assert everything_below(cache.places.ingests) == []
    assert everything_below(cache.places.trash) == []


def test_recovery_removes_the_journal_of_a_layer_that_got_its_name_before_the_kill(cache: Cache, root: Path) -> None:
    layer = bring_raw(cache, "weights", b"data")
    cache.served(LayerId.of(layer), "one.example")
    for registry, stays in (("one.example", False), ("two.example", True)):
        into = cache.ingest(LayerId.of(layer), registry)
        (into / "journal").write_bytes(b"all of it")
        new_cache(root).recover()
        assert into.exists() is stays  # another registry still has to prove that it holds the layer
    assert cache.layer(LayerId.of(layer)) is not None


@pytest.mark.parametrize("left", [b"\xff\xfe", b"\0" * 20, b""])
def test_an_unfinished_layer_whose_registry_a_power_cut_has_damaged_begins_anew(
    cache: Cache, root: Path, left: bytes
) -> None:
    layer = LayerId.of(raw_layer("weights", b"data"))
    into = cache.ingest(layer, "one.example")
    (into / "journal").write_bytes(b"2 bytes")
    (into / "registry").write_bytes(left)
    later = new_cache(root)
    later.recover()
    assert everything_below(later.ingest(layer, "one.example")) == ["registry"]
    assert (into / "registry").read_bytes() == b"one.example"


def test_discarding_leaves_nothing_of_an_unfinished_layer(cache: Cache) -> None:
    layer = raw_layer("weights", b"data")
    receive_raw(cache, layer, b"da")
    cache.discard(LayerId.of(layer))
    cache.discard(LayerId.of(layer))
    assert everything_below(cache.places.ingests) == []


def test_only_unfinished_layers_that_nobody_wrote_to_for_long_and_nobody_leases_expire(cache: Cache) -> None:
    layers = {name: raw_layer(name, name.encode()) for name in ("idle", "fresh", "leased")}
    for name, layer in layers.items():
        receive_raw(cache, layer, b"")
        if name != "fresh":
            into = cache.ingest(LayerId.of(layer))
            old = time.time() - 1000
            for path in (*into.iterdir(), into):
                os.utime(path, (old, old))
    with cache.lease("key", [LayerId.of(layers["leased"])]):
        assert cache.expire_ingests(900) == 1
    left = {path.name for path in cache.places.ingests.iterdir()}
    assert left == {LayerId.of(layers["fresh"]).name, LayerId.of(layers["leased"]).name}
    cache.empty_trash()
    assert everything_below(cache.places.trash) == []


@pytest.mark.parametrize(("is_tree", "part"), [(False, ""), (True, ""), (True, "models"), (True, "part-0a")])
def test_the_name_of_a_layer_tells_which_it_is(is_tree: bool, part: str) -> None:
    layer = LayerId(Digest.of(b"data", "sha512"), is_tree, part)
    assert LayerId.from_name(layer.name) == layer


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x",
        "sha256-.raw",
        "sha256-00.raw",
        f"md5-{'0' * 32}.raw",
        f"sha256-{'0' * 64}.x",
        f"sha256-{'0' * 64}.raw-models",
        f"sha256-{'0' * 64}.tree-",
        f"sha256-{'0' * 64}.tree-../x",
    ],
)
def test_other_names_are_none_of_a_layer(name: str) -> None:
    with pytest.raises(ValueError):
        LayerId.from_name(name)


def test_strange_files_among_the_layers_are_left_alone(cache: Cache) -> None:
    layer = LayerId.of(bring_raw(cache, "weights", b"data"))
    path = cache.layer(layer)
    assert path is not None
    (path.parent / "lost+found").write_bytes(b"")
    (cache.places.ingests / "lost+found").mkdir()
    inventory = cache.inventory()
    assert list(inventory.layers) == [layer]
    assert list(inventory.ingests) == []


@pytest.mark.parametrize("before", ["ingests", "all"])
def test_a_layer_that_is_committed_while_it_is_looked_for_is_seen_exactly_once(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    layer = raw_layer("weights", b"data")
    receive_raw(cache, layer, b"data")
    look = getattr(Layers, before)

    def committing(layers: Layers) -> object:
        cache.commit(LayerId.of(layer))
        return look(layers)

    monkeypatch.setattr(Layers, before, committing)
    inventory = cache.inventory()
    assert (list(inventory.layers), list(inventory.ingests)) == ([LayerId.of(layer)], [])


def test_a_layer_whose_inode_is_damaged_is_missing_and_nothing_else_is(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged, whole = (bring_raw(cache, name, name.encode()) for name in ("damaged", "whole"))
    for layer in (damaged, whole):
        assemble(cache, layer.path or "", layer)
    assemble(cache, "description", whole)
    assemble(cache, "directory", whole)
    places = cache.places
    damage(
        monkeypatch,
        places.layer(LayerId.of(damaged)),
        places.snapshot("description") / "snapshot.json",
        places.snapshot("directory"),
    )
    for _ in range(2):  # what was set aside at the first look is there at the second
        inventory = cache.inventory()
        assert list(inventory.layers) == [LayerId.of(whole)]
    assert cache.layer(LayerId.of(damaged)) is None
    cache.recover()
    assert [snapshot.key for snapshot in cache.snapshots()] == ["whole"]
    cache.collect()


@pytest.mark.parametrize("place", ["", "journal", "content", "registry"])
def test_an_unfinished_layer_whose_inode_is_damaged_keeps_nobody_from_looking(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    staged = cache.ingest(LayerId.of(tree_layer({})), "registry.local")
    (staged / "content").mkdir()
    (staged / "journal").write_bytes(b"")
    whole = LayerId.of(bring_raw(cache, "whole", b"whole"))
    damage(monkeypatch, staged / place)
    assert list(cache.inventory().layers) == [whole]
    cache.recover()
    cache.collect()


def test_a_registry_whose_note_is_damaged_has_to_serve_the_layer_again(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = LayerId.of(bring_raw(cache, "weights", b"weights"))
    cache.served(layer, "registry.local")
    [note] = cache.places.origins.iterdir()
    damage(monkeypatch, note)
    assert not cache.is_served(layer, "registry.local")


def test_a_layer_is_not_missing_because_memory_is(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = LayerId.of(bring_raw(cache, "weights", b"weights"))

    def exhausted(path: Any, **_: Any) -> os.stat_result:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", exhausted)
        with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)):
            cache.layer(layer)
    assert cache.layer(layer)


def test_a_tree_whose_content_is_damaged_comes_anew(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a/b": b"data"}
    layer = LayerId.of(bring_tree(cache, files))
    damage(monkeypatch, cache.places.layer(layer) / "content")
    assert cache.layer(layer) is None
    assert LayerId.of(bring_tree(cache, files)) == layer
    assert cache.layer(layer)


def test_a_layer_that_the_disk_does_not_let_go_of_is_said_to_need_a_repair(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = bring_raw(cache, "weights", b"weights")
    damage(monkeypatch, cache.places.layer(LayerId.of(layer)))
    receive_raw(cache, layer, b"weights")
    with pytest.raises(DriverError, match="repair the filesystem"):
        cache.commit(LayerId.of(layer))
    assert bring_raw(cache, "other", b"other")


def test_a_layout_number_that_cannot_be_read_is_written_anew(cache: Cache) -> None:
    spoil(cache.places.version)
    assert new_cache(cache.places.root).inventory().layers == {}
    assert cache.places.version.read_text() == "1\n"


def test_a_tree_that_loses_its_journal_while_it_is_measured_counts_in_full(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = LayerId.of(bring_tree(cache, {"a/b": os.urandom(100_000)}))
    true = new_cache(cache.places.root).inventory().layers[layer]
    journal = cache.places.layer(layer) / "journal"
    journal.write_bytes(b"all of it")  # as for a moment after it has got its name
    stat_of_directory = os.fstat

    def removing(descriptor: int) -> os.stat_result:
        journal.unlink(missing_ok=True)
        return stat_of_directory(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", removing)
        cache.inventory()
    assert not journal.exists()
    assert cache.inventory().layers[layer].room == true.room


@pytest.mark.parametrize("back", ["at once", "later"])
def test_a_tree_that_is_given_up_while_it_is_measured_counts_in_full_when_it_is_here_again(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, back: str
) -> None:
    entries = {"a/b": os.urandom(100_000), "c": os.urandom(50_000)}
    layer = LayerId.of(bring_tree(cache, entries))
    true = new_cache(cache.places.root).inventory().layers[layer]
    stat_of_directory = os.fstat

    def removing(descriptor: int) -> os.stat_result:
        monkeypatch.undo()
        cache.take_away([cache.places.layer(layer)])
        cache.empty_trash()
        if back == "at once":
            bring_tree(cache, entries)
        return stat_of_directory(descriptor)

    monkeypatch.setattr(os, "fstat", removing)
    assert cache.layers() == []
    if back == "later":
        bring_tree(cache, entries)
    assert cache.inventory().layers[layer].room == true.room


def test_a_tree_that_went_and_has_come_again_is_measured_anew(root: Path) -> None:
    cache = new_cache(root, max_bytes=1)
    layer = bring_tree(cache, {"a": b"data"})
    before = cache.inventory().layers[LayerId.of(layer)]
    cache.collect()
    assert cache.inventory().layers == {}
    receive_tree(cache, layer, {"a": os.urandom(100_000)})
    cache.commit(LayerId.of(layer))
    assert cache.inventory().layers[LayerId.of(layer)].bytes >= before.bytes + 90_000
