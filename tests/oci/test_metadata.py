"""File metadata: what packers really write."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_driver.oci.metadata import FileMetadata, rfc3339

MODCTL = (
    '{"name":"config.json","mode":420,"uid":1000,"gid":1000,"size":660,'
    '"mtime":"2025-03-01T12:30:45.123456789+08:00","typeflag":0}'
)


def test_what_modctl_writes_is_read_with_its_nanoseconds() -> None:
    assert FileMetadata.parse(MODCTL) == FileMetadata(
        name="config.json",
        mode=0o644,
        mtime_ns=1740803445_123456789,
        size=660,
        type_flag=0,
        uid=1000,
        gid=1000,
    )


def test_it_is_written_as_modctl_writes_it() -> None:
    metadata = FileMetadata(name="a", mode=0o755, mtime_ns=1_500_000_000, size=3)

    assert metadata.to_json() == (
        '{"name":"a","mode":493,"uid":0,"gid":0,"size":3,"mtime":"1970-01-01T00:00:01.5Z","typeflag":0}'
    )


@given(
    st.text(min_size=1, alphabet=st.characters(codec="utf-8")),
    st.integers(0, 0o777),
    st.integers(0, 253402300799_999999999),
    st.integers(0, 2**63 - 1),
)
def test_metadata_written_and_parsed_is_the_same(name: str, mode: int, mtime_ns: int, size: int) -> None:
    metadata = FileMetadata(name=name, mode=mode, mtime_ns=mtime_ns, size=size, type_flag=0, uid=0, gid=0)

    assert FileMetadata.parse(metadata.to_json()) == metadata


@given(st.text())
def test_any_other_text_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        FileMetadata.parse(text)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"name":"a"b"}', '{"mode":NaN}', '{"a":1,"a":1}', "\ud800"])
def test_a26_metadata_that_is_no_json_object_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        FileMetadata.parse(text)


@pytest.mark.parametrize(
    ("written", "mode"), [(0o4777, 0o777), (0o1000, 0), (0, 0), (0o100644, 0o644), (2**31 | 0o755, 0o755)]
)
def test_a26_only_permission_bits_of_the_mode_are_kept(written: int, mode: int) -> None:
    assert FileMetadata.parse(json.dumps({"mode": written})).mode == mode


@pytest.mark.parametrize(
    ("text", "mtime_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00.000000001z", 1),
        ("2024-02-29T23:59:59.1234567899Z", 1709251199_123456789),
        ("2025-01-01T00:00:00.5-05:30", 1735709400_500000000),
        ("0001-01-01T00:00:00Z", None),
        ("0000-01-01T00:00:00Z", None),
        ("1969-12-31T23:59:59Z", None),
        ("2023-02-29T00:00:00Z", None),
        ("2025-01-01T24:00:00Z", None),
        ("2025-01-01", None),
        ("2025-01-01T00:00:00", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a26_times_are_kept_to_the_nanosecond_and_unset_ones_ignored(text: str, mtime_ns: int | None) -> None:
    assert FileMetadata.parse(json.dumps({"mtime": text})).mtime_ns == mtime_ns


@pytest.mark.parametrize(
    ("written", "type_flag", "regular"), [(0, 0, True), (48, 0, True), (2, 2, False), (53, 5, False), (5, 5, False)]
)
def test_a26_type_flags_are_numbers_or_characters(written: int, type_flag: int, regular: bool) -> None:
    metadata = FileMetadata.parse(json.dumps({"typeflag": written}))

    assert metadata.type_flag == type_flag
    assert metadata.is_regular is regular


@pytest.mark.parametrize("value", ["1", 1.5, -1, True, None, [], 2**63])
def test_a_field_of_another_kind_says_nothing(value: object) -> None:
    text = json.dumps({"mode": value, "size": value, "typeflag": value, "uid": value, "name": 7, "mtime": 7, "x": 1})

    assert FileMetadata.parse(text) == FileMetadata()


def test_whole_seconds_are_written_without_a_fraction() -> None:
    assert rfc3339(86_400 * 10**9) == "1970-01-02T00:00:00Z"
