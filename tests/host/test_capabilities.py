"""Of root's powers the driver keeps those that it uses."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from csi_driver.host.capabilities import NEEDED

PROGRAM = """
import subprocess, sys, threading
from csi_driver.host.capabilities import give_up_others
give_up_others()
print(open("/proc/self/status").read())
def run():
    print(open("/proc/thread-self/status").read())
    subprocess.run(["cat", "/proc/self/status"], check=True)
sys.stdout.flush()
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


def sets(status: str) -> list[dict[str, int]]:
    """The sets of capabilities of each process or thread that told its status."""
    found = re.findall(r"^Cap(Inh|Prm|Eff|Bnd|Amb):\t([0-9a-f]+)$", status, re.MULTILINE)
    told = [(name, int(value, 16)) for name, value in found]
    return [dict(told[at : at + 5]) for at in range(0, len(told), 5)]


def after_giving_up() -> list[dict[str, int]]:
    """Of a process, of a thread that it started, and of a program that this ran."""
    process = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    told = sets(process.stdout)
    assert len(told) == 3
    return told


@pytest.mark.skipif(os.getuid() != 0, reason="only root has something to give up")
def test_root_keeps_what_it_needs_and_nothing_else() -> None:
    [before] = sets(Path("/proc/self/status").read_text())
    kept = before["Prm"] & NEEDED

    for told in after_giving_up():
        assert told["Eff"] == told["Prm"] == kept
        assert told["Bnd"] == before["Bnd"] & NEEDED
        assert told["Inh"] == told["Amb"] == 0


def test_who_has_none_gains_none() -> None:
    process = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode and "setpriv" in process.stderr:
        pytest.skip(f"setpriv cannot take capabilities away here: {process.stderr.strip()}")

    assert process.returncode == 0, process.stderr
    for told in sets(process.stdout):
        assert told["Eff"] == told["Prm"] == told["Inh"] == told["Amb"] == 0
