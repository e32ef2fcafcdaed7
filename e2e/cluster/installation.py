"""The driver in the cluster, as its users put it there: by Helm, from the chart, as a DaemonSet."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.chart import CHART
from e2e.cluster import images
from e2e.cluster.kubernetes import Kubernetes
from e2e.cluster.manifests import NAME
from e2e.node import succeeded
from e2e.waiting import PATIENCE, until

NAMESPACE, RELEASE = "model-csi", "models"
DAEMONSET = f"daemonset/{RELEASE}-model-csi-driver"
ROOT = "/var/lib/model-csi"
CHANGED = "the configuration has changed"

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Installation:
    """A release of the chart, with `values` where they are not those of a node that everybody has."""

    cluster: Kubernetes
    program: Path
    values: Values

    def install(self, chart: Path = CHART, **changes: Any) -> None:
        """Install the chart or upgrade it, and return when the driver serves with the changed values."""
        command: list[str | Path] = ["upgrade", RELEASE, chart, "--install", "--create-namespace"]
        succeeded(self._helm(*command, f"--namespace={NAMESPACE}", "--values=-", values={**self.values, **changes}))
        self.wait()

    def roll_back(self) -> None:
        """What was installed before the last time."""
        succeeded(self._helm("rollback", RELEASE, f"--namespace={NAMESPACE}"))
        self.wait()

    def image(self) -> str:
        """The image that the DaemonSet's driver has."""
        containers = self.cluster.get(DAEMONSET, f"--namespace={NAMESPACE}")["spec"]["template"]["spec"]["containers"]
        return str(containers[0]["image"])

    @contextmanager
    def changed(self, **changes: Any) -> Iterator[None]:
        """The driver with other values, until the end of the block."""
        self.install(**changes)
        try:
            yield
        finally:
            self.install()

    @contextmanager
    def followed(self, **settings: Any) -> Iterator[None]:
        """The running driver with other settings, which it follows without a restart, until the end of the block."""
        restarts = self.restarts()
        self._until_followed(self.configured(**settings))
        try:
            yield
        finally:
            self._until_followed({})
        assert self.restarts() == restarts

    def _until_followed(self, changes: Values) -> None:
        seen = self.logs().count(CHANGED)
        self.install(**changes)
        until(lambda: self.logs().count(CHANGED) > seen, "the driver follows its configuration", 2 * PATIENCE)

    def configured(self, **settings: Any) -> Values:
        """Values under which the driver's configuration differs by these sections."""
        config = self.values["config"]
        return {"config": {**config, **{key: {**config.get(key, {}), **settings[key]} for key in settings}}}

    def uninstall(self) -> None:
        """Return when Helm, and the driver's pod, are gone."""
        succeeded(self._helm("uninstall", RELEASE, f"--namespace={NAMESPACE}", "--wait"))
        self.cluster.wait("--for=delete", "pod", "--all", f"--namespace={NAMESPACE}")

    def manifests(self, values: Values) -> str:
        """What Helm would apply with only these values to a cluster of this version."""
        version = json.loads(succeeded(self.cluster.kubectl("get", "--raw=/version")))["gitVersion"]
        command: list[str | Path] = ["template", RELEASE, CHART, f"--namespace={NAMESPACE}", "--values=-"]
        command.append(f"--kube-version={version}")
        return succeeded(self._helm(*command, values=values))

    def restart(self) -> None:
        succeeded(self.cluster.kubectl("rollout", "restart", DAEMONSET, f"--namespace={NAMESPACE}"))
        self.wait()

    def wait(self) -> None:
        """Return when the DaemonSet is rolled out and kubelet knows the driver."""
        rollout = ["rollout", "status", DAEMONSET, f"--namespace={NAMESPACE}", f"--timeout={PATIENCE}s"]
        succeeded(self.cluster.kubectl(*rollout, timeout=PATIENCE + 30))
        until(self.is_registered, f"kubelet knows {NAME}")

    def is_registered(self) -> bool:
        """Whether kubelet knows the driver."""
        drivers = self.cluster.get("csinode/node1")["spec"]["drivers"] or []
        return NAME in [driver["name"] for driver in drivers]

    def logs(self) -> str:
        """What all containers of the driver's pod have said."""
        command = ["logs", DAEMONSET, f"--namespace={NAMESPACE}", "--all-containers", "--tail=-1"]
        return succeeded(self.cluster.kubectl(*command))

    def command(self, *arguments: str) -> str:
        """What the driver's command line says in the driver's container."""
        inside = ["exec", DAEMONSET, f"--namespace={NAMESPACE}", "--container=model-csi-driver", "--"]
        return succeeded(self.cluster.kubectl(*inside, "model-csi", *arguments))

    def fetched(self, repository: str) -> int:
        """How many bytes the driver says its pull of a model took."""
        [pulled] = re.findall(rf" pulled .*/{repository}:v1 .* fetched_bytes=(\d+) ", self.logs())
        return int(pulled)

    def restarts(self) -> int:
        """How often the containers of the driver's pod have been started again."""
        pods = self.cluster.get("pods", f"--namespace={NAMESPACE}")["items"]
        return sum(status["restartCount"] for pod in pods for status in pod["status"]["containerStatuses"])

    def pod(self) -> Any:
        """The driver's pod."""
        [pod] = self.cluster.get("pods", f"--namespace={NAMESPACE}")["items"]
        return pod

    def process(self) -> int:
        """The driver's process, as it is seen from here."""
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended since
                words = (path / "cmdline").read_bytes().split(b"\0")
                ours = self.cluster.node.cgroup in (path / "cgroup").read_text(encoding="ascii")
                if ours and b"serve" in words and words[1].endswith(b"/model-csi"):
                    return int(path.name)
        raise AssertionError("the driver does not run")

    def kill(self) -> None:
        """SIGKILL, as the kernel does it when memory is short; return when kubelet has started the driver again."""
        before = self.restarts()
        os.kill(self.process(), signal.SIGKILL)
        until(lambda: self.restarts() > before, "kubelet starts the driver again")
        self.wait()

    def files(self, below: str) -> list[str]:
        """The files and directories right below a directory of the driver's root."""
        directory = self.cluster.node.seen(f"{ROOT}/{below}")
        return sorted(path.name for path in directory.iterdir()) if directory.exists() else []

    def until_empty(self, directories: Sequence[str], patience: float = PATIENCE) -> None:
        """Return when no file is left in these directories of the driver's root."""
        roots = [self.cluster.node.seen(f"{ROOT}/{name}") for name in directories]
        deadline = time.monotonic() + patience
        while found := [path for root in roots for path in root.rglob("*") if not path.is_dir()]:
            assert time.monotonic() < deadline, f"still there after {patience} s: {found}"
            time.sleep(0.5)

    def _helm(self, *command: str | Path, values: Values | None = None) -> subprocess.CompletedProcess[str]:
        kubeconfig = f"--kubeconfig={self.cluster.keys / 'admin.kubeconfig'}"
        return subprocess.run(
            self.cluster.node.connect(self.program, *command, kubeconfig),
            input=json.dumps(values or {}),
            env=self.cluster.environment,
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            check=False,
        )


def values(plain_http_hosts: list[str]) -> Values:
    """The images that the node has, and settings that let a test see in seconds what takes minutes otherwise."""
    pull = {"plain_http_hosts": plain_http_hosts, "publish_hold_in_seconds": 5}
    return {
        "image": {"repository": images.DRIVER, "tag": images.TAG},
        "registrar": {"image": {"repository": "localhost/csi-node-driver-registrar", "tag": images.TAG}},
        # Which Kubernetes does not let change later.
        "csiDriver": {"volumeLifecycleModes": ["Ephemeral", "Persistent"]},
        "livenessProbe": {"image": {"repository": "localhost/livenessprobe", "tag": images.TAG}},
        "config": {"pull_config": pull, "kubernetes": {"events": True, "node_labels": 100}},
    }


def left_behind(installation: Installation) -> list[str]:
    """What should not be there when no pod has a model: mounts, volumes, records, and files that nobody will read."""
    node = installation.cluster.node
    volumes = "volumes/kubernetes.io~csi"
    found = [path for path in node.mounts("/var/lib/kubelet") if volumes in path]
    found += [str(path) for path in node.seen("/var/lib/kubelet/pods").glob(f"*/{volumes}/*")]
    found += node.mounts(ROOT)
    for below in ("volumes", "trash", "ingest"):
        found += [f"{ROOT}/{below}/{name}" for name in installation.files(below)]
    return found


def until_nothing_is_left(installation: Installation, patience: float = PATIENCE) -> None:
    """kubelet and the driver clean up soon, but not at once."""
    deadline = time.monotonic() + patience
    while found := left_behind(installation):
        assert time.monotonic() < deadline, f"still there after {patience} s: {found}"
        time.sleep(0.2)
