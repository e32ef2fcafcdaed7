"""Parts by selection: a volume shows the same files, whether archives were kept whole or in part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.digest import Digest
from csi_driver.oci.layer import Layer
from csi_driver.oci.layout import placement
from csi_driver.oci.media import Packing, Role
from csi_driver.oci.part import NotInPart
from csi_driver.oci.selected import Selected, selected
from csi_driver.oci.selection import Selection

EMPTY = Descriptor("application/x-tar", Digest.of(b""), 0)

names = st.sampled_from(["w.bin", "c.json", "d"])
paths = st.lists(names, min_size=1, max_size=2).map("/".join)
patterns = st.lists(st.sampled_from(["*.bin", "/c.json", "d/", "!w.bin", "x/*.json"]), max_size=2).map(tuple)
selections = st.builds(Selection, st.booleans(), patterns, patterns, st.sampled_from([(), ("weights",), ("config",)]))


def layer(
    path: str | None = None, *, role: Role = Role.OTHER, below: str = "", packing: Packing = Packing.TAR
) -> Layer:
    return Layer(EMPTY, packing, role, path, below=below)


def kept(of: Layer, entries: list[str]) -> list[str]:
    assert of.part is not None
    choice = of.part.choice()
    found = [choice.path(entry.encode(), False) for entry in entries]
    choice.finish()
    assert all(path in (None, entry) for path, entry in zip(found, entries, strict=True))
    return [path for path in found if path is not None]


def shown(of: Layer, entries: list[str], selection: Selection) -> dict[str, str]:
    places = placement(of, entries)
    return {place: entry for entry, place in places.items() if selection.wants(place, of.role)}


@given(
    st.lists(paths, unique=True, max_size=4),
    selections,
    st.one_of(st.none(), paths.map("x/{}".format), paths),
    st.sampled_from(["", "x"]),
    st.sampled_from([Role.OTHER, Role.WEIGHT]),
)
def test_a_part_shows_what_the_whole_shows_or_is_given_up(
    entries: list[str], selection: Selection, path: str | None, below: str, role: Role
) -> None:
    whole = layer(path, role=role, below=below)
    part = selected(whole, selection)
    if part is whole:
        return
    try:
        found = kept(part, entries)
    except NotInPart:
        assert path is not None
        return
    assert shown(part, found, selection) == shown(whole, entries, selection)


def test_what_is_left_out_is_not_kept() -> None:
    part = selected(layer(), Selection(exclude_weights=True))
    assert kept(part, ["w.bin", "c.json", "d/w.gguf", "d/c.json"]) == ["c.json", "d/c.json"]


def test_a_lone_file_is_kept_for_the_place_that_its_layer_gives_it() -> None:
    part = selected(layer("deep/w.bin"), Selection(include_patterns=("/deep/",)))
    assert kept(part, ["w.bin"]) == ["w.bin"]
    with pytest.raises(NotInPart):
        kept(part, ["w.bin", "c.json"])
    with pytest.raises(NotInPart):
        kept(selected(layer("x/c.json"), Selection(exclude_weights=True)), ["w.bin", "c.json"])
    with pytest.raises(NotInPart):
        kept(selected(layer("c.json", below="x"), Selection(exclude_weights=True)), ["w.bin", "c.json"])


def test_directories_need_not_be_kept() -> None:
    part = selected(layer(), Selection(include_patterns=("d",))).part
    assert part is not None
    assert part.choice().path(b"d/", True) is None


@pytest.mark.parametrize(
    ("of", "selection"),
    [
        (layer(), Selection()),
        (layer(packing=Packing.RAW), Selection(exclude_patterns=("a",))),
        (layer(packing=Packing.RAW_GZIP), Selection(exclude_patterns=("a",))),
        (layer(role=Role.CODE), Selection(exclude_weights=True)),
        (layer(role=Role.CODE), Selection(roles=("code",))),
    ],
)
def test_what_is_wanted_whole_or_not_at_all_is_no_part(of: Layer, selection: Selection) -> None:
    assert selected(of, selection) is of


def test_equal_parts_have_equal_names_and_others_other_ones() -> None:
    one = Selected(Selection(True), Role.OTHER, None, "")
    same = Selected(Selection(True), Role.OTHER, None, "")
    others = [
        Selected(Selection(False, ("a",)), Role.OTHER, None, ""),
        Selected(Selection(True), Role.WEIGHT, None, ""),
        Selected(Selection(True), Role.OTHER, "a", ""),
        Selected(Selection(True), Role.OTHER, None, "a"),
    ]
    assert one.name == same.name
    assert len({one.name, *(other.name for other in others)}) == 5
