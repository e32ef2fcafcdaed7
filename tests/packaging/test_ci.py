"""What decides whether a change lands says what it saw."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def ci(tmp_path: Path) -> Path:
    """A checkout with the real script, in which every step only notes that it ran, and fails if it is in `failing`."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    commands = tmp_path / "bin"
    commands.mkdir()
    for path in (tmp_path / ".ci" / "packages", commands / "make"):
        path.write_text(
            "#!/bin/sh\n"
            f"echo \"${{0##*/}} $*\" >>'{tmp_path}/ran'\n"
            f"! grep -qsx \"${{0##*/}} $*\" '{tmp_path}/failing'\n",
            encoding="utf-8",
        )
        path.chmod(0o755)
    return tmp_path


def run(ci: Path, failing: str = "") -> tuple[int, list[str]]:
    """Run the script; its exit status, and the steps that it took."""
    (ci / "failing").write_text(f"{failing}\n", encoding="utf-8")
    environment = {**os.environ, "PATH": f"{ci}/bin:{os.environ['PATH']}"}
    ended = subprocess.run(["bash", ci / ".ci" / "run"], env=environment, capture_output=True, timeout=60, check=False)
    return ended.returncode, (ci / "ran").read_text(encoding="utf-8").splitlines()


def test_what_passes_every_step_passes(ci: Path) -> None:
    status, steps = run(ci)

    assert status == 0
    assert {"packages ", "make setup", "make check", "make test", "make e2e-node", "make e2e-cluster"} <= set(steps)


@pytest.mark.parametrize(
    "step", ["make check", "make demo", "make test", "make e2e-node", "make e2e-tools", "make e2e-cluster"]
)
def test_what_fails_one_step_fails_and_the_others_are_run_all_the_same(ci: Path, step: str) -> None:
    status, steps = run(ci, failing=step)

    assert status == 1
    (ci / "ran").unlink()
    assert sorted(steps) == sorted(run(ci)[1])


@pytest.mark.parametrize("step", ["packages ", "make setup"])
def test_nothing_is_run_on_a_machine_that_cannot_be_set_up(ci: Path, step: str) -> None:
    status, steps = run(ci, failing=step)

    assert status == 1
    assert steps[-1] == step
