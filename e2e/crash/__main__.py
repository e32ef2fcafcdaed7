"""`make crash`: kills drivers at numbered steps, seed after seed, and says what survived.

The environment says how much: CRASH_SEEDS (60), from CRASH_FIRST (0) on, for at most CRASH_SECONDS (60; 0: no limit).
"""

import itertools
import os
import subprocess
import sys
from pathlib import Path

from csi_driver.inflight import Deadline
from e2e import sandbox
from e2e.crash import catalogue
from e2e.crash.node import Launcher, Wrong
from e2e.crash.seed import Tally, live
from tests.fixtures.registry import EmbeddedRegistry

_NUMBERS = {"CRASH_SEEDS": 60, "CRASH_FIRST": 0, "CRASH_SECONDS": 60}
_SPACE = "512m"


def main() -> int:
    """Run this again in a sandbox, whose directory is then the argument. Exit code 0: every seed survived."""
    if len(sys.argv) > 1:
        return crash(Path(sys.argv[1]))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    for name in ("CSI_ENDPOINT", "CSI_NODE_ID", "DOCKER_CONFIG"):
        os.environ.pop(name, None)
    return sandbox.run([sys.executable, "-m", "e2e.crash"], "model-csi-crash-")


def crash(directory: Path) -> int:
    """All seeds, each on a disk in memory of its own: a process that is killed loses nothing that it wrote there."""
    seeds, first, seconds = (_number(name, usual) for name, usual in _NUMBERS.items())
    deadline = Deadline.after(seconds) if seconds else Deadline.never()
    tally = Tally()
    with EmbeddedRegistry() as registry, Launcher() as launcher:
        models = catalogue.publish(registry)
        for seed in itertools.takewhile(lambda _: deadline.remaining(), range(first, first + seeds)):
            disk = directory / "disk"
            disk.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SPACE}", "crash", disk], check=True)
            try:
                live(seed, models, launcher, disk / "node", tally)
            except Wrong as wrong:
                tally.failures[seed] = str(wrong)
                print(f"seed {seed} FAILED: {wrong}", flush=True)
            finally:
                registry.forget_requests()
                subprocess.run(["umount", "--recursive", "--lazy", disk], check=True)
    print(*tally.lines(), sep="\n", flush=True)
    if tally.is_blind:
        print("FAILED: several kinds of steps never came; see e2e/crash/steps.py for how they are known")
    return int(bool(tally.failures) or tally.is_blind)


def _number(name: str, usual: int) -> int:
    return int(os.environ.get(name) or usual)


if __name__ == "__main__":
    sys.exit(main())
