"""Layers of images: what the later ones leave of the earlier ones."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.overlay import Entries, visible


def shown(*layers: Sequence[str]) -> list[list[str]]:
    """What is visible of each layer; a path that ends in a slash is a directory."""
    entries = [
        Entries(
            [path for path in layer if not path.endswith("/")],
            [path.rstrip("/") for path in layer if path.endswith("/")],
        )
        for layer in layers
    ]
    return [sorted(paths) for paths in visible(entries)]


def test_layers_add_to_one_another_and_the_last_wins() -> None:
    assert shown(["models/a", "models/b"], ["models/b", "models/c"]) == [["models/a"], ["models/b", "models/c"]]


def test_a38_a_whiteout_hides_what_is_below_and_is_never_shown() -> None:
    assert shown(["models/old", "models/d/x", "models/d/y"], ["models/.wh.old", "models/.wh.d", "models/new"]) == [
        [],
        ["models/new"],
    ]


def test_a38_a_whiteout_hides_nothing_of_its_own_layer() -> None:
    assert shown(["a"], ["a", ".wh.a"]) == [[], ["a"]]
    assert shown(["a"], [".wh.a"], ["a"]) == [[], [], ["a"]]


def test_a38_an_opaque_directory_keeps_the_files_of_its_own_layer_even_if_it_is_said_after_them() -> None:
    assert shown(["m/a", "m/d/b", "n"], ["m/c", "m/.wh..wh..opq"]) == [["n"], ["m/c"]]


def test_an_opaque_root_hides_everything_below() -> None:
    assert shown(["a", "b/c"], [".wh..wh..opq", "d"]) == [[], ["d"]]


def test_a_file_replaces_a_directory_and_a_directory_a_file() -> None:
    assert shown(["d/a", "d/b/c", "f"], ["d", "f/x"]) == [[], ["d", "f/x"]]
    assert shown(["f"], ["f/"]) == [[], []]
    assert shown(["d/a"], ["d/"]) == [["d/a"], []]


def test_a_whiteout_of_what_is_not_there_does_nothing() -> None:
    assert shown(["a"], ["x/y/.wh.z", "a/.wh.b", ".wh.c", "x/.wh..wh..opq"]) == [["a"], []]


@pytest.mark.parametrize("path", [".wh.", "models/.wh."])
def test_a_whiteout_without_a_name_is_refused(path: str) -> None:
    with pytest.raises(UnsupportedArtifact, match="whiteout"):
        shown([path])


names = st.sampled_from(["a", "b", "c"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
marks = st.tuples(st.lists(names, max_size=2), st.sampled_from([".wh.a", ".wh.b", ".wh..wh..opq"])).map(
    lambda pair: "/".join([*pair[0], pair[1]])
)


@given(st.lists(st.tuples(st.sets(paths, max_size=4), st.sets(marks, max_size=2)), max_size=4))
def test_it_is_what_applying_one_layer_after_another_gives(layers: list[tuple[set[str], set[str]]]) -> None:
    files = [_without_files_as_parents(each) for each, _ in layers]
    state: dict[str, int] = {}
    for number, (_, whiteouts) in enumerate(layers):
        for mark in whiteouts:
            parent, _, name = mark.rpartition("/")
            prefix = f"{parent}/" if parent else ""
            gone = prefix if name == ".wh..wh..opq" else f"{prefix}{name[4:]}"
            state = {
                path: at
                for path, at in state.items()
                if not (path.startswith(gone) if gone == prefix else path == gone or path.startswith(f"{gone}/"))
            }
        for file in files[number]:
            state = {
                path: at
                for path, at in state.items()
                if not (path == file or path.startswith(f"{file}/") or file.startswith(f"{path}/"))
            }
            state[file] = number

    result = visible([Entries([*each, *marks]) for each, (_, marks) in zip(files, layers, strict=True)])

    assert {path: number for number, paths in enumerate(result) for path in paths} == state


def _without_files_as_parents(paths: set[str]) -> list[str]:
    """No layer holds a file and something below it."""
    return sorted(path for path in paths if not any(other.startswith(f"{path}/") for other in paths))
