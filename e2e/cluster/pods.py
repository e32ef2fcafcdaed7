"""Pods that have a model, what they see of it, and what they are told."""

import re
import time
from dataclasses import dataclass
from typing import Any

from e2e.cluster.kubernetes import Kubernetes, Object
from e2e.cluster.manifests import LABEL, PART
from e2e.node import succeeded
from e2e.waiting import PATIENCE, until

# Of every file in /model: whether it may be executed, its SHA-256, its path.
_LIST = r"""
cd /model && find . -type f | while IFS= read -r path; do
    [ -x "$path" ] && mode=x || mode=-
    sum=$(sha256sum < "$path") && echo "$mode ${sum%% *} ${path#./}"
done
"""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the cluster; another one of its name has another uid."""

    cluster: Kubernetes
    name: str
    namespace: str
    uid: str

    @classmethod
    def created(cls, cluster: Kubernetes, manifest: Object) -> "Pod":
        """A new pod, which is not waited for."""
        cluster.apply(manifest)
        name, namespace = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
        metadata = cluster.get(f"pod/{name}", f"--namespace={namespace}")["metadata"]
        return cls(cluster, name, namespace, metadata["uid"])

    def content(self) -> dict[str, tuple[str, bool]]:
        """What it sees in /model: of every file its path, its SHA-256 and whether it may be executed."""
        lines = succeeded(self.sh(_LIST)).splitlines()
        found = [line.split(" ", 2) for line in lines]
        return {path: (digest, mode == "x") for mode, digest, path in found}

    def sh(self, script: str) -> Any:
        """Run a shell script in its container; the caller looks at how it ended."""
        return self.cluster.kubectl("exec", self.name, f"--namespace={self.namespace}", "--", "sh", "-c", script)

    def until_ready(self, patience: float = PATIENCE) -> None:
        what = ["--for=condition=Ready", f"pod/{self.name}", f"--namespace={self.namespace}"]
        self.cluster.wait(*what, patience=patience)

    def state(self) -> Any:
        return self.cluster.get(f"pod/{self.name}", f"--namespace={self.namespace}")

    def is_ready(self) -> bool:
        conditions = {item["type"]: item["status"] for item in self.state()["status"].get("conditions", [])}
        return conditions.get("Ready") == "True"

    def restarts(self) -> int:
        return sum(status["restartCount"] for status in self.state()["status"]["containerStatuses"])

    def until_restarted(self, patience: float = 2 * PATIENCE) -> None:
        """Return when its container was started anew, and is ready."""
        until(lambda: self.restarts() > 0 and self.is_ready(), f"{self.name} runs again", patience)

    def events(self) -> list[str]:
        """Reason and text of what it has been told, in the order in which it was."""
        of_it = f"--field-selector=involvedObject.uid={self.uid}"
        items = self.cluster.get("events", f"--namespace={self.namespace}", of_it)["items"]
        items.sort(key=lambda item: item["lastTimestamp"] or item["eventTime"])
        return [f"{item['reason']}: {item['message']}" for item in items]

    def until_told(self, pattern: str, patience: float = PATIENCE) -> str:
        """The first event that matches the regular expression."""
        deadline = time.monotonic() + patience
        while True:
            events = self.events()
            for event in events:
                if re.search(pattern, event):
                    return event
            assert time.monotonic() < deadline, f"no event like {pattern!r} after {patience} s, but {events}"
            time.sleep(0.3)

    def delete(self, *, wait: bool = True) -> None:
        command = ["delete", f"pod/{self.name}", f"--namespace={self.namespace}", f"--wait={str(wait).lower()}"]
        succeeded(self.cluster.kubectl(*command, f"--timeout={PATIENCE}s", timeout=PATIENCE + 30))


def found(cluster: Kubernetes, namespace: str) -> list[Pod]:
    """The tests' pods in a namespace."""
    items = cluster.get("pods", f"--namespace={namespace}", f"--selector={LABEL}={PART}")["items"]
    return [Pod(cluster, item["metadata"]["name"], namespace, item["metadata"]["uid"]) for item in items]


def delete_all(cluster: Kubernetes) -> None:
    command = ["delete", "pod", f"--selector={LABEL}={PART}", "--all-namespaces", f"--timeout={PATIENCE}s"]
    succeeded(cluster.kubectl(*command, timeout=PATIENCE + 30))
