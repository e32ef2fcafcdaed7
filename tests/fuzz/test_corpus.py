"""What fuzzing has found, and what it starts from, every target takes; and no archive reaches outside its directory."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import CORPUS
from tests.fuzz.targets import TARGETS, tar

CASES = sorted(path for path in CORPUS.glob("*/*"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}-{path.name[:12]}")
def test_a_target_takes_what_is_in_its_corpus(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


def test_every_target_has_a_corpus() -> None:
    assert {path.parent.name for path in CASES} == TARGETS.keys()


@settings(max_examples=200)
@given(st.binary(max_size=300))
def test_no_archive_reaches_what_lies_outside(mount_namespace: None, data: bytes) -> None:
    tar(data)
