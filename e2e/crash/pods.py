"""Pods that come and go, and the kubelet that asks the driver for their volumes."""

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from csi_driver.csi.pb import csi_pb2, csi_pb2_grpc
from e2e.crash.catalogue import Model
from e2e.crash.node import Driver, Node, Wrong, content

# What kubelet asks again after; anything else is no answer to a node that crashes, fills up and is busy.
_AGAIN = {
    grpc.StatusCode.UNAVAILABLE,  # no driver, or still pulling
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,  # another call on the volume is under way
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # other pulls, which nobody waits for any more, have the room
}
_CAPABILITY = csi_pb2.VolumeCapability(
    mount=csi_pb2.VolumeCapability.MountVolume(),
    access_mode=csi_pb2.VolumeCapability.AccessMode(mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER),
)
_DEADLINES = (0.01, 0.05, 0.2, 1.0, 30.0)  # seconds
_LONG = 30.0
_ROUNDS = 2000  # of asking again, some hundredths of a second apart
_PAUSE = 0.02


class Kubelet:
    """Calls on one driver; each returns whether it succeeded, and raises `Wrong` for a failure that must not be."""

    def __init__(self, node: Node) -> None:
        self._channel = grpc.insecure_channel(
            f"unix:{node.endpoint.path}", options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self._stub = csi_pb2_grpc.NodeStub(self._channel)

    def close(self) -> None:
        self._channel.close()

    def publish(self, pod: "Pod", *, timeout: float, leave_after: float | None = None) -> bool:
        """Publish; with `leave_after` the caller goes away after so many seconds."""
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=pod.volume_id,
            target_path=str(pod.target),
            volume_capability=_CAPABILITY,
            readonly=True,
            volume_context=pod.model.attributes | {"pullPolicy": pod.policy},
        )
        call = self._stub.NodePublishVolume.future(request, timeout=timeout)
        if leave_after is not None:
            try:
                call.result(timeout=leave_after)
            except grpc.FutureTimeoutError:
                call.cancel()
            except (grpc.RpcError, grpc.FutureCancelledError):
                pass  # asked again below, and answered the same
        return _succeeded(call, f"publish of {pod.model.reference}")

    def republish(self, volume_id: str, target: Path) -> bool:
        """Ask again for a volume that the Go driver has published, as a kubelet that was restarted does."""
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=volume_id, target_path=str(target), volume_capability=_CAPABILITY
        )
        return _succeeded(self._stub.NodePublishVolume.future(request, timeout=_LONG), f"publish of {volume_id}")

    def unpublish(self, pod: "Pod") -> bool:
        return self.take_away(pod.volume_id, pod.target)

    def take_away(self, volume_id: str, target: Path) -> bool:
        """Unpublish the volume, whoever published it."""
        request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=str(target))
        return _succeeded(self._stub.NodeUnpublishVolume.future(request, timeout=_LONG), f"unpublish of {volume_id}")


def _succeeded(call: "grpc.Future[Any]", what: str) -> bool:
    try:
        call.result()
    except grpc.FutureCancelledError:
        return False
    except grpc.RpcError as error:
        if error.code() not in _AGAIN:
            raise Wrong(f"{what}: {error.code().name}: {error.details()}") from error
        return False
    return True


@dataclass
class Pod:
    """One pod, its volume and what it must see there. While it runs, the volume may be looked at under the lock."""

    name: str
    model: Model
    policy: str
    target: Path
    runs: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def volume_id(self) -> str:
        return f"csi-{self.name}"

    def look(self) -> None:
        """Read all that the pod sees; raises `Wrong` for anything but the model."""
        try:
            found = content(self.target)
        except OSError as error:
            raise Wrong(f"{self.name} cannot read {self.model.reference}: {error}") from error
        if found != self.model.files:
            odd = {path for path in found.keys() | self.model.files if found.get(path) != self.model.files.get(path)}
            raise Wrong(f"{self.name} sees {self.model.reference} {self.model.selection} wrong: {sorted(odd)}")


class Place:
    """Where one pod after another is scheduled; used by one thread at a time.

    A pod of the first place stays once it runs: its model becomes the one that was asked for longest ago.
    """

    def __init__(self, number: int, node: Node, models: tuple[Model, ...], chance: random.Random) -> None:
        self._number = number
        self._node = node
        self._models = models
        self._chance = chance
        self._generation = 0
        self.published = 0
        self.pod: Pod | None = None

    def live(self, kubelet: Kubelet, driver: Driver, turns: int) -> None:
        """Do what happens to pods, until the driver has died or so many things have happened."""
        for _ in range(turns):
            if driver.is_dead():
                return
            pod = self.pod = self.pod or self._new_pod()
            draw = self._chance.random()
            leaving = 0.2 if not pod.runs else 0.5 if self._number else 0.0
            if draw < leaving:
                self.delete(kubelet)
            elif not pod.runs or draw < 0.75:
                leaves = self._chance.choice((0.0, 0.005, 0.03)) if self._chance.random() < 0.2 else None
                self._publish(kubelet, pod, self._chance.choice(_DEADLINES), leaves)

    def settle(self, kubelet: Kubelet, driver: Driver) -> None:
        """The pod, which there is now, comes to run, however often that must be asked for."""
        pod = self.pod = self.pod or self._new_pod()
        for _ in range(_ROUNDS):
            if self._publish(kubelet, pod, _LONG):
                return
            if driver.is_dead(_PAUSE):
                break
        raise Wrong(f"{pod.name} never came to run: {pod.model.reference} {pod.model.selection}")

    def clear(self, kubelet: Kubelet, driver: Driver) -> None:
        """No pod is left."""
        for _ in range(_ROUNDS):
            if self.pod is None or self.delete(kubelet):
                return
            if driver.is_dead(_PAUSE):
                break
        raise Wrong(f"the volume of place {self._number} cannot be unpublished")

    def delete(self, kubelet: Kubelet) -> bool:
        """Kubelet ends the containers first, so nobody looks any more; whether the volume is gone."""
        pod = self.pod
        assert pod is not None
        with pod.lock:
            pod.runs = False
        if not kubelet.unpublish(pod):
            return False
        if pod.target.exists():
            raise Wrong(f"{pod.target} is there after its unpublish")
        self.pod = None
        return True

    def _publish(self, kubelet: Kubelet, pod: Pod, timeout: float, leave_after: float | None = None) -> bool:
        if not kubelet.publish(pod, timeout=timeout, leave_after=leave_after):
            return False
        if not self._node.mounts.is_mount_point(pod.target):
            raise Wrong(f"nothing is mounted at {pod.target} after its publish")
        pod.look()
        pod.runs = True
        self.published += 1
        return True

    def _new_pod(self) -> Pod:
        self._generation += 1
        name = f"pod-{self._number}-{self._generation}"
        model = self._chance.choice(self._models)
        policy = self._chance.choice(("Always", "IfNotPresent"))
        return Pod(name, model, policy, self._node.pods / name)
