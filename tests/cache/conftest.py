"""A cache of its own for every test."""

from pathlib import Path

import pytest

from csi_driver.cache.store import Cache
from tests.cache.shelf import new_cache


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "model-csi"


@pytest.fixture
def cache(root: Path) -> Cache:
    return new_cache(root)
