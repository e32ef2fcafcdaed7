"""I-JSON: RFC 7493, and what it costs to read it from a stranger."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_driver.oci import ijson

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(values, st.booleans())
def test_what_json_writes_is_read_back(value: object, ensure_ascii: bool) -> None:
    assert ijson.loads(json.dumps(value, ensure_ascii=ensure_ascii).encode()) == value


@given(st.binary() | st.text(alphabet='[]{}",:\\u0 d8').map(str.encode))
def test_anything_else_is_a_value_error(data: bytes) -> None:
    try:
        value = ijson.loads(data)
    except ValueError:
        return
    assert ijson.loads(json.dumps(value).encode()) == value


def test_brackets_inside_of_strings_are_not_levels() -> None:
    assert ijson.loads(json.dumps(["[" * 1000, '\\"[' * 1000]).encode()) == ["[" * 1000, '\\"[' * 1000]


def test_the_deepest_document_is_read_and_one_level_more_is_not() -> None:
    deepest = b"[" * ijson.MAX_DEPTH + b"]" * ijson.MAX_DEPTH

    assert ijson.loads(deepest)
    with pytest.raises(ValueError, match="nested deeper"):
        ijson.loads(b"[" + deepest + b"]")


@pytest.mark.parametrize(
    "data",
    [
        b"[" + b"[]," * 300_000 + b"[]]",
        b"[" + b"0," * 2_000_000 + b"0]",
        b'"' * 8_000_000,
        b'"' + b'\\"' * 4_000_000,
        b'"' + b'\\"' * 4_000_000 + b"\\",
        b"[" * 8_000_000,
        b"\\" * 8_000_000,
        b"1" * 5_000,
    ],
    ids=["arrays", "numbers", "quotes", "open string", "open escape", "levels", "backslashes", "digits"],
)
def test_documents_that_would_cost_much_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        ijson.loads(data)


@pytest.mark.parametrize("text", ['"\\ud800"', '{"\\udc80": 1}', '["\\ud800\\ud800"]'])
def test_half_of_a_surrogate_pair_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        ijson.loads(text.encode())


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert ijson.loads(b'"\\ud83e\\udd17"') == "🤗"


def test_a_duplicate_name_is_refused_at_any_depth() -> None:
    with pytest.raises(ValueError, match="'a' occurs twice"):
        ijson.loads(b'[{"x": {"a": 1, "b": 2, "a": 1}}]')
