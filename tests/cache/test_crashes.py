"""A driver killed at any step leaves a cache that the next one goes on with."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("scenario", "at_least"), [("open", 8), ("commit", 8), ("assemble", 12), ("collect", 8), ("remember", 4)]
)
def test_killed_at_any_step_it_leaves_everything_whole_or_absent(scenario: str, at_least: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.cache.crashes", scenario, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= at_least
