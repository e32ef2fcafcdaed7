"""The hint to ext4 about where directories go."""

import shutil
import subprocess
from pathlib import Path

import pytest

from csi_driver.host.ext4 import spread


def test_ext4_is_told_to_spread_what_is_made_in_a_directory(tmp_path: Path) -> None:
    if subprocess.run(["stat", "-f", "-c", "%T", tmp_path], capture_output=True, check=True).stdout != b"ext2/ext3\n":
        pytest.skip("the directory for tests is not on ext4")
    if shutil.which("lsattr") is None:
        pytest.skip("lsattr is not installed")
    assert spread(tmp_path)
    assert spread(tmp_path)
    shown = subprocess.run(["lsattr", "-d", tmp_path], capture_output=True, text=True, check=True).stdout
    assert "T" in shown.split()[0]


def test_a_filesystem_without_such_hints_is_left_as_it_is() -> None:
    assert not spread(Path("/proc"))
