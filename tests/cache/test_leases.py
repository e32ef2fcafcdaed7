"""What is in use stays, also while other threads and mounts come and go."""

from functools import partial
from pathlib import Path

import pytest

from csi_driver.cache.layout import LayerId
from csi_driver.cache.limits import Limits
from csi_driver.cache.store import Cache
from csi_driver.host.mounts import Mounts
from csi_driver.host.origins import mounted_below
from csi_driver.inflight import spawn
from tests.cache.shelf import assemble, bring_raw, everything_below, new_cache, raw_layer, tree_of

ROUNDS = 25


def use(cache: Cache, name: str) -> None:
    """What a publish does, again and again: lease, pull what is missing, look."""
    data = name.encode() * 1000
    layer = raw_layer("weights", data)
    for _ in range(ROUNDS):
        with cache.lease(name, [LayerId.of(layer)]):
            if cache.snapshot(name) is None:
                if cache.layer(LayerId.of(layer)) is None:
                    bring_raw(cache, "weights", data)
                assemble(cache, name, layer)
            assert tree_of(cache.snapshot(name)) == {"weights": data}


def test_nothing_leased_is_given_up_while_the_collector_runs_all_the_time(root: Path) -> None:
    cache = new_cache(root, max_bytes=1)
    users = [spawn(name, partial(use, cache, name)) for name in ("a", "b", "c")]
    while not all(user.done() for user in users):
        cache.collect()
    for user in users:
        user.result()
    cache.collect()
    cache.empty_trash()
    assert everything_below(cache.places.snapshots) == everything_below(cache.places.trash) == []
    assert cache.inventory().bytes == 0


def test_two_that_assemble_the_same_snapshot_both_get_it(cache: Cache) -> None:
    layer = bring_raw(cache, "weights", b"data")

    def race() -> list[Path]:
        return [assemble(cache, f"key-{number}", layer).tree for number in range(ROUNDS)]

    racers = [spawn(name, race) for name in ("one", "other")]
    one, other = (racer.result() for racer in racers)
    assert one == other == [cache.places.snapshot(f"key-{i}") / "tree" for i in range(ROUNDS)]
    assert everything_below(cache.places.ingests) == []


def test_a_lease_held_twice_ends_with_the_second(root: Path) -> None:
    cache = new_cache(root, max_bytes=1)
    assemble(cache, "key", bring_raw(cache, "weights", b"data"))
    with cache.lease("key"):
        with cache.lease("key"):
            pass
        assert cache.collect().snapshots == ()
    assert cache.collect().snapshots == ("key",)


@pytest.mark.usefixtures("mount_namespace")
def test_a_mounted_snapshot_stays_though_its_description_is_damaged(root: Path, tmp_path: Path) -> None:
    mounts = Mounts()
    target = tmp_path / "target"
    target.mkdir()

    def mounted() -> set[str]:
        return {shown.parts[0] for shown in mounted_below(mounts.table(), root / "snapshots").values()}

    cache = Cache(root, in_use=mounted, limits=lambda: Limits(max_bytes=1))
    snapshot = assemble(cache, "key", bring_raw(cache, "weights", b"data"))
    mounts.bind_read_only(snapshot.tree, target)
    assert mounted() == {"key"}
    cache.collect()
    (cache.places.snapshot("key") / "snapshot.json").write_bytes(b"")
    assert cache.snapshot("key") is None
    cache.collect()
    assert (target / "weights").read_bytes() == b"data"
    mounts.unmount(target)
    cache.collect()
    assert everything_below(cache.places.snapshots) == []


def test_a_lease_that_cannot_begin_is_none(root: Path) -> None:
    cache = new_cache(root, max_bytes=1)
    layer = bring_raw(cache, "weights", b"data")
    assemble(cache, "key", layer)
    description = cache.places.snapshot("key") / "snapshot.json"
    content = description.read_bytes()
    description.unlink()
    description.symlink_to(description)  # what nobody can note the use of
    with pytest.raises(OSError, match="symbolic links"), cache.lease("key", [LayerId.of(layer)]):
        pass
    description.unlink()
    description.write_bytes(content)
    assert cache.collect().snapshots == ("key",)
