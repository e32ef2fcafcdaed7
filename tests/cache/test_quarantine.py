"""What is damaged leaves the cache at once, whoever is at work on it, and only that."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from csi_driver.cache.layout import LayerId
from csi_driver.cache.store import Cache
from csi_driver.errors import ContentMismatch, LayerGone
from csi_driver.oci.layer import Layer
from csi_driver.oci.media import Role
from csi_driver.oci.selection import Selection
from tests.cache.shelf import assemble, bring_raw, bring_tree, new_cache, tree_of


def give_up(cache: Cache, layer: Layer, reason: str = "it has become another") -> list[str] | None:
    """Give the layer up; the keys of the snapshots that showed it."""
    name = LayerId.of(layer)
    identity = cache.quarantine.identity(name)
    assert identity is not None
    shown = cache.quarantine.give_up_layer(name, identity, reason)
    return None if shown is None else [snapshot.key for snapshot in shown]


def test_a_damaged_layer_goes_with_the_snapshots_that_show_it_and_no_others(cache: Cache) -> None:
    one, two = bring_raw(cache, "one", b"1"), bring_raw(cache, "two", b"2")
    assemble(cache, "both", one, two)
    assemble(cache, "two", two)
    assert give_up(cache, one) == ["both"]
    assert cache.layer(LayerId.of(one)) is None
    assert cache.layer(LayerId.of(two)) is not None
    assert [snapshot.key for snapshot in cache.snapshots()] == ["two"]
    assert len(list(cache.places.trash.iterdir())) == 1  # to be removed when there is time


def test_what_shows_a_damaged_snapshot_keeps_it_until_nothing_does(root: Path) -> None:
    in_use: set[str] = set()
    cache = new_cache(root, in_use=in_use)
    layer = bring_raw(cache, "one", b"1")
    snapshot = assemble(cache, "key", layer)
    give_up(cache, layer, "layer 1 has become 2")
    (aside,) = cache.places.snapshots.iterdir()
    assert aside.name.startswith("key.damaged-")
    assert (aside / "tree" / "one").read_bytes() == b"1"
    assert cache.quarantine.reason(aside.name) == "layer 1 has become 2"
    assert cache.quarantine.reason("key") is None
    in_use.add(aside.name)
    cache.collect()
    assert aside.exists()
    assert assemble(cache, "key", bring_raw(cache, "one", b"1")).tree == snapshot.tree
    in_use.clear()
    cache.collect()
    assert [path.name for path in cache.places.snapshots.iterdir()] == ["key"]


def test_another_copy_that_came_meanwhile_is_not_given_up(cache: Cache) -> None:
    layer = bring_raw(cache, "one", b"1")
    identity = cache.quarantine.identity(LayerId.of(layer))
    assert identity is not None
    kept = cache.layer(LayerId.of(layer))
    assert kept is not None
    kept.rename(kept.with_name("kept"))  # so that its inode is not taken again
    bring_raw(cache, "one", b"1")
    assert cache.quarantine.give_up_layer(LayerId.of(layer), identity, "damaged") is None
    assert cache.layer(LayerId.of(layer)) is not None


@dataclass(frozen=True)
class Interrupted(Selection):
    """Wants everything, and does something else when it is asked about one path."""

    at: str = ""
    act: Callable[[], object] = field(default=list)

    def wants(self, path: str, role: Role) -> bool:
        if path == self.at:
            self.act()
        return super().wants(path, role)


@pytest.mark.parametrize("at", ["one", "two"])
def test_nobody_gets_a_snapshot_of_a_layer_that_was_given_up_while_it_was_made(cache: Cache, at: str) -> None:
    one, two = bring_raw(cache, "one", b"1"), bring_raw(cache, "two", b"2")
    given_up: list[object] = []
    selection = Interrupted(at=at, act=lambda: given_up.append(give_up(cache, one)))
    with pytest.raises(LayerGone, match=str(one.descriptor.digest)):
        assemble(cache, "key", one, two, selection=selection)
    assert given_up == [[]]
    assert cache.snapshots() == []
    bring_raw(cache, "one", b"1")
    assert tree_of(assemble(cache, "key", one, two)) == {"one": b"1", "two": b"2"}


def test_nobody_gets_a_snapshot_of_a_tree_that_is_removed_while_it_is_read(cache: Cache) -> None:
    tree = bring_tree(cache, {f"d/{number}": b"x" for number in range(50)} | {"e/f": b"y"})
    selection = Interrupted(at="d/0", act=lambda: give_up(cache, tree))
    with pytest.raises(LayerGone):
        assemble(cache, "key", tree, selection=selection)
    assert cache.snapshots() == []
    assert list(cache.places.ingests.iterdir()) == []


def test_a_snapshot_of_its_key_that_came_meanwhile_is_not_given_up(cache: Cache) -> None:
    layer = bring_raw(cache, "one", b"1")
    old = assemble(cache, "key", layer)
    assert cache.quarantine.give_up_snapshot(old, "damaged")
    assert not cache.quarantine.give_up_snapshot(old, "damaged")
    assemble(cache, "key", layer)
    assert not cache.quarantine.give_up_snapshot(old, "damaged")
    assert cache.snapshot("key") is not None


def test_a_snapshot_of_an_older_driver_has_no_seal_and_is_checked_by_its_numbers(cache: Cache) -> None:
    layer = bring_raw(cache, "one", b"1")
    assemble(cache, "key", layer)
    description = cache.places.snapshot("key") / "snapshot.json"
    description.write_text(description.read_text().replace('"seal"', '"unknown"'))
    snapshot = cache.snapshot("key")
    assert snapshot is not None
    assert snapshot.seal == ""
    cache.quarantine.check(snapshot)
    snapshot.tree.chmod(0o755)
    (snapshot.tree / "one").unlink()
    snapshot.tree.chmod(0o555)
    with pytest.raises(ContentMismatch, match="0 files of 0 bytes, and was made of 1 of 1"):
        cache.quarantine.check(snapshot)


def test_a_snapshot_whose_layer_is_missing_is_not_whole(cache: Cache) -> None:
    layer = bring_raw(cache, "one", b"1")
    snapshot = assemble(cache, "key", layer)
    path = cache.layer(LayerId.of(layer))
    assert path is not None
    path.unlink()
    with pytest.raises(ContentMismatch, match=f"layer {layer.descriptor.digest} .* is missing"):
        cache.quarantine.check(snapshot)


def test_a_full_disk_keeps_nothing_damaged_from_going(new_filesystem: Callable[..., Path]) -> None:
    cache = new_cache(new_filesystem("tmpfs", "size=4m,nr_inodes=200") / "root")
    layer = bring_raw(cache, "one", b"1")
    assemble(cache, "key", layer)
    with suppress(OSError):
        for number in range(1000):
            (cache.places.root / f"filler-{number}").touch()
    cache.quarantine.note("one")
    assert cache.quarantine.last("one") is None
    assert give_up(cache, layer) == ["key"]
    assert cache.snapshots() == []


def test_proofs_are_remembered_for_what_is_held(cache: Cache) -> None:
    cache.quarantine.note("one")
    cache.quarantine.note("two")
    assert cache.quarantine.last("one") is not None
    assert cache.quarantine.last("three") is None
    cache.quarantine.forget_proofs(but={"two"})
    assert cache.quarantine.last("one") is None
    assert cache.quarantine.last("two") is not None
