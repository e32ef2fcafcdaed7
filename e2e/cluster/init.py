"""Process 1 of the node: makes the namespaces it was born into fit for a kubelet, then reaps what loses its parent.

It runs by its path, with nothing but the standard library. Its arguments are the node's directory, its name, its
address and its control group; it says `ready` on its standard output when all is set up.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
SERVICE = "10.96.0.1"  # of the API server, the first address of its service range
# kubelet insists on these, which belong to the whole machine: it is shown files of that content instead.
SYSCTLS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}


def main() -> int:
    directory, name, address, cgroup = Path(sys.argv[1]), *sys.argv[2:5]
    mount(directory)
    run("hostname", name)
    connect(address)
    for hierarchy in hierarchies():
        adopt(hierarchy / cgroup)
    print("ready", flush=True)
    reap()
    return 0


def mount(directory: Path) -> None:
    """What the node mounts is its own; kubelet's directory and the driver's are below `directory`."""
    run("mount", "--make-rshared", "/")
    for own in ("/run", "/var/lib", "/var/log"):
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", own)
    for name in ("kubelet", "model-csi"):
        place = Path("/var/lib") / name
        place.mkdir()
        (directory / name).mkdir()
        run("mount", "--bind", directory / name, place)
        # In a peer group of its own: otherwise what is mounted below it appears a second time below `directory`.
        run("mount", "--make-private", place)
        run("mount", "--make-shared", place)
    (directory / "sysctls").mkdir()
    for key, value in SYSCTLS.items():
        file = directory / "sysctls" / key.replace("/", ".")
        file.write_text(f"{value}\n", encoding="utf-8")
        run("mount", "--bind", file, Path("/proc/sys", key))


def connect(address: str) -> None:
    """A bridge that pods are plugged into; one rule stands in for kube-proxy, and leads to the API server."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "cni0", "type", "bridge")
    run("ip", "addr", "add", f"{address}/24", "dev", "cni0")
    run("ip", "link", "set", "cni0", "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
    to_server = ["-d", SERVICE, "-p", "tcp", "--dport", "443", "-j", "DNAT", "--to", f"{address}:6443"]
    for chain in ("PREROUTING", "OUTPUT"):
        run("iptables", "-t", "nat", "-A", chain, *to_server)


def hierarchies() -> Iterator[Path]:
    """The roots of the control groups: one of version 2, or many of version 1."""
    if (CGROUPS / "cgroup.controllers").exists():
        yield CGROUPS
    else:
        yield from (path for path in CGROUPS.iterdir() if path.is_dir() and not path.is_symlink())


def adopt(group: Path) -> None:
    """Make a control group that kubelet finds usable; a cpuset starts empty, and takes no process so."""
    group.mkdir()
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (group / name).exists():
            (group / name).write_text((group.parent / name).read_text(encoding="ascii"), encoding="ascii")


def reap() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        signal.sigtimedwait([signal.SIGCHLD], 5)


def run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
