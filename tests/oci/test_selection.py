"""Selections: which files a volume leaves out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csi_driver.errors import InvalidRequest
from csi_driver.oci.media import Role
from csi_driver.oci.selection import MAX_PATTERN_LENGTH, MAX_PATTERNS, ROLES, Selection
from tests.oci.artifacts import layer, layout

TAR = "application/vnd.cncf.model.weight.v1.tar"
CODE_TAR = "application/vnd.cncf.model.code.v1.tar"

patterns = st.lists(st.sampled_from(["*.bin", "!a", "d/", 'q"', "é"]), max_size=2).map(tuple)
roles = st.lists(st.sampled_from(["docs", "weights"]), max_size=2).map(tuple)
selections = st.builds(Selection, st.booleans(), patterns, patterns, roles)


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_true_is_what_go_calls_true(text: str) -> None:
    assert Selection.parse(text, None) == Selection(exclude_weights=True)


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False", "", None])
def test_false_is_what_go_calls_false_or_nothing(text: str | None) -> None:
    assert Selection.parse(text, None) == Selection()


@pytest.mark.parametrize("text", ["yes", "no", "tRUE", " true", "2", "null"])
def test_any_other_boolean_is_refused_under_the_attributes_name(text: str) -> None:
    with pytest.raises(InvalidRequest, match="driver/no-weights must be true or false"):
        Selection.parse(text, None, weights_name="driver/no-weights")


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        (None, ()),
        ("", ()),
        ("null", ()),
        ("[]", ()),
        (' ["*.bin", "!keep.bin"] ', ("*.bin", "!keep.bin")),
        ('["\\u00e9", "# c", ""]', ("é", "# c", "")),
    ],
)
def test_patterns_are_a_json_array_of_strings(text: str | None, patterns: tuple[str, ...]) -> None:
    assert Selection.parse(None, text).exclude_patterns == patterns


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("*.bin", "JSON array"),
        ('"*.bin"', r"write it as \["),
        ("{}", r"write it as \["),
        ("[1]", "1 is not a string"),
        ('["a", null]', "null is not a string"),
        ('["a["]', "'a\\[' is broken"),
        ("[" * 100_000, "nested deeper"),
        (json.dumps(["a"] * (MAX_PATTERNS + 1)), "257 patterns are too many"),
        (json.dumps(["a" * (MAX_PATTERN_LENGTH + 1)]), "longer than 1024"),
    ],
)
def test_patterns_that_cannot_be_used_are_refused_under_the_attributes_name(text: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as caught:
        Selection.parse(None, text, patterns_name="driver/not-these")

    assert "driver/not-these" in str(caught.value)


def test_as_many_patterns_as_allowed_are_taken() -> None:
    most = ["a" * MAX_PATTERN_LENGTH] * MAX_PATTERNS

    assert len(Selection.parse(None, json.dumps(most)).exclude_patterns) == MAX_PATTERNS


def test_a_selection_cannot_be_made_of_broken_patterns() -> None:
    with pytest.raises(InvalidRequest, match="broken"):
        Selection(exclude_patterns=("a[",))


def test_the_empty_selection_wants_everything() -> None:
    assert Selection().wants("model.safetensors", Role.WEIGHT)
    assert Selection().wants_layer(layout(layer("a")).layers[0])
    assert Selection().key == ""


@pytest.mark.parametrize(
    ("path", "role", "wanted"),
    [
        ("m", Role.WEIGHT, False),
        ("d/m.safetensors", Role.OTHER, False),
        ("m.GGUF", Role.WEIGHT_CONFIG, False),
        ("pytorch_model.bin", Role.DOC, False),
        ("m.pt", Role.OTHER, False),
        ("m.pth", Role.OTHER, False),
        ("m.onnx", Role.OTHER, False),
        ("d/model.safetensors.index.json", Role.WEIGHT_CONFIG, False),
        ("config.json", Role.WEIGHT_CONFIG, True),
        ("tokenizer.model", Role.WEIGHT_CONFIG, True),
        ("README.md", Role.DOC, True),
        ("m.safetensors/config.json", Role.OTHER, True),
    ],
)
def test_weights_are_told_by_role_extension_or_their_index(path: str, role: Role, wanted: bool) -> None:
    assert Selection(exclude_weights=True).wants(path, role) is wanted


def test_a_pattern_that_names_a_file_decides_alone() -> None:
    selection = Selection(exclude_weights=True, exclude_patterns=("*.json", "!keep.safetensors"))

    assert selection.wants("keep.safetensors", Role.WEIGHT)
    assert not selection.wants("other.safetensors", Role.WEIGHT)
    assert not selection.wants("config.json", Role.WEIGHT_CONFIG)


def test_patterns_match_whole_paths() -> None:
    selection = Selection(exclude_patterns=("/original/", "d/*.txt"))

    assert not selection.wants("original/model.pth", Role.WEIGHT)
    assert selection.wants("d/original/x", Role.OTHER)
    assert not selection.wants("d/a.txt", Role.DOC)
    assert selection.wants("d/e/a.txt", Role.DOC)


def test_the_last_matching_pattern_wins() -> None:
    assert Selection(exclude_patterns=("*", "!a")).wants("a", Role.OTHER)
    assert not Selection(exclude_patterns=("!a", "*")).wants("a", Role.OTHER)


def test_a_file_layer_is_wanted_if_its_file_is() -> None:
    weight, doc = layout(layer("m.bin"), layer("README", media_type="application/vnd.cncf.model.doc.v1.raw")).layers

    assert not Selection(exclude_weights=True).wants_layer(weight)
    assert Selection(exclude_weights=True).wants_layer(doc)
    assert not Selection(exclude_patterns=("README",)).wants_layer(doc)


def test_an_archive_of_weights_is_not_fetched_only_to_be_left_out() -> None:
    weights, code = layout(layer(None, media_type=TAR), layer(None, "c", media_type=CODE_TAR)).layers

    assert not Selection(exclude_weights=True).wants_layer(weights)
    assert not Selection(exclude_weights=True, exclude_patterns=("*.txt",)).wants_layer(weights)
    assert Selection(exclude_weights=True).wants_layer(code)


def test_an_archive_that_may_hold_something_wanted_is_fetched() -> None:
    (weights,) = layout(layer(None, media_type=TAR)).layers

    assert Selection(exclude_weights=True, exclude_patterns=("!config.json",)).wants_layer(weights)
    assert Selection(exclude_patterns=("*",)).wants_layer(weights)


@given(selections, selections)
def test_two_selections_have_one_key_exactly_if_they_are_equal(one: Selection, other: Selection) -> None:
    assert (one.key == other.key) == (one == other)
    assert (one == other) <= (hash(one) == hash(other))


@given(selections)
def test_a_key_tells_the_selection(selection: Selection) -> None:
    assert Selection.of_key(selection.key) == selection


@pytest.mark.parametrize("key", ["{}", "[true,1]x", '{"weights":true,"excluded":["[a"],"included":[],"roles":[]}', "3"])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        Selection.of_key(key)


def test_with_include_patterns_nothing_else_is_wanted() -> None:
    selection = Selection(include_patterns=("*.json", "!secret.json", "tokenizer/"))

    assert selection.wants("config.json", Role.WEIGHT_CONFIG)
    assert selection.wants("d/tokenizer/vocab.txt", Role.WEIGHT_CONFIG)
    assert not selection.wants("d/secret.json", Role.WEIGHT_CONFIG)
    assert not selection.wants("README.md", Role.DOC)
    assert not Selection(include_patterns=("!a",)).wants("b", Role.OTHER)


def test_what_is_included_is_still_excluded_by_everything_else() -> None:
    selection = Selection(exclude_weights=True, exclude_patterns=("d/",), include_patterns=("*.json", "*.bin"))

    assert selection.wants("a.json", Role.OTHER)
    assert not selection.wants("d/a.json", Role.OTHER)
    assert not selection.wants("a.bin", Role.OTHER)
    assert not Selection(exclude_patterns=("!a.md",), include_patterns=("*.json",)).wants("a.md", Role.DOC)


@pytest.mark.parametrize(
    ("path", "role", "of"),
    [
        ("a.txt", Role.WEIGHT, "weights"),
        ("a.bin", Role.WEIGHT_CONFIG, "config"),
        ("a.bin", Role.CODE, "code"),
        ("a.bin", Role.DOC, "docs"),
        ("a.bin", Role.DATASET, "dataset"),
        ("d/model.gguf", Role.OTHER, "weights"),
        ("d/config.json", Role.OTHER, "config"),
        ("serve.py", Role.OTHER, "code"),
        ("README", Role.OTHER, "docs"),
    ],
)
def test_a_file_has_the_role_of_its_layer_or_else_of_its_name(path: str, role: Role, of: str) -> None:
    for name in ROLES:
        assert Selection(roles=(name,)).wants(path, role) is (name == of)


def test_roles_are_a_set() -> None:
    assert Selection(roles=("docs", "weights", "docs")) == Selection(roles=("weights", "docs"))


def test_an_archive_of_another_role_is_not_fetched() -> None:
    weights, code = layout(layer(None, media_type=TAR), layer(None, "c", media_type=CODE_TAR)).layers

    assert not Selection(roles=("code", "docs")).wants_layer(weights)
    assert Selection(roles=("code", "docs")).wants_layer(code)
    assert Selection(include_patterns=("x",)).wants_layer(code)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("weights", "JSON array of weights, config, code, docs, dataset: "),
        ('["weight"]', "'weight' is not a role; use weights, config"),
        ('{"a": 1}', r'write it as \["config", "docs"\]'),
    ],
)
def test_roles_that_nobody_knows_are_refused_under_the_attributes_name(text: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^driver/roles must be a .*{reason}"):
        Selection.parse(roles=text, roles_name="driver/roles")


def test_include_patterns_are_refused_under_the_attributes_name() -> None:
    with pytest.raises(InvalidRequest, match=r"^driver/these must be a JSON array of gitignore patterns"):
        Selection.parse(include_patterns="*.bin", include_name="driver/these")


def test_the_order_of_patterns_is_part_of_the_key() -> None:
    assert Selection(exclude_patterns=("a", "!a")).key != Selection(exclude_patterns=("!a", "a")).key
