"""The generated code is that of the definitions in proto/."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from csi_driver.csi.pb import csi_pb2, csi_pb2_grpc

REPOSITORY = Path(__file__).resolve().parents[2]
PROTO = REPOSITORY / "proto"


def test_the_committed_code_is_current() -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools generates the code")
    command = [sys.executable, str(PROTO / "generate.py"), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_specification_is_the_one_that_the_readme_names() -> None:
    named = re.search(r"version 1\.13\.0.*sha256 `([0-9a-f]{64})`", (PROTO / "README.md").read_text())
    assert named
    assert hashlib.sha256((PROTO / "csi.proto").read_bytes()).hexdigest() == named[1]


@pytest.mark.parametrize(
    ("package", "demanded_in", "pattern"),
    [
        ("grpcio", csi_pb2_grpc.__file__, r"GRPC_GENERATED_VERSION = '([\d.]+)'"),
        ("protobuf", csi_pb2.__file__, r"# Protobuf Python Version: ([\d.]+)"),
    ],
    ids=["grpcio", "protobuf"],
)
def test_the_project_demands_the_runtime_that_the_code_was_generated_for(
    package: str, demanded_in: str | os.PathLike[str], pattern: str
) -> None:
    generated_for = re.search(pattern, Path(demanded_in).read_text())
    assert generated_for
    lowest = re.search(rf'"{package}>=([\d.]+)', (REPOSITORY / "pyproject.toml").read_text())
    assert lowest
    assert tuple(map(int, lowest[1].split("."))) >= tuple(map(int, generated_for[1].split(".")))
