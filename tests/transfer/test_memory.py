"""How much memory a transfer takes, however much it transfers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from csi_driver.host.files import usage

CHILD = """
import hashlib, json, sys
from pathlib import Path
from csi_driver.inflight import Stop
from csi_driver.oci.digest import Digest
from csi_driver.oci.media import Packing
from csi_driver.transfer.engine import Engine
from csi_driver.transfer.progress import Progress
from csi_driver.transfer.source import Blob

PIECE = bytes(range(256)) * 4096
peaks = []

def peak():
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))

class Pieces:
    left = int(sys.argv[2]) * len(PIECE)
    def open(self, start, stop, *, briefly):
        return self
    def readinto(self, view):
        peaks.append(peak())
        count = min(len(view), len(PIECE), self.left)
        view[:count] = PIECE[:count]
        self.left -= count
        return count
    def abort(self):
        pass
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass

pieces = int(sys.argv[2])
hasher = hashlib.sha256()
for _ in range(pieces):
    hasher.update(PIECE)
size = pieces * len(PIECE)
blob = Blob(Digest.parse("sha256:" + hasher.hexdigest()), size, Packing.RAW)
Engine().fetch(blob, Pieces(), Path(sys.argv[1]), progress=Progress(size), stop=Stop())
print(json.dumps([peaks[len(peaks) // 4], peak()]))
"""
MIB = 1 << 20


def test_three_quarters_of_a_large_layer_take_no_more_memory_than_the_first(tmp_path: Path) -> None:
    pieces = 400
    if usage(tmp_path).available < 2 * pieces * MIB:
        pytest.skip(f"{2 * pieces} MiB must be free where tests write")
    done = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path), str(pieces)], stdout=subprocess.PIPE, check=True)
    quarter, whole = json.loads(done.stdout)
    assert whole < quarter + 8 * MIB
    assert whole < 128 * MIB
    assert (tmp_path / "content").stat().st_size == pieces * MIB
