"""Snapshots: the layers of a model as one tree, shared and not copied."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from csi_driver.cache.layout import LayerId
from csi_driver.cache.store import Cache
from csi_driver.errors import LayerGone, NoSpace, UnsupportedArtifact
from csi_driver.oci.digest import Digest
from csi_driver.oci.layer import GeneratedFile, Layer
from csi_driver.oci.media import Role
from csi_driver.oci.selection import Selection
from tests.cache.shelf import (
    MANIFEST,
    Link,
    assemble,
    bring_raw,
    bring_tree,
    everything_below,
    new_cache,
    raw_layer,
    shown,
    spec,
    tree_of,
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_snapshot_shows_all_layers_in_their_places(cache: Cache, root: Path) -> None:
    weights = bring_raw(cache, "deep/er/model.safetensors", b"weights", role=Role.WEIGHT, mtime_ns=77)
    code = bring_tree(
        cache, {"code/run.sh": b"#!", "code/lib/a.py": b"a", "model.file": Link("deep/er/model.safetensors")}
    )
    made = assemble(cache, "key", weights, code)
    assert tree_of(made) == {
        "code/lib/a.py": b"a",
        "code/run.sh": b"#!",
        "deep/er/model.safetensors": b"weights",
        "model.file": Link("deep/er/model.safetensors"),
    }
    assert (made.size, made.files, made.own_bytes) == (10, 4, 0)
    assert (made.reference, made.manifest_digest, made.selection) == ("registry.local/model:v1", MANIFEST, "")
    assert made.layers == (LayerId.of(weights), LayerId.of(code))
    assert (made.tree / "deep/er/model.safetensors").stat().st_mtime_ns == 77
    assert {mode_of(made.tree / name) for name in ("", "code", "code/lib", "deep/er")} == {0o555}
    assert mode_of(made.tree / "code/run.sh") == 0o555
    assert new_cache(root).snapshot("key") == made
    assert everything_below(cache.places.ingests) == []


def test_files_are_the_layers_own_inodes(cache: Cache) -> None:
    weights = bring_raw(cache, "weights", b"weights")
    code = bring_tree(cache, {"a.py": b"a", "b.py": b"b"})
    made = assemble(cache, "key", weights, code)
    for layer, name, own in ((weights, "weights", ""), (code, "a.py", "a.py")):
        path = cache.layer(LayerId.of(layer))
        assert path is not None
        assert (made.tree / name).samefile(path / own if own else path)


def test_one_layer_in_two_places_is_one_file_with_two_names(cache: Cache) -> None:
    one = bring_raw(cache, "a/one", b"same")
    other = bring_raw(cache, "two", b"same")
    made = assemble(cache, "key", one, other)
    assert (made.tree / "a/one").samefile(made.tree / "two")
    assert made.layers == (LayerId.of(one),)


def test_a_file_that_must_be_executable_here_only_is_copied(cache: Cache) -> None:
    plain = bring_raw(cache, "plain", b"#!/bin/sh", mode=0o644, mtime_ns=5)
    executable = raw_layer("run", b"#!/bin/sh", mode=0o755)
    made = assemble(cache, "key", plain, executable)
    assert (mode_of(made.tree / "plain"), mode_of(made.tree / "run")) == (0o444, 0o555)
    assert (made.tree / "run").read_bytes() == b"#!/bin/sh"
    assert (made.tree / "run").stat().st_mtime_ns == 5
    assert made.own_bytes == 9


def test_a_file_that_has_as_many_names_as_it_may_is_copied(cache: Cache, tmp_path: Path) -> None:
    layer = bring_raw(cache, "config.json", b"{}")
    path = cache.layer(LayerId.of(layer))
    assert path is not None
    many = tmp_path / "many"
    many.mkdir()
    made = None
    for number in range(66_000):
        try:
            (many / str(number)).hardlink_to(path)
        except OSError:
            made = assemble(cache, "key", layer)
            break
    for name in many.iterdir():
        name.unlink()
    if made is None:
        pytest.skip("the filesystem allows any number of links")
    assert made.own_bytes == 2
    assert tree_of(made) == {"config.json": b"{}"}


def test_a_lone_file_of_an_archive_goes_where_its_layer_says(cache: Cache) -> None:
    layer = bring_tree(cache, {"w.bin": b"w"}, path="deep/er/w.bin")
    assert tree_of(assemble(cache, "key", layer)) == {"deep/er/w.bin": b"w"}


def test_a_link_that_would_lead_outside_from_its_new_place_is_refused(cache: Cache) -> None:
    layer = bring_tree(cache, {"a/l": Link("../x")}, path="l")
    with pytest.raises(UnsupportedArtifact, match="leads outside"):
        assemble(cache, "key", layer)


def test_what_the_selection_leaves_out_is_not_there_nor_is_its_directory(cache: Cache) -> None:
    weights = bring_raw(cache, "weights/model.safetensors", b"weights", role=Role.WEIGHT)
    other = bring_tree(cache, {"docs/readme.md": b"read", "docs/img/a.png": b"png", "config.json": b"{}"})
    selection = Selection(exclude_weights=True, exclude_patterns=("img/",))
    made = assemble(cache, "key", weights, other, selection=selection)
    assert tree_of(made) == {"config.json": b"{}", "docs/readme.md": b"read"}
    assert everything_below(made.tree) == ["config.json", "docs", "docs/readme.md"]
    assert made.selection == selection.key


def test_a_layer_that_is_not_here_is_named(cache: Cache) -> None:
    config = bring_raw(cache, "config.json", b"{}")
    with pytest.raises(LayerGone, match=str(Digest.of(b"missing"))):
        assemble(cache, "key", config, raw_layer("missing", b"missing"))


def test_a_selection_that_leaves_nothing_is_refused_and_nothing_is_left(cache: Cache) -> None:
    weights = bring_raw(cache, "model.safetensors", b"weights", role=Role.WEIGHT)
    with pytest.raises(UnsupportedArtifact, match="no files"):
        assemble(cache, "key", weights, selection=Selection(exclude_weights=True))
    assert cache.snapshot("key") is None
    assert everything_below(cache.places.ingests) == []


Collision = tuple[dict[str, bytes | Link], dict[str, bytes | Link]]


@pytest.mark.parametrize(
    "trees",
    [
        ({"a": b"one"}, {"a": b"two"}),
        ({"a": b"one"}, {"a": b"longer"}),
        ({"a": b"one"}, {"a": Link("b"), "b": b"one"}),
        ({"a": Link("b"), "b": b""}, {"a": Link("c"), "c": b""}),
        ({"a": b"one"}, {"a/b": b"two"}),
        ({"a/b": b"two"}, {"a": b"one"}),
        ({"a/b/c": b"two"}, {"a": Link("x")}),
        ({"a": Link("x")}, {"a/b/c": b"two"}),
    ],
)
def test_layers_that_contradict_each_other_are_refused_naming_both(cache: Cache, trees: Collision) -> None:
    first, second = (bring_tree(cache, tree) for tree in trees)
    with pytest.raises(UnsupportedArtifact) as caught:
        assemble(cache, "key", first, second)
    for layer in (first, second):
        assert str(layer.descriptor.digest) in str(caught.value)
    assert "'a'" in str(caught.value)
    assert cache.snapshot("key") is None
    assert everything_below(cache.places.ingests) == []


def same_digest(cache: Cache) -> tuple[Layer, Layer]:
    return bring_raw(cache, "a", b"same"), raw_layer("a", b"same")


def same_bytes(cache: Cache) -> tuple[Layer, Layer]:
    return bring_raw(cache, "a", b"same"), bring_tree(cache, {"a": b"same"})


def same_link(cache: Cache) -> tuple[Layer, Layer]:
    return bring_tree(cache, {"a": Link("b")}), bring_tree(cache, {"a": Link("b"), "c/d": b""})


@pytest.mark.parametrize("bring", [same_digest, same_bytes, same_link])
def test_the_same_content_twice_at_one_path_is_there_once(cache: Cache, bring: object) -> None:
    assert callable(bring)
    made = assemble(cache, "key", *bring(cache))
    assert "a" in tree_of(made)
    assert made.files == len(shown(made.tree))


def test_directories_of_several_layers_are_merged(cache: Cache) -> None:
    one = bring_tree(cache, {"a/b/one": b"1"})
    two = bring_tree(cache, {"a/b/two": b"2", "a/three": b"3"})
    assert tree_of(assemble(cache, "key", one, two)) == {"a/b/one": b"1", "a/b/two": b"2", "a/three": b"3"}


def test_assembling_again_gives_the_same_snapshot(cache: Cache) -> None:
    layer = bring_raw(cache, "a", b"a")
    first = assemble(cache, "key", layer)
    assert assemble(cache, "key", layer) == first
    assert first.tree.stat().st_ino == cache.assemble("key", spec(layer)).tree.stat().st_ino


def test_names_that_are_no_text_survive(cache: Cache) -> None:
    layer = bring_tree(cache, {"a\udcff/\n": b"odd"})
    made = assemble(cache, "key", layer)
    assert os.listdir(os.fsencode(made.tree)) == [b"a\xff"]
    assert tree_of(made) == {"a\udcff/\n": b"odd"}


@pytest.mark.usefixtures("ordinary_user")
def test_an_ordinary_user_can_assemble_and_give_up_a_model(root: Path) -> None:
    cache = new_cache(root, max_bytes=1)
    layer = bring_tree(cache, {"a/b/c": b"data" * 4000})
    assemble(cache, "key", layer)
    assert cache.collect().snapshots == ("key",)
    cache.empty_trash()
    assert everything_below(cache.places.snapshots) == everything_below(cache.places.trash) == []


def test_generated_files_come_in_addition_and_are_selected_like_others(cache: Cache, root: Path) -> None:
    layer = bring_raw(cache, "w", b"weights")
    files = (GeneratedFile("Kitfile", b"a: 1\n"), GeneratedFile("d/e", b""))
    made = cache.assemble("all", replace(spec(layer), files=files, parents=("registry.local/base:v1",)))
    assert tree_of(made) == {"Kitfile": b"a: 1\n", "d/e": b"", "w": b"weights"}
    assert (made.size, made.files, made.own_bytes) == (12, 3, 5)
    assert mode_of(made.tree / "Kitfile") == 0o444
    assert (made.tree / "Kitfile").stat().st_mtime_ns == 0
    assert new_cache(root).snapshot("all") == made
    part = cache.assemble("part", replace(spec(layer, selection=Selection(exclude_patterns=("d",))), files=files))
    assert sorted(tree_of(part)) == ["Kitfile", "w"]
    assert tree_of(cache.assemble("alone", replace(spec(), files=files[:1]))) == {"Kitfile": b"a: 1\n"}


def test_a_layer_may_repeat_a_generated_file_but_not_replace_it(cache: Cache) -> None:
    files = (GeneratedFile("Kitfile", b"a: 1\n"),)
    same, other = bring_raw(cache, "Kitfile", b"a: 1\n"), bring_tree(cache, {"Kitfile": b"b: 1\n"})
    assert tree_of(cache.assemble("same", replace(spec(same), files=files))) == {"Kitfile": b"a: 1\n"}
    with pytest.raises(UnsupportedArtifact, match=f"configuration and layer {other.descriptor.digest} both"):
        cache.assemble("other", replace(spec(other), files=files))
    assert everything_below(cache.places.ingests) == []


def test_room_is_asked_for_before_anything_is_copied(cache: Cache) -> None:
    """Else a manifest that names one large layer many times, with modes that differ, would fill the disk."""
    asked: set[tuple[int, int]] = set()

    def grant(size: int, inodes: int) -> None:
        asked.add((size, inodes))
        if inodes > 2:
            raise NoSpace("no room for a third copy")

    plain = bring_raw(cache, "plain", b"x" * 5000, mode=0o644)
    block = (cache.layer(LayerId.of(plain)) or Path()).stat().st_blocks * 512
    copies = [raw_layer(f"run{number}", b"x" * 5000, mode=0o755) for number in range(3)]
    cache.assemble("two", spec(plain, *copies[:2]), grant=grant)
    with pytest.raises(NoSpace, match="third copy"):
        cache.assemble("three", spec(plain, *copies), grant=grant)
    assert asked == {(0, 0), (block, 1), (5000, 1), (5000 + block, 2), (10_000, 2), (10_000 + block, 3)}
    assert cache.snapshot("three") is None
    assert everything_below(cache.places.ingests) == []


def test_directories_and_links_are_asked_for_as_well(cache: Cache) -> None:
    asked: list[tuple[int, int]] = []
    layer = bring_tree(cache, {"a/b/c/d": b"d", "a/b/c/e": b"e", "l": Link("a")})
    cache.assemble("key", spec(layer), grant=lambda size, inodes: asked.append((size, inodes)))
    assert asked[-1] == (0, 4)  # three directories and a link; the files are the layer's own
