"""Models that stay: by reference or digest, from the configuration or by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_driver.cache.limits import Limits
from csi_driver.cache.pins import Pin, Pins, pinned
from csi_driver.cache.snapshots import Snapshot
from csi_driver.cache.store import Cache
from csi_driver.errors import InvalidRequest
from csi_driver.oci.digest import Digest
from tests.cache.shelf import MANIFEST, assemble, bring_raw
from tests.cache.test_gc import snapshot

WHOLE, PART = "[false]", "[true]"
ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
MODEL = "registry.local/model:v1"


def held(
    key: str, *, reference: str = MODEL, digest: Digest = ONE, used: float = 0.0, selection: str = WHOLE
) -> Snapshot:
    return replace(snapshot(key, used=used), reference=reference, manifest_digest=digest, selection=selection)


def test_a_digest_keeps_every_snapshot_of_its_manifest() -> None:
    models = [held("a"), held("b", selection=PART), held("c", digest=TWO)]
    assert pinned([Pin(str(ONE))], models, {}) == {"a", "b"}


def test_a_reference_keeps_what_was_pulled_by_it_with_every_selection() -> None:
    models = [held("a"), held("b", selection=PART), held("c", reference="registry.local/other:v1")]
    assert pinned([Pin(MODEL)], models, {}) == {"a", "b"}
    assert pinned([Pin(MODEL, PART)], models, {}) == {"b"}


def test_a_tag_that_has_moved_keeps_only_what_was_in_use_last() -> None:
    models = [held("old", used=1), held("new", digest=TWO, used=2)]
    assert pinned([Pin(MODEL)], models, {}) == {"new"}


def test_a_reference_keeps_what_it_means_though_it_was_pulled_by_another_name() -> None:
    models = [held("a", reference="registry.local/model:latest"), held("b", reference="elsewhere.local/model:v1")]
    assert pinned([Pin(MODEL)], models, {MODEL: {ONE}}) == {"a"}


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([ONE, TWO]), st.floats(0, 9)), max_size=6))
def test_a_reference_that_means_something_here_always_keeps_exactly_one(
    models: list[tuple[str, Digest, float]],
) -> None:
    snapshots = [
        held(str(n), reference=f"r.local/{name}:v1", digest=digest, used=used)
        for n, (name, digest, used) in enumerate(models)
    ]
    kept = pinned([Pin("r.local/a:v1")], snapshots, {"r.local/a:v1": {ONE}})
    meant = [each for each in snapshots if each.reference == "r.local/a:v1" or each.manifest_digest == ONE]
    assert len(kept) == min(1, len(meant))
    assert all(each.last_used <= max(own.last_used for own in meant) for each in snapshots if each.key in kept)


@pytest.mark.parametrize("name", ["", "docker.io/UPPER", "sha256:short", "registry.local/model:v1:v2"])
def test_a_pin_is_a_reference_or_a_digest(name: str) -> None:
    with pytest.raises(InvalidRequest):
        Pin.parse(name)


def test_a_pin_is_kept_in_its_canonical_form() -> None:
    assert Pin.parse("gpt2").name == "docker.io/library/gpt2:latest"
    assert Pin.parse(str(ONE)).name == str(ONE)


def pins(directory: Path, configured: tuple[Pin, ...] = ()) -> Pins:
    directory.mkdir(exist_ok=True)
    return Pins(directory, configured=lambda: configured, meanings=dict)


def test_pins_outlive_the_driver_until_they_are_removed(tmp_path: Path) -> None:
    first = pins(tmp_path / "pins")
    for pin in (Pin(MODEL), Pin(MODEL), Pin(MODEL, PART), Pin(str(TWO))):
        first.put(pin)
    later = pins(tmp_path / "pins")
    models = [held("a"), held("b", reference="r.local/b:v1", digest=TWO), held("c", reference="r.local/c:v1")]
    assert later.keys(models) == {"a", "b"}
    assert later.remove(MODEL) == 2
    assert later.keys(models) == {"b"}
    assert later.remove(MODEL) == 0


def test_what_the_configuration_pins_is_not_unpinned_by_hand(tmp_path: Path) -> None:
    both = pins(tmp_path / "pins", (Pin(MODEL),))
    both.put(Pin(MODEL))
    with pytest.raises(InvalidRequest, match="pinned by the driver's configuration"):
        both.remove(MODEL)
    assert both.keys([held("a")]) == {"a"}


def test_a_damaged_pin_is_set_aside_and_the_others_hold(tmp_path: Path) -> None:
    several = pins(tmp_path / "pins")
    several.put(Pin(MODEL))
    for text in ("", "[]", '{"format": 9, "name": "x", "selection": null}'):
        (tmp_path / "pins" / f"{len(text)}.json").write_text(text)
    assert several.names() == {MODEL}
    assert len(list((tmp_path / "pins").glob("*.damaged"))) == 3


def test_pinned_models_stay_when_the_cache_must_shrink(root: Path) -> None:
    put = Pins(root / "pins", configured=tuple, meanings=dict)
    cache = Cache(root, in_use=set, pinned=put.keys, limits=lambda: Limits(max_bytes=1))
    for key in ("a", "b"):
        assemble(cache, key, bring_raw(cache, "weights", key.encode()))
    put.put(Pin(str(MANIFEST)))
    assert cache.collect().snapshots == ()
    put.remove(str(MANIFEST))
    assert set(cache.collect().snapshots) == {"a", "b"}
