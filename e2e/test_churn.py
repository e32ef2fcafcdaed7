"""A node that thousands of pods came to and went from is what it was before."""

import os
import sys

import pytest

from e2e import programs, sandbox


def test_a_node_of_many_pods_stays_what_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        sandbox.own_namespace()
    except OSError as error:
        pytest.skip(str(error))
    usual = {"CHURN_PUBLISHES": "600"}
    command = [sys.executable, "-m", "e2e.churn"]
    done = programs.run(command, patience=600, environment=usual | dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    with capsys.disabled():
        print(f"\n{done.stdout}", end="")
