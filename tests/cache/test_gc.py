"""What is given up: decided purely from what is there and what is in use."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from csi_driver.cache.gc import Inventory, Plan, plan
from csi_driver.cache.layers import Held
from csi_driver.cache.layout import LayerId
from csi_driver.cache.room import Room
from csi_driver.cache.snapshots import Snapshot
from csi_driver.oci.digest import Digest


def layer(name: str) -> LayerId:
    return LayerId(Digest.of(name.encode()), is_tree=False)


def snapshot(key: str, *layers: str, used: float = 0.0, own: int = 0) -> Snapshot:
    return Snapshot(
        key=key,
        tree=Path(key),
        reference=key,
        manifest_digest=Digest.of(b""),
        selection="",
        layers=tuple(layer(name) for name in layers),
        size=0,
        files=0,
        own_bytes=own,
        created=0.0,
        last_used=used,
    )


def inventory(
    *snapshots: Snapshot,
    layers: dict[str, int],
    ingests: dict[str, int] | None = None,
    used: tuple[str, ...] = (),
    used_layers: tuple[str, ...] = (),
    since: float = 0.0,
) -> Inventory:
    return Inventory(
        snapshots=snapshots,
        layers={layer(name): Held(size, since, inodes=0) for name, size in layers.items()},
        ingests={layer(name): Held(size, since, inodes=0) for name, size in (ingests or {}).items()},
        mounted=frozenset(used),
        leased_layers=frozenset(layer(name) for name in used_layers),
    )


def test_nothing_is_given_up_when_nothing_is_needed() -> None:
    assert plan(inventory(snapshot("a", "x"), layers={"x": 10, "orphan": 5}), Room(0)) == Plan()


def test_what_was_used_longest_ago_goes_first() -> None:
    models = inventory(snapshot("new", "x", used=2), snapshot("old", "y", used=1), layers={"x": 10, "y": 10})
    assert plan(models, Room(5)) == Plan(("old",), (layer("y"),), (), Room(10))
    assert plan(models, Room(11)) == Plan(("old", "new"), (layer("y"), layer("x")), (), Room(20))


def test_what_is_mounted_or_leased_stays_with_its_layers() -> None:
    models = inventory(
        snapshot("mounted", "x", used=1), snapshot("free", "y", used=2), layers={"x": 10, "y": 10}, used=("mounted",)
    )
    assert plan(models, Room(100)) == Plan(("free",), (layer("y"),), (), Room(10))


def test_a_layer_that_a_pull_wants_stays_though_no_snapshot_has_it_yet() -> None:
    models = inventory(
        snapshot("old", "x"), layers={"x": 10, "fresh": 10}, ingests={"half": 5}, used_layers=("x", "fresh", "half")
    )
    assert plan(models, Room(100)).room.bytes == 0


def test_a_shared_layer_is_freed_only_with_its_last_snapshot() -> None:
    models = inventory(
        snapshot("a", "shared", "own", used=1), snapshot("b", "shared", used=2), layers={"shared": 100, "own": 1}
    )
    assert plan(models, Room(1)) == Plan(("a",), (layer("own"),), (), Room(1))
    assert plan(models, Room(2)) == Plan(("a", "b"), (layer("own"), layer("shared")), (), Room(101))


def test_a_snapshot_that_frees_nothing_as_others_share_its_layers_is_kept() -> None:
    models = inventory(
        snapshot("subset", "shared", used=1),
        snapshot("mounted", "shared", used=2),
        snapshot("large", "own", used=3),
        layers={"shared": 100, "own": 50},
        used=("mounted",),
    )
    assert plan(models, Room(50)) == Plan(("large",), (layer("own"),), (), Room(50))


def test_small_models_are_kept_when_a_large_one_suffices_that_has_to_go_anyway() -> None:
    models = inventory(snapshot("small", "s", used=1), snapshot("large", "l", used=2), layers={"s": 1, "l": 100})
    assert plan(models, Room(100)) == Plan(("large",), (layer("l"),), (), Room(100))


def test_unfinished_layers_and_those_without_snapshots_go_by_their_age_too() -> None:
    models = inventory(snapshot("new", "x", used=5), layers={"x": 10, "orphan": 3}, ingests={"half": 4}, since=1)
    assert plan(models, Room(7)) == Plan((), (layer("orphan"),), (layer("half"),), Room(7))
    models = inventory(snapshot("old", "x", used=0), layers={"x": 10, "orphan": 3}, ingests={"half": 4}, since=1)
    assert plan(models, Room(7)) == Plan(("old",), (layer("x"),), (), Room(10))


def test_the_bytes_that_are_a_snapshots_own_are_freed_with_it() -> None:
    models = inventory(snapshot("a", "x", own=7), layers={"x": 10})
    assert plan(models, Room(17)).room.bytes == models.bytes == 17


def test_bytes_in_use_are_those_that_nothing_can_free() -> None:
    models = inventory(
        snapshot("mounted", "x", "y", own=1),
        snapshot("free", "y", "z"),
        layers={"x": 10, "y": 100, "z": 1000},
        ingests={"half": 10_000},
        used=("mounted",),
    )
    assert (models.bytes, models.room_in_use.bytes) == (11_111, 111)


def test_inodes_are_made_room_for_like_bytes() -> None:
    many = layer("many")
    models = Inventory(
        (snapshot("large", "big", used=1), snapshot("small", "many", used=2)),
        {layer("big"): Held(1000, 0.0, inodes=1), many: Held(10, 0.0, inodes=500)},
        {},
    )
    assert plan(models, Room(inodes=400)) == Plan(("small",), (many,), (), Room(10, 500))
    assert plan(models, Room(5, 400)).snapshots == ("small",)
    assert plan(models, Room(500, 400)).snapshots == ("large", "small")


def test_what_is_pinned_stays_with_its_layers() -> None:
    models = replace(inventory(snapshot("a", "x"), snapshot("b", "y"), layers={"x": 1, "y": 1}), pinned={"a"})
    assert plan(models, Room(10)) == Plan(("b",), (layer("y"),), (), Room(1))


def test_what_was_used_lately_stays_when_it_is_asked_to() -> None:
    models = inventory(
        snapshot("old", "x", used=1), snapshot("new", "y", used=5), layers={"x": 1, "y": 1, "orphan": 1}, since=4
    )
    assert plan(models, Room(10), idle_since=3) == Plan(("old",), (layer("x"),), (), Room(1))
    assert plan(models, Room(10), idle_since=4).layers == (layer("x"), layer("orphan"))


names = st.sampled_from("uvwxyz")
sizes = st.tuples(st.integers(0, 100), st.integers(0, 20))
owns = st.tuples(st.integers(0, 20), st.integers(0, 5))
keys = st.sets(st.integers(0, 6).map(str))
inventories = st.builds(
    lambda models, layers, ingests, mounted, leased, pinned, used_layers: Inventory(
        snapshots=[
            replace(snapshot(str(number), *has, used=when, own=own), own_inodes=inodes)
            for number, (has, when, (own, inodes)) in enumerate(models)
        ],
        layers={layer(name): Held(size, since, inodes) for name, ((size, inodes), since) in layers.items()},
        ingests={layer(name): Held(size, since, inodes) for name, ((size, inodes), since) in ingests.items()},
        mounted=mounted,
        leased_snapshots=leased,
        pinned=pinned,
        leased_layers={layer(name) for name in used_layers},
    ),
    st.lists(st.tuples(st.lists(names, max_size=4), st.floats(0, 10), owns), max_size=7),
    st.dictionaries(names, st.tuples(sizes, st.floats(0, 10))),
    st.dictionaries(names, st.tuples(sizes, st.floats(0, 10))),
    keys,
    keys,
    keys,
    st.sets(names),
)
rooms = st.builds(Room, st.integers(0, 500), st.integers(0, 100))


def left_by(models: Inventory, chosen: Plan) -> Inventory:
    """The cache after the plan was carried out."""
    return replace(
        models,
        snapshots=[each for each in models.snapshots if each.key not in chosen.snapshots],
        layers={each: held for each, held in models.layers.items() if each not in chosen.layers},
        ingests={each: held for each, held in models.ingests.items() if each not in chosen.ingests},
    )


@given(inventories, rooms, st.floats(0, 12))
def test_every_plan_frees_what_it_says_and_touches_nothing_that_must_stay(
    models: Inventory, needed: Room, idle_since: float
) -> None:
    chosen = plan(models, needed, idle_since=idle_since)
    left = left_by(models, chosen)
    assert not set(chosen.snapshots) & (models.mounted | models.leased_snapshots | models.pinned)
    assert not {*chosen.layers, *chosen.ingests} & models.leased_layers
    assert {each for held in left.snapshots for each in held.layers} & models.layers.keys() <= left.layers.keys()
    assert models.room - left.room == chosen.room
    assert chosen.room.covers(needed) or plan(left, Room(1 << 40, 1 << 40), idle_since=idle_since) == Plan()
    given_up = [each.last_used for each in models.snapshots if each.key in chosen.snapshots]
    assert all(when <= idle_since for when in given_up)
    assert all(models.ingests[each].since <= idle_since for each in chosen.ingests)


@given(inventories, rooms)
def test_no_part_of_a_plan_is_given_up_in_vain(models: Inventory, needed: Room) -> None:
    chosen = plan(models, needed)
    if not chosen.room.covers(needed):
        return
    for key in chosen.snapshots:
        spared = left_by(models, replace(chosen, snapshots=tuple(each for each in chosen.snapshots if each != key)))
        claimed = {each for held in spared.snapshots for each in held.layers}
        kept = Room.sum(models.layers[each].room for each in chosen.layers if each in claimed)
        own = next(each.own_room for each in models.snapshots if each.key == key)
        assert not (chosen.room - kept - own).covers(needed)


@given(inventories, rooms)
def test_what_is_given_up_was_used_before_all_that_could_have_taken_its_place(models: Inventory, needed: Room) -> None:
    """The least recently used first: nothing younger goes while everything older alone would have been enough."""
    chosen = plan(models, needed)
    for key in chosen.snapshots:
        used = next(each.last_used for each in models.snapshots if each.key == key)
        assert not plan(models, needed, idle_since=used - 1e-9).room.covers(needed)
