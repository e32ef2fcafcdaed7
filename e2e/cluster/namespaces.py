"""Mount, network, process, host-name and IPC namespaces of a node's own, and the programs that run in them."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from e2e import programs, sandbox
from e2e.cluster import init
from e2e.waiting import PATIENCE, at_most, until

NAME, ADDRESS = "node1", "10.88.0.1"
DIRECTORIES = "model-csi-cluster-"  # and the process that made them
# Should this process be killed, what it started goes with it.
OUTLIVES_NOBODY = ("setpriv", "--pdeathsig", "KILL", "--")
NEEDED = ("unshare", "nsenter", "setpriv", "ip", "iptables", "openssl")  # the system's programs


@dataclass(slots=True)
class Daemon:
    """A program that runs in the node until it is stopped. What it says is in `log`."""

    pid: int  # as it is seen from outside
    entrance: "subprocess.Popen[bytes]"
    log: Path

    def is_running(self) -> bool:
        return self.entrance.poll() is None

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Send the signal, and return when the program has ended; after 20 s it is killed."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        try:
            self.entrance.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.kill(self.pid, signal.SIGKILL)
            self.entrance.wait(timeout=20)


@dataclass(frozen=True, slots=True)
class Namespaces:
    """A node; `directory` is its disk, `init` its first process, and `daemons` are the programs that were started."""

    directory: Path
    logs: Path
    init: int
    cgroup: str
    daemons: dict[str, Daemon] = field(default_factory=dict)

    def enter(self, *command: str | Path) -> list[str | Path]:
        """The command that runs `command` on the node."""
        return ["nsenter", "--target", str(self.init), "--mount", "--net", "--pid", "--uts", "--ipc", "--", *command]

    def connect(self, *command: str | Path) -> list[str | Path]:
        """The command that runs `command` on the node's network, and otherwise out here; it makes way for it."""
        enter = ["nsenter", "--target", str(self.init), "--net", "--"]
        return [*OUTLIVES_NOBODY, *enter, *command]

    def run(self, *command: str | Path, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """Run a command on the node; the caller looks at how it ended."""
        return subprocess.run(self.enter(*command), capture_output=True, text=True, timeout=timeout, check=False)

    def start(self, name: str, *command: str | Path) -> None:
        """Start a program on the node; it says into a log of its name, which a later start goes on with."""
        log = self.logs / f"{name}.log"
        with log.open("ab") as output:
            entrance = subprocess.Popen(
                self.enter(*command), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self.daemons[name] = Daemon(pid=_child_of(entrance), entrance=entrance, log=log)

    def seen(self, path: str | Path) -> Path:
        """The path by which this process sees what the node has at `path`."""
        return Path(f"/proc/{self.init}/root{path}")

    def mounts(self, below: str) -> list[str]:
        """The mount points below a directory of the node, each as often as something is mounted there."""
        table = Path(f"/proc/{self.init}/mountinfo").read_text(encoding="utf-8").splitlines()
        return [point for point in (line.split()[4] for line in table) if point.startswith(f"{below}/")]


@contextmanager
def entered(logs: Path) -> Iterator[Namespaces]:
    """Namespaces that are gone after the block, with every process, mount, link and control group in them."""
    cgroup = f"model-csi-e2e-{os.getpid()}"
    forget_the_dead()
    with sandbox.workspace(f"{DIRECTORIES}{os.getpid()}-") as directory:
        own = ["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
        first: list[str | Path] = [sys.executable, "-I", init.__file__, directory, NAME, ADDRESS, cgroup]
        # With unshare goes the node.
        command = [*OUTLIVES_NOBODY, *own, *first]
        with (logs / "init.log").open("wb") as log:
            parent = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        node = None
        try:
            assert parent.stdout is not None
            with at_most(parent.kill):
                said = parent.stdout.readline()
            assert said == b"ready\n", "the node is not set up:\n" + (logs / "init.log").read_text(encoding="utf-8")
            node = Namespaces(directory=directory, logs=logs, init=_child_of(parent), cgroup=cgroup)
            yield node
        finally:
            parent.kill()
            parent.communicate()
            for daemon in node.daemons.values() if node else ():
                programs.end(daemon.entrance)
            remove_cgroups(cgroup)


def remove_cgroups(path: str) -> None:
    """Remove the control group of that path with all below it; its processes were killed, which takes them a moment."""
    groups = [hierarchy / path for hierarchy in init.hierarchies()]
    inhabited = [found for group in groups for found in group.rglob("cgroup.procs")]
    until(lambda: not any(map(_processes_in, inhabited)), f"the processes in the control group {path} end")
    for group in groups:
        _remove(group)


def _processes_in(group: Path) -> str:
    with suppress(OSError):  # it has just been removed
        return group.read_text(encoding="ascii")
    return ""


def _remove(group: Path) -> None:
    if group.is_dir():
        for directory, _, _ in os.walk(group, topdown=False):
            os.rmdir(directory)


def forget_the_dead() -> None:
    """Remove what an earlier run could not, because it was killed itself."""
    for directory in Path(tempfile.gettempdir()).glob(f"{DIRECTORIES}*-*"):
        if not Path("/proc", directory.name.removeprefix(DIRECTORIES).partition("-")[0]).exists():
            sandbox.remove(directory)
    for group in [path for hierarchy in init.hierarchies() for path in hierarchy.glob("model-csi-e2e-*")]:
        if not Path("/proc", group.name.rpartition("-")[2]).exists():
            _remove(group)


def _child_of(parent: "subprocess.Popen[bytes]") -> int:
    """The first child of nsenter or unshare, which both fork to enter a process namespace."""
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):
            if found := re.findall(r"\d+", children.read_text(encoding="ascii")):
                return int(found[0])
        assert parent.poll() is None, f"{parent.args!r} ended with {parent.returncode}"
        time.sleep(0.005)
    raise AssertionError(f"{parent.args!r} starts nothing")
