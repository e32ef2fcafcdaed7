"""What is given up: decided purely from what is there and what is in use."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from csi_driver.cache.gc import Inventory, Plan, plan
from csi_driver.cache.layers import Held
from csi_driver.cache.layout import LayerId
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
        layers={layer(name): Held(size, since) for name, size in layers.items()},
        ingests={layer(name): Held(size, since) for name, size in (ingests or {}).items()},
        used_snapshots=frozenset(used),
        used_layers=frozenset(layer(name) for name in used_layers),
    )


def test_nothing_is_given_up_when_nothing_is_needed() -> None:
    assert plan(inventory(snapshot("a", "x"), layers={"x": 10, "orphan": 5}), 0) == Plan()


def test_what_was_used_longest_ago_goes_first() -> None:
    models = inventory(snapshot("new", "x", used=2), snapshot("old", "y", used=1), layers={"x": 10, "y": 10})
    assert plan(models, 5) == Plan(("old",), (layer("y"),), (), 10)
    assert plan(models, 11) == Plan(("old", "new"), (layer("y"), layer("x")), (), 20)


def test_what_is_mounted_or_leased_stays_with_its_layers() -> None:
    models = inventory(
        snapshot("mounted", "x", used=1), snapshot("free", "y", used=2), layers={"x": 10, "y": 10}, used=("mounted",)
    )
    assert plan(models, 100) == Plan(("free",), (layer("y"),), (), 10)


def test_a_layer_that_a_pull_wants_stays_though_no_snapshot_has_it_yet() -> None:
    models = inventory(
        snapshot("old", "x"), layers={"x": 10, "fresh": 10}, ingests={"half": 5}, used_layers=("x", "fresh", "half")
    )
    assert plan(models, 100).bytes == 0


def test_a_shared_layer_is_freed_only_with_its_last_snapshot() -> None:
    models = inventory(
        snapshot("a", "shared", "own", used=1), snapshot("b", "shared", used=2), layers={"shared": 100, "own": 1}
    )
    assert plan(models, 1) == Plan(("a",), (layer("own"),), (), 1)
    assert plan(models, 2) == Plan(("a", "b"), (layer("own"), layer("shared")), (), 101)


def test_a_snapshot_that_frees_nothing_as_others_share_its_layers_is_kept() -> None:
    models = inventory(
        snapshot("subset", "shared", used=1),
        snapshot("mounted", "shared", used=2),
        snapshot("large", "own", used=3),
        layers={"shared": 100, "own": 50},
        used=("mounted",),
    )
    assert plan(models, 50) == Plan(("large",), (layer("own"),), (), 50)


def test_small_models_are_kept_when_a_large_one_suffices_that_has_to_go_anyway() -> None:
    models = inventory(snapshot("small", "s", used=1), snapshot("large", "l", used=2), layers={"s": 1, "l": 100})
    assert plan(models, 100) == Plan(("large",), (layer("l"),), (), 100)


def test_unfinished_layers_and_those_without_snapshots_go_by_their_age_too() -> None:
    models = inventory(snapshot("new", "x", used=5), layers={"x": 10, "orphan": 3}, ingests={"half": 4}, since=1)
    assert plan(models, 7) == Plan((), (layer("orphan"),), (layer("half"),), 7)
    models = inventory(snapshot("old", "x", used=0), layers={"x": 10, "orphan": 3}, ingests={"half": 4}, since=1)
    assert plan(models, 7) == Plan(("old",), (layer("x"),), (), 10)


def test_the_bytes_that_are_a_snapshots_own_are_freed_with_it() -> None:
    models = inventory(snapshot("a", "x", own=7), layers={"x": 10})
    assert plan(models, 17).bytes == models.bytes == 17


def test_bytes_in_use_are_those_that_nothing_can_free() -> None:
    models = inventory(
        snapshot("mounted", "x", "y", own=1),
        snapshot("free", "y", "z"),
        layers={"x": 10, "y": 100, "z": 1000},
        ingests={"half": 10_000},
        used=("mounted",),
    )
    assert (models.bytes, models.bytes_in_use) == (11_111, 111)


names = st.sampled_from("uvwxyz")
inventories = st.builds(
    lambda keys, layers, ingests, used, used_layers: inventory(
        *(snapshot(str(n), *has, used=when, own=own) for n, (has, when, own) in enumerate(keys)),
        layers=layers,
        ingests=ingests,
        used=tuple(used),
        used_layers=tuple(used_layers),
    ),
    st.lists(st.tuples(st.lists(names, max_size=4), st.floats(0, 10), st.integers(0, 20)), max_size=7),
    st.dictionaries(names, st.integers(0, 100)),
    st.dictionaries(names, st.integers(0, 100)),
    st.sets(st.integers(0, 6).map(str)),
    st.sets(names),
)


@given(inventories, st.integers(0, 500))
def test_every_plan_frees_what_it_says_and_touches_nothing_in_use(models: Inventory, needed: int) -> None:
    chosen = plan(models, needed)
    assert not set(chosen.snapshots) & models.used_snapshots
    assert not set(chosen.layers) & models.used_layers
    assert not set(chosen.ingests) & models.used_layers
    kept = [each for each in models.snapshots if each.key not in chosen.snapshots]
    assert not set(chosen.layers) & {each for held in kept for each in held.layers}
    own = sum(each.own_bytes for each in models.snapshots if each.key in chosen.snapshots)
    freed = own + sum(models.layers[each].bytes for each in chosen.layers)
    assert chosen.bytes == freed + sum(models.ingests[each].bytes for each in chosen.ingests)
    assert chosen.bytes >= min(needed, models.bytes - models.bytes_in_use)
