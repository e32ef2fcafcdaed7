"""Pods that the Go driver served before this one came to the node."""

import hashlib
import random
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from e2e.crash.node import Driver, Node, Wrong, content
from e2e.crash.pods import Kubelet
from tests.fixtures.predecessor import MODEL, GoDriver

_ROUNDS, _PAUSE = 1000, 0.02
_FILES = {name: hashlib.sha256(data).hexdigest() for name, data in MODEL.items()}


@dataclass
class Elder:
    """One pod: its volume, where it sees it, and where below that its model is."""

    volume_id: str
    target: Path
    below: str = "."
    runs: bool = field(default=True)

    def look(self) -> None:
        """Read what the pod sees, while it runs; raises `Wrong` for anything but its model."""
        if not self.runs:
            return
        try:
            found = content(self.target / self.below)
        except OSError as error:
            raise Wrong(f"a pod of the Go driver cannot read its model: {error}") from error
        if found != _FILES:
            raise Wrong(f"a pod of the Go driver sees its model wrong: {sorted(found)}")


class Elders:
    """All such pods of a node; a volume of every kind, and two that no pod shows any more."""

    def __init__(self, node: Node, chance: random.Random) -> None:
        self._node = node
        self._chance = chance
        go, home = GoDriver(node.root), node.directory / "elders"
        inline, claim, dynamic = (Elder(name, home / name) for name in ("csi-inline", "pvc-claim", "csi-dynamic"))
        dynamic.below = "models/m1/model"
        go.publish_inline(inline.volume_id, inline.target)
        go.create_pvc(claim.volume_id)
        go.publish_pvc(claim.volume_id, claim.target)
        go.publish_dynamic(dynamic.volume_id, dynamic.target)
        go.create_pvc("pvc-unused")
        go.create_pvc("csi-gone")
        self.pods = [inline, claim, dynamic]

    def live(self, kubelet: Kubelet, driver: Driver, turns: int) -> None:
        """kubelet asks for their volumes again, and now and then one of them ends."""
        for _ in range(turns):
            if driver.is_dead():
                return
            pod = self._chance.choice(self.pods)
            if pod.runs and self._chance.random() < 0.7:
                if kubelet.republish(pod.volume_id, pod.target):
                    pod.look()
            else:
                self._end(kubelet, pod)

    def look(self) -> None:
        for pod in self.pods:
            pod.look()

    def clear(self, kubelet: Kubelet, driver: Driver) -> None:
        """All of them end, and nothing is left of any of their volumes."""
        for pod in self.pods:
            for _ in range(_ROUNDS):
                if self._end(kubelet, pod):
                    break
                if driver.is_dead(_PAUSE):
                    raise Wrong(f"the volume {pod.volume_id} of the Go driver cannot be unpublished")
        for _ in range(_ROUNDS):
            left = [path for path in (self._node.root / "volumes").iterdir() if path.is_dir()]
            if not left:
                return
            if driver.is_dead(_PAUSE):
                break
        raise Wrong(f"left of the Go driver: {left}")

    def abandon(self) -> None:
        """For when something is wrong: nothing stays mounted."""
        for pod in self.pods:
            subprocess.run(["umount", "--recursive", "--lazy", pod.target], check=False, capture_output=True)

    def _end(self, kubelet: Kubelet, pod: Elder) -> bool:
        pod.runs = False
        if not kubelet.take_away(pod.volume_id, pod.target):
            return False
        if pod.target.exists() or (self._node.root / "volumes" / pod.volume_id).exists():
            raise Wrong(f"the volume {pod.volume_id} of the Go driver is there after its unpublish")
        return True
