"""A one-node Kubernetes from its programs: brought up, asked, told, and its node taken down and up again."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster import namespaces, settings
from e2e.cluster.init import SERVICE
from e2e.cluster.namespaces import ADDRESS, NAME, Namespaces
from e2e.node import succeeded
from e2e.waiting import PATIENCE

PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet")
OF_DEBIAN = ("bridge", "containerd", "ctr", "etcd", "runc")

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """The running cluster."""

    node: Namespaces
    programs: Mapping[str, Path]

    @property
    def keys(self) -> Path:
        return self.node.directory / "keys"

    def kubectl(
        self, *arguments: str | Path, stdin: str | None = None, timeout: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the cluster's administrator; the caller looks at how it ended."""
        command = self.node.connect(
            self.programs["kubectl"], f"--kubeconfig={self.keys / 'admin.kubeconfig'}", *arguments
        )
        return subprocess.run(
            command,
            input=stdin,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    @property
    def environment(self) -> Mapping[str, str]:
        """Of programs that are the cluster's clients: what they remember of it they keep with it."""
        return {**os.environ, "KUBECACHEDIR": str(self.node.directory / "clients")}

    def apply(self, *objects: Object, dry_run: bool = False) -> None:
        """Let the API server have the objects, or only check them as strictly as it can."""
        options = ["--dry-run=server", "--validate=strict"] if dry_run else []
        succeeded(self.kubectl("apply", "--filename=-", *options, stdin=_documents(objects)))

    def get(self, *what: str) -> Any:
        """What the API server has, as `kubectl get` names it."""
        return json.loads(succeeded(self.kubectl("get", *what, "--output=json")))

    def wait(self, *what: str, patience: float = PATIENCE) -> None:
        """Return when `kubectl wait` sees what it was told to wait for."""
        succeeded(self.kubectl("wait", *what, f"--timeout={patience}s", timeout=patience + 30))

    def run_image(self, archive: Path) -> None:
        """Make an image known to the node, under the name that it has in its archive."""
        ctr = ["ctr", "--address", settings.RUNTIME, "--namespace", "k8s.io"]
        succeeded(self.node.run(*ctr, "images", "import", archive, timeout=300))

    def name_image(self, name: str, another: str) -> None:
        ctr = ["ctr", "--address", settings.RUNTIME, "--namespace", "k8s.io"]
        succeeded(self.node.run(*ctr, "images", "tag", "--force", name, another))

    def start_kubelet(self) -> None:
        """Start kubelet, and return when its node is ready."""
        keys, directory = self.keys, self.node.directory
        self.node.start(
            "kubelet",
            self.programs["kubelet"],
            f"--config={directory / 'kubelet.yaml'}",
            f"--kubeconfig={keys / 'kubelet.kubeconfig'}",
            f"--cert-dir={keys / 'kubelet'}",
            f"--hostname-override={NAME}",
            f"--node-ip={ADDRESS}",
            "--v=3",
        )
        # What the API server says of the node's state may be from before.
        self.until("kubelet", lambda: self.ask_kubelet("healthz") == "ok")
        self.wait("--for=condition=Ready", f"node/{NAME}")

    def ask_kubelet(self, path: str) -> str:
        """What kubelet itself answers, or nothing."""
        return self.kubectl("get", f"--raw=/api/v1/nodes/{NAME}/proxy/{path}").stdout

    def start_containerd(self) -> None:
        self.node.start(
            "containerd", self.programs["containerd"], "--config", str(self.node.directory / "containerd.toml")
        )
        self.until("containerd", lambda: self.node.run("ctr", "--address", settings.RUNTIME, "version").returncode == 0)

    def until(self, name: str, is_so: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Return when it is so; fail when the daemon of that name ends before."""
        deadline = time.monotonic() + patience
        while not is_so():
            daemon = self.node.daemons[name]
            if not daemon.is_running() or time.monotonic() > deadline:
                said = daemon.log.read_text(encoding="utf-8", errors="replace").splitlines()
                raise AssertionError(f"{name} is not there after {patience} s:\n" + "\n".join(said[-20:]))
            time.sleep(0.1)


@contextmanager
def running(programs: Mapping[str, Path], images: list[Path], logs: Path) -> Iterator[Kubernetes]:
    """A cluster with a ready node, which has the images; after the block nothing is left but the logs."""
    with namespaces.entered(logs) as node:
        cluster = Kubernetes(node=node, programs=programs)
        settings.write_keys(cluster.keys)
        settings.write_kubelet(node.directory / "kubelet.yaml", node.cgroup)
        settings.write_containerd(node.directory / "containerd.toml", node.directory)
        settings.write_network(node.directory / "cni")
        _start_control_plane(cluster)
        for image in images:
            cluster.run_image(image)
        cluster.start_kubelet()
        yield cluster


def _start_control_plane(cluster: Kubernetes) -> None:
    keys, programs = cluster.keys, cluster.programs
    _start_etcd(cluster)
    cluster.node.start(
        "kube-apiserver",
        programs["kube-apiserver"],
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=0.0.0.0",
        "--secure-port=6443",
        f"--advertise-address={ADDRESS}",
        f"--cert-dir={keys}",
        f"--service-cluster-ip-range={SERVICE.rpartition('.')[0]}.0/24",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={keys / 'sa.pub'}",
        f"--service-account-signing-key-file={keys / 'sa.key'}",
        f"--token-auth-file={keys / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
    )
    cluster.start_containerd()
    cluster.until("kube-apiserver", lambda: cluster.kubectl("get", "--raw=/readyz").returncode == 0)
    for name in ("kube-controller-manager", "kube-scheduler"):
        kubeconfig = keys / f"{name}.kubeconfig"
        identity = [f"--{use}kubeconfig={kubeconfig}" for use in ("", "authentication-", "authorization-")]
        own = ["--leader-elect=false", "--bind-address=127.0.0.1", f"--cert-dir={keys / name}"]
        if name == "kube-controller-manager":
            own += [
                f"--service-account-private-key-file={keys / 'sa.key'}",
                f"--root-ca-file={keys / 'apiserver.crt'}",
                "--use-service-account-credentials=true",
                f"--flex-volume-plugin-dir={settings.FLEX_VOLUMES}",
            ]
        cluster.node.start(name, programs[name], *identity, *own)
    cluster.until("kube-controller-manager", lambda: cluster.kubectl("get", "serviceaccount/default").returncode == 0)


def _start_etcd(cluster: Kubernetes) -> None:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    cluster.node.start(
        "etcd",
        cluster.programs["etcd"],
        f"--data-dir={cluster.node.directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
    )


def _documents(objects: tuple[Object, ...]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
