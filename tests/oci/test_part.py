"""Parts of archives: what is kept of an image's layer, and under which name."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.part import Subtree

MODELS = Subtree("models")

names = st.sampled_from(["models", "etc", "a", "b"])


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"models", "models"),
        (b"models/", "models"),
        (b"./models/a", "models/a"),
        (b"/models//a/./b", "models/a/b"),
        (b"models/.wh.old", "models/.wh.old"),
        (b"models/.wh..wh..opq", "models/.wh..wh..opq"),
        (b".wh.models", ".wh.models"),
        (b".wh..wh..opq", ".wh..wh..opq"),
        (b"models/\xff", "models/\udcff"),
        (b"./", ""),
    ],
)
def test_what_lies_in_the_directory_is_kept_with_what_removes_it(name: bytes, path: str) -> None:
    assert MODELS.choice().path(name, False) == path


@pytest.mark.parametrize(
    "name",
    [b"etc/passwd", b"/etc", b"model", b"models2/a", b".wh.etc", b"etc/models/a", b"etc/../usr", b"etc/.wh.models"],
)
def test_all_else_is_not_kept(name: bytes) -> None:
    assert MODELS.choice().path(name, False) is None


@pytest.mark.parametrize("name", [b"..", b"../models/a", b"etc/../models/a", b"a/../../models", b"x/../.wh.models"])
def test_a_name_that_comes_into_the_directory_by_a_detour_is_refused(name: bytes) -> None:
    with pytest.raises(UnsupportedArtifact, match="one place"):
        MODELS.choice().path(name, False)


def test_the_directories_at_the_top_are_remembered() -> None:
    choice = MODELS.choice()
    for name in (
        b"bin",
        b"etc/",
        b"a\0b/x",
        b"../../x",
        b"n" * 300 + b"/x",
        b"usr/lib/x",
        b"models/a",
        b"entrypoint.sh",
        b".wh.tmp",
        b"./opt/y",
    ):
        choice.path(name, name.endswith(b"/"))
    assert list(choice.finish()) == ["etc", "usr", "opt"]


def test_not_more_of_them_than_anybody_reads() -> None:
    choice = MODELS.choice()
    for number in range(1000):
        choice.path(b"%d/x" % number, False)
    assert len(list(choice.finish())) == 100


@pytest.mark.parametrize(
    ("path", "target", "kept"),
    [
        ("models/l", "a/b", "a/b"),
        ("models/l", "/models/a/b", "a/b"),
        ("models/d/l", "/models/a", "../a"),
        ("models/d/l", "/models/d", "."),
        ("models/l", "../models/a", "a"),
        ("models/l", "../../../models/a", "a"),
        ("models/l", "/etc/passwd", "../etc/passwd"),
        ("models/l", "../etc/passwd", "../etc/passwd"),
        ("models/l", "/", ".."),
    ],
)
def test_a_link_is_kept_relative(path: str, target: str, kept: str) -> None:
    assert MODELS.choice().target(path, target) == kept


@given(
    st.lists(names, min_size=1, max_size=3).map("/".join),
    st.booleans(),
    st.integers(0, 4),
    st.lists(names, max_size=3).map("/".join),
)
def test_a_link_leads_where_it_led_in_the_image(path: str, absolute: bool, climbs: int, rest: str) -> None:
    target = f"/{rest}" if absolute else posixpath.join(*[".."] * climbs, rest) if climbs else rest
    kept = MODELS.choice().target(path, target)

    def leads(text: str) -> str:
        return posixpath.normpath(posixpath.join("/", posixpath.dirname(path), text or "."))

    assert leads(kept) == leads(target)
    assert not kept.startswith("/")


def test_what_is_kept_is_shown_without_the_directory() -> None:
    assert MODELS.inside("models/a/b") == "a/b"
    assert MODELS.inside("models") is None
    assert MODELS.inside(".wh.models") is None
