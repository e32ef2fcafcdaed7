"""Names of files in a volume: what stays as it is, what is shortened, what is refused."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.paths import MAX_COMPONENTS, basename, clean, is_clean, parents

pieces = st.sampled_from(["a", "b", "..", ".", "", "...", "..a", "a..", " ", "\\", "\n", "é", "\udcff", "a" * 255])
paths = st.lists(pieces, max_size=8).map("/".join) | st.text(max_size=40)


@given(paths)
def test_a_clean_path_never_leads_outside_and_stays_clean(path: str) -> None:
    try:
        cleaned = clean(path)
    except UnsupportedArtifact:
        return
    assert cleaned == posixpath.normpath(path)
    assert not cleaned.startswith("/")
    assert not {"", ".", ".."} & set(cleaned.split("/"))
    assert clean(cleaned) == cleaned


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [("./a//b/../c", "a/c"), ("a", "a"), ("a/b/c.json", "a/b/c.json"), ("./a", "a"), ("a/../b", "b")],
)
def test_a22_a_path_is_cleaned_without_leaving_the_volume(path: str, cleaned: str) -> None:
    assert clean(path) == cleaned


@pytest.mark.parametrize("path", ["../x", "a/../../x", "..//x", "a/../../a/x", "./../x"])
def test_a23_a_path_that_leads_outside_is_refused(path: str) -> None:
    with pytest.raises(UnsupportedArtifact, match="outside"):
        clean(path)


@pytest.mark.parametrize("path", ["/etc/x", "", ".", "..", "a/", "a/.", "a/..", "/", "a\0b", "\0"])
def test_a24_a_path_that_cannot_be_a_file_in_a_volume_is_refused(path: str) -> None:
    with pytest.raises(UnsupportedArtifact, match="which cannot be in a volume"):
        clean(path)


@pytest.mark.parametrize(
    "name",
    [
        "\u00e9",
        "e\u0301",
        "a\nb",
        "a\\b",
        "-rf",
        "🤗.bin",
        "é" * 127 + "x",
        "..foo",
        "foo..bar",
        "...",
        " ",
        "\udc80\udcff",
    ],
)
def test_a25_unusual_names_are_kept_byte_for_byte(name: str) -> None:
    assert clean(f"dir/{name}") == f"dir/{name}"


@pytest.mark.parametrize("name", ["x" * 256, "é" * 128])
def test_a25_a_component_of_256_bytes_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedArtifact, match="longer than 255 bytes"):
        clean(name)


def test_a_path_longer_than_linux_takes_is_refused() -> None:
    with pytest.raises(UnsupportedArtifact, match="longer than 4095 bytes"):
        clean("/".join(["d" * 255] * 17))


def test_half_a_surrogate_pair_is_no_name() -> None:
    with pytest.raises(UnsupportedArtifact, match="written as bytes"):
        clean("a\ud800")


def test_the_message_shows_control_characters_escaped() -> None:
    with pytest.raises(UnsupportedArtifact) as caught:
        clean("../\x1b[31m\n")

    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet="a./\0é", max_size=12))
def test_a_path_is_clean_exactly_if_nothing_in_it_is_empty_or_dots(path: str) -> None:
    assert is_clean(path) == ("\0" not in path and {"", ".", ".."}.isdisjoint(path.split("/")))


def test_parents_are_listed_outermost_first() -> None:
    assert parents("a/b/c") == ["a", "a/b"]
    assert parents("c") == []
    assert basename("a/b/c") == "c"


def test_a_path_that_is_deeper_than_an_archives_may_be_is_refused_before_anything_is_fetched() -> None:
    assert clean("a/" * (MAX_COMPONENTS - 1) + "a").count("/") == MAX_COMPONENTS - 1
    with pytest.raises(UnsupportedArtifact, match="deeper than 256"):
        clean("a/" * MAX_COMPONENTS + "a")
