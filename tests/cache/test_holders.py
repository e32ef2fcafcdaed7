"""Who holds the space: named, the largest first, each layer counted once."""

from dataclasses import replace

from hypothesis import given

from csi_driver.cache.gc import Inventory
from csi_driver.cache.holders import Holder, holders, told
from tests.cache.test_gc import inventories, inventory, layer, snapshot

MIB = 1 << 20


def test_the_largest_comes_first_with_the_reason_why_it_stays() -> None:
    models = replace(
        inventory(
            snapshot("a", "x"), snapshot("b", "y", "z"), snapshot("c", "z"), layers={"x": MIB, "y": MIB, "z": 9 * MIB}
        ),
        mounted={"a"},
        pinned={"b"},
    )
    assert holders(models) == [Holder("b", 10 * MIB, "pinned"), Holder("a", MIB, "mounted")]
    assert told(holders(models)) == "b (10 MiB, pinned), a (1 MiB, mounted)"


def test_what_is_on_its_way_counts_though_no_model_is_there_yet() -> None:
    models = inventory(layers={"x": 3 * MIB}, ingests={"y": 2 * MIB}, used_layers=("x", "y"))
    assert told(holders(models)) == "models to come (5 MiB, being pulled)"


def test_of_many_holders_the_smaller_ones_are_summed_up() -> None:
    many = [Holder(f"model-{size}", size * MIB, "mounted") for size in range(9, 1, -1)]
    assert told(many).endswith("model-6 (6 MiB, mounted) and 4 more (14 MiB)")


@given(inventories)
def test_the_holders_hold_exactly_what_cannot_be_given_up(models: Inventory) -> None:
    assert sum(holder.bytes for holder in holders(models)) == models.room_in_use.bytes


def test_a_leased_layer_of_a_mounted_model_counts_once() -> None:
    models = inventory(snapshot("a", "x"), layers={"x": MIB}, used=("a",), used_layers=("x",))
    assert layer("x") in models.leased_layers
    assert holders(models) == [Holder("a", MIB, "mounted")]
