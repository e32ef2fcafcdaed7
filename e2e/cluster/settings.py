"""The files that configure a one-node Kubernetes: who may do what, kubelet, containerd and the pods' network."""

import json
import re
import secrets
import subprocess
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster.init import SERVICE
from e2e.cluster.layers import can_be_overlaid
from e2e.cluster.namespaces import ADDRESS, NAME

RUNTIME = "/run/containerd/containerd.sock"
FLEX_VOLUMES = "/var/lib/flex-volumes"  # where there are none; without being told, they are made room for in /usr
PAUSE = "localhost/busybox:e2e"  # it sleeps until it is killed

# Who speaks to the API server: the name of the kubeconfig, the user, and the user's group.
USERS = (
    ("admin", "admin", "system:masters"),
    ("kubelet", f"system:node:{NAME}", "system:nodes"),
    ("kube-controller-manager", "system:kube-controller-manager", ""),
    ("kube-scheduler", "system:kube-scheduler", ""),
)


def write_keys(directory: Path) -> None:
    """The key that signs service accounts' tokens, the users' tokens, and a kubeconfig for each of them."""
    directory.mkdir()
    _succeeds("openssl", "genrsa", "-out", directory / "sa.key", "2048")
    _succeeds("openssl", "rsa", "-in", directory / "sa.key", "-pubout", "-out", directory / "sa.pub")
    lines = []
    for name, user, group in USERS:
        token = secrets.token_hex(16)
        lines.append(f'{token},{user},{name},"{group}"\n')
        (directory / f"{name}.kubeconfig").write_text(json.dumps(_kubeconfig(token)), encoding="utf-8")
    (directory / "tokens.csv").write_text("".join(lines), encoding="utf-8")


def write_kubelet(path: Path, cgroup: str) -> None:
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "enforceNodeAllocatable": ["pods"],
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{RUNTIME}",
        # The machine's memory and disk are not the test's to judge: pods would be evicted from one with others on it.
        "evictionHard": dict.fromkeys(("memory.available", "nodefs.available", "imagefs.available"), "0%"),
        "imageGCHighThresholdPercent": 100,
        "resolvConf": "",
        "clusterDNS": [f"{SERVICE.rpartition('.')[0]}.10"],  # nobody serves there, and nobody asks
        "volumePluginDir": FLEX_VOLUMES,
        "syncFrequency": "5s",
        "volumeStatsAggPeriod": "10s",
    }
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")


def write_containerd(path: Path, root: Path) -> None:
    """Debian's containerd 1.6, with runc: its crun does not know hybrid control groups."""
    path.write_text(
        f"""version = 2
root = "{root}/containerd"
state = "/run/containerd"
[grpc]
  address = "{RUNTIME}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  # Where root lacks CAP_SYS_RESOURCE, no process may become less likely to be killed than it is.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{root}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{"overlayfs" if can_be_overlaid(root) else "native"}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
""",
        encoding="utf-8",
    )


def write_network(directory: Path) -> None:
    directory.mkdir()
    subnet = re.sub(r"\.\d+$", ".0/24", ADDRESS)
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": "/run/cni-ipam",
            "ranges": [[{"subnet": subnet, "rangeStart": re.sub(r"\.\d+$", ".10", ADDRESS)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}]
    network = {"cniVersion": "0.4.0", "name": "e2e", "plugins": plugins}
    (directory / "10-bridge.conflist").write_text(json.dumps(network), encoding="utf-8")


def _kubeconfig(token: str) -> dict[str, Any]:
    server = {"server": "https://127.0.0.1:6443", "insecure-skip-tls-verify": True}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "e2e", "cluster": server}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "user"}}],
        "current-context": "e2e",
    }


def _succeeds(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)
