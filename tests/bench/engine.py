"""Our side: the driver's own puller, as the driver builds it, in a process of its own, or the driver itself.

`python -m tests.bench.engine ROOT REFERENCE` pulls into a data root and prints what it took. It is the driver without
its socket, and what to run under a profiler.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from csi_driver.csi.client import Client, PulledModel
from csi_driver.csi.endpoint import Endpoint
from tests.bench.data import cache_directory
from tests.bench.measure import Failed, Usage, Word, memory

_IDLE_SECONDS = 1.0
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS = 30
_CONTENT = 0.98  # of an archive is in its files; the rest is headers


def pull(reference: str, size: int, scratch: Path, *, ca_file: str = "") -> Usage:
    """The puller brings the model, from its tag to the finished snapshot; the start of its process does not count."""
    command: list[Word] = [sys.executable, "-m", "tests.bench.engine", scratch / "root", reference]
    trust = {"SSL_CERT_FILE": ca_file} if ca_file else {}
    done = subprocess.run(command, capture_output=True, check=False, env=_environment() | trust)
    if done.returncode:
        raise Failed(f"the puller ended with {done.returncode}: {done.stderr.decode().strip()[-300:]}")
    told = json.loads(done.stdout)
    if told.pop("size") < size * _CONTENT:
        raise Failed("the snapshot is too small")
    return Usage(**told)


def pull_through_driver(reference: str, size: int, scratch: Path) -> Usage:
    """A driver that runs is asked over its socket, as `model-csi pull` does; its own CPU time and memory count."""
    with driver(scratch) as (process, endpoint), Client(endpoint) as client:
        before, begin = _cpu(process.pid), time.perf_counter()
        *_, model = client.pull(reference)
        wall = time.perf_counter() - begin
        if not isinstance(model, PulledModel) or model.size < size * _CONTENT:
            raise Failed("the snapshot is too small")
        return Usage(wall, _cpu(process.pid) - before, memory(process.pid, "VmHWM"))


def start(scratch: Path) -> Usage:
    """From the command to the first answer that the driver is ready, and the memory it has a second later."""
    begin = time.perf_counter()
    with driver(scratch) as (process, endpoint), Client(endpoint) as client:
        while not client.probe():
            time.sleep(0.002)
        wall, cpu = time.perf_counter() - begin, _cpu(process.pid)
        time.sleep(_IDLE_SECONDS)
        return Usage(wall, cpu, memory(process.pid, "VmRSS"))


@contextmanager
def driver(home: Path) -> Iterator[tuple[subprocess.Popen[bytes], Endpoint]]:
    """`model-csi serve` on a data root below `home`, from when its socket answers."""
    endpoint = Endpoint.parse(str(home / "csi.sock"))
    config = home / "config.yaml"
    config.write_text(f"root_dir: {home}/root\ncsi_endpoint: {endpoint}\nlog_level: warning\n")
    log = home / "log"
    with open(log, "wb") as errors:
        command: list[Word] = [sys.executable, "-m", "csi_driver", "serve", "--config", config]
        process = subprocess.Popen(command, stderr=errors, env=_environment())
    try:
        until = time.monotonic() + _START_SECONDS
        while not endpoint.is_served():
            if process.poll() is not None or time.monotonic() > until:
                raise Failed(f"the driver did not start: {log.read_text().strip()[-300:]}")
            time.sleep(0.002)
        yield process, endpoint
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _environment() -> dict[str, str]:
    """Modules are compiled, as they are in the image, but not into the tree: the first start compiles them."""
    compiled = {"PYTHONPYCACHEPREFIX": str(cache_directory() / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
    return {**os.environ, **compiled}


def _cpu(pid: int) -> float:
    """Seconds of CPU of a process and the children it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / _TICKS


def _own_cpu() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usages)


def main() -> None:
    from csi_driver.config import load  # noqa: PLC0415  the benchmark itself has no use for it
    from csi_driver.inflight import Deadline, Wait  # noqa: PLC0415
    from csi_driver.oci.policy import PullPolicy  # noqa: PLC0415
    from csi_driver.oci.reference import Reference  # noqa: PLC0415
    from csi_driver.oci.selection import Selection  # noqa: PLC0415
    from csi_driver.parts import Parts  # noqa: PLC0415
    from csi_driver.puller.request import PullRequest  # noqa: PLC0415

    root, reference = Path(sys.argv[1]), Reference.parse(sys.argv[2])
    root.mkdir(mode=0o700)
    built = Parts(replace(load(None, {}), root_dir=root, csi_endpoint=str(root / "unused.sock")))
    before, begin = _own_cpu(), time.perf_counter()
    request = PullRequest(reference, Selection(), PullPolicy.ALWAYS)
    with built.puller.snapshot(request, Wait(Deadline.never())) as snapshot:
        usage = Usage(time.perf_counter() - begin, _own_cpu() - before, memory("self", "VmHWM"))
    print(json.dumps({**asdict(usage), "size": snapshot.size}))


if __name__ == "__main__":
    main()
