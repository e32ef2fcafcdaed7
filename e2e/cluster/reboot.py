"""A power cut on the node, and its next start: all that ran or was mounted is gone, what was on disk is not.

The control plane is another machine's in earnest, and stays.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from e2e.cluster.kubernetes import Kubernetes
from e2e.cluster.namespaces import Namespaces, remove_cgroups
from e2e.node import succeeded
from e2e.waiting import PATIENCE


def reboot(cluster: Kubernetes) -> None:
    """Return when kubelet is ready again; it has no pod running by then."""
    cut_power(cluster.node)
    cluster.start_containerd()
    cluster.start_kubelet()


def cut_power(node: Namespaces) -> None:
    """End kubelet, containerd and all containers, and forget every mount, control group and whatever was in memory."""
    for name in ("kubelet", "containerd"):
        node.daemons[name].stop(signal.SIGKILL)
    _kill_descendants(node.init)
    remove_cgroups(f"{node.cgroup}/kubepods")
    for below in ("/var/lib/kubelet", "/var/lib/model-csi", "/run"):
        for point in reversed(node.mounts(below)):
            succeeded(node.run("umount", "--lazy", point))
    succeeded(node.run("sh", "-c", "rm -rf /run/*"))


def _kill_descendants(process: int) -> None:
    """Whatever has lost its parent belongs to the first process: the containers, and what looks after them."""
    deadline = time.monotonic() + PATIENCE
    while found := _descendants(process):
        for child in found:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        assert time.monotonic() < deadline, f"processes do not end: {found}"
        time.sleep(0.05)


def _descendants(process: int) -> list[int]:
    children = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            children += [int(child) for child in task.read_text(encoding="ascii").split()]
    return children + [grandchild for child in children for grandchild in _descendants(child)]
