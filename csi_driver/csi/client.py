"""A running driver, as the command line speaks to it."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from csi_driver.cache.layout import LayerId
from csi_driver.csi import condition
from csi_driver.csi.attributes import POD_NAME, POD_NAMESPACE, POD_UID, SERVICE_ACCOUNT
from csi_driver.csi.endpoint import Endpoint
from csi_driver.csi.pb import csi_pb2, csi_pb2_grpc, model_csi_pb2, model_csi_pb2_grpc
from csi_driver.csi.status import error_of
from csi_driver.errors import DriverError, StillPulling, Unavailable
from csi_driver.oci.selection import Selection
from csi_driver.verifier.report import Finding, Report
from csi_driver.volumes.collector import Collected, Item
from csi_driver.volumes.inventory import CachedModel
from csi_driver.volumes.volume import Pod

# kubelet's own deadline (csiTimeout in pkg/volume/csi).
_PUBLISH_SECONDS = 120.0
_ANSWER_SECONDS = 30.0

_EVERYTHING = Selection()

# A client lives shorter than gRPC's back-off, so it must not inherit that of an earlier one; sockets have no proxies.
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", -1),
)


@dataclass(frozen=True, slots=True)
class Usage:
    """How much a volume holds, and whether it is sound."""

    bytes_used: int
    inodes_used: int
    abnormal: bool
    condition: str


@dataclass(frozen=True, slots=True)
class PullStep:
    """How far a pull is: bytes and bytes per second; `total` is 0 while the size is not known."""

    message: str
    fetched: int
    total: int
    rate: float


@dataclass(frozen=True, slots=True)
class PulledModel:
    """What came of a pull."""

    reference: str
    manifest_digest: str
    size: int
    files: int


@dataclass(frozen=True, slots=True)
class VerifyStep:
    """How far a verification is: bytes read of about so many, and what was found so far."""

    read: int
    total: int
    findings: tuple[Finding, ...]


class Client:
    """Calls on the driver that serves `endpoint`; every method raises the errors of `csi_driver.errors`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._channel = grpc.insecure_channel(f"unix:{endpoint.path}", options=_OPTIONS)
        self._identity = csi_pb2_grpc.IdentityStub(self._channel)
        self._node = csi_pb2_grpc.NodeStub(self._channel)
        self._models = model_csi_pb2_grpc.ModelsStub(self._channel)

    def __enter__(self) -> Self:
        if not self._endpoint.is_served():
            raise Unavailable(f"no driver answers at {self._endpoint}; is it running on this node?")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def probe(self, *, timeout: float = _ANSWER_SECONDS) -> bool:
        """Whether the driver is ready."""
        with _errors():
            return self._identity.Probe(csi_pb2.ProbeRequest(), timeout=timeout).ready.value

    def name(self) -> tuple[str, str]:
        """The driver's name and version."""
        with _errors():
            info = self._identity.GetPluginInfo(csi_pb2.GetPluginInfoRequest(), timeout=_ANSWER_SECONDS)
        return info.name, info.vendor_version

    def publish(
        self,
        volume_id: str,
        target: Path,
        attributes: Mapping[str, str],
        *,
        secrets: Mapping[str, str] | None = None,
        pod: Pod | None = None,
        timeout: float = _PUBLISH_SECONDS,
    ) -> None:
        """Publish as kubelet does for an inline volume; raises `StillPulling` when the pull takes longer."""
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=volume_id,
            target_path=str(target),
            volume_capability=csi_pb2.VolumeCapability(
                mount=csi_pb2.VolumeCapability.MountVolume(),
                access_mode=csi_pb2.VolumeCapability.AccessMode(
                    mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
                ),
            ),
            readonly=True,
            secrets=secrets,
            volume_context={**_pod_info(pod), **attributes},
        )
        with _errors(late=StillPulling):
            self._node.NodePublishVolume(request, timeout=timeout)

    def unpublish(self, volume_id: str, target: Path, *, timeout: float = _PUBLISH_SECONDS) -> None:
        request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=volume_id, target_path=str(target))
        with _errors():
            self._node.NodeUnpublishVolume(request, timeout=timeout)

    def stats(self, volume_id: str, path: Path) -> Usage:
        """How much the volume at `path` holds, and whether it is sound."""
        request = csi_pb2.NodeGetVolumeStatsRequest(volume_id=volume_id, volume_path=str(path))
        with _errors():
            response = self._node.NodeGetVolumeStats(request, timeout=_ANSWER_SECONDS)
        used = {entry.unit: entry.used for entry in response.usage}
        abnormal, text = condition.told(response)
        return Usage(used.get(csi_pb2.VolumeUsage.BYTES, 0), used.get(csi_pb2.VolumeUsage.INODES, 0), abnormal, text)

    def pull(
        self,
        reference: str,
        *,
        selection: Selection = _EVERYTHING,
        pull_policy: str = "",
        secrets: Mapping[str, str] | None = None,
        pin: bool = False,
    ) -> Generator[PullStep | PulledModel, None, None]:
        """Pull into the node's cache: how far it is, again and again, and at last the model. Leaving stops no pull.

        With `pin` the model stays there until it is unpinned.
        """
        request = model_csi_pb2.PullRequest(
            reference=reference,
            exclude_model_weights=selection.exclude_weights,
            exclude_file_patterns=selection.exclude_patterns,
            include_file_patterns=selection.include_patterns,
            layer_roles=selection.roles,
            pull_policy=pull_policy,
            secrets=secrets,
            pin=pin,
        )
        call = self._models.Pull(request)
        try:
            with _errors():
                yield from map(_step, call)
        finally:
            call.cancel()  # without effect on a call that has ended

    def unpin(self, name: str) -> int:
        """Let what was pinned under this reference or digest be given up again; how many pins there were."""
        with _errors():
            return self._models.Unpin(model_csi_pb2.UnpinRequest(name=name), timeout=_ANSWER_SECONDS).pins

    def list_models(self) -> list[CachedModel]:
        """Every model the node holds."""
        with _errors():
            response = self._models.List(model_csi_pb2.ListRequest(), timeout=_ANSWER_SECONDS)
        return [
            CachedModel(
                reference=model.reference,
                manifest_digest=model.manifest_digest,
                selection=model.selection,
                size=model.size_bytes,
                files=model.files,
                volumes=model.volumes,
                last_used=model.last_used.ToMicroseconds() / 1_000_000,
                pinned=model.pinned,
            )
            for model in response.models
        ]

    def held(self, layers: Iterable[LayerId]) -> list[LayerId]:
        """Those of the layers that the node holds, whole and verified."""
        request = model_csi_pb2.HeldRequest(layers=[layer.name for layer in layers])
        with _errors():
            response = self._models.Held(request, timeout=_ANSWER_SECONDS)
        return [LayerId.from_name(name) for name in response.layers]

    def verify(
        self, references: Sequence[str], *, max_bytes_per_second: int = 0
    ) -> Generator[VerifyStep | Report, None, None]:
        """Prove what the cache holds: how far it is, again and again, and at last what was found. Leaving ends it.

        A rate of 0 is the driver's own; below 0 there is no limit.
        """
        request = model_csi_pb2.VerifyRequest(references=references, max_bytes_per_second=max_bytes_per_second)
        call = self._models.Verify(request)
        try:
            with _errors():
                yield from map(_verify_step, call)
        finally:
            call.cancel()  # without effect on a call that has ended

    def collect(self, free: int = 0, *, dry_run: bool = False) -> Collected:
        """Have what nobody needs given up, so many bytes (0: as the limits say, below 0: all); or say what would go."""
        request = model_csi_pb2.CollectRequest(dry_run=dry_run, free_bytes=free)
        with _errors():
            answer = self._models.Collect(request)
        return Collected(answer.freed_bytes, tuple(map(_item, answer.given_up)), tuple(map(_item, answer.kept)))


@contextmanager
def _errors(*, late: type[DriverError] = Unavailable) -> Iterator[None]:
    """Raise statuses as the driver's errors; `late` is what a deadline that passed means for the call."""
    try:
        yield
    except grpc.RpcError as error:
        message = error.details() or error.code().name
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise late(message) from error
        raise error_of(error.code(), message) from error


def _step(progress: model_csi_pb2.PullProgress) -> PullStep | PulledModel:
    if progress.WhichOneof("step") == "model":
        model = progress.model
        return PulledModel(model.reference, model.manifest_digest, model.size_bytes, model.files)
    underway = progress.underway
    return PullStep(underway.message, underway.fetched_bytes, underway.total_bytes, underway.bytes_per_second)


def _verify_step(progress: model_csi_pb2.VerifyProgress) -> VerifyStep | Report:
    if progress.WhichOneof("step") == "verified":
        done = progress.verified
        return Report(done.layers, done.snapshots, done.read_bytes, tuple(map(_finding, done.damages)))
    underway = progress.underway
    return VerifyStep(underway.read_bytes, underway.total_bytes, tuple(map(_finding, underway.damages)))


def _item(item: model_csi_pb2.CacheItem) -> Item:
    return Item(item.name, item.reason, item.size_bytes)


def _finding(damage: model_csi_pb2.Damage) -> Finding:
    return Finding(damage.what, damage.reason, tuple(damage.models), tuple(damage.volumes))


def _pod_info(pod: Pod | None) -> dict[str, str]:
    """What kubelet tells about the pod with CSIDriver.spec.podInfoOnMount."""
    if pod is None:
        return {}
    return {
        POD_NAMESPACE: pod.namespace,
        POD_NAME: pod.name,
        POD_UID: pod.uid,
        SERVICE_ACCOUNT: pod.service_account,
        "csi.storage.k8s.io/ephemeral": "true",
    }
