"""What a volume is: what was asked for, and what was recorded of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from csi_driver.oci.policy import PullPolicy
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import Selection
from csi_driver.registry.keychain import Keychain

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Pod:
    """Whose volume it is, as kubelet tells when CSIDriver.spec.podInfoOnMount is set."""

    namespace: str
    name: str
    uid: str
    service_account: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """What kubelet gave of the pod's service account (CSIDriver.spec.tokenRequests); no part of it is ever shown."""

    by_audience: Mapping[str, str] = field(default_factory=dict, repr=False)
    account_uid: str = ""


@dataclass(frozen=True, slots=True)
class PublishSpec:
    """One NodePublishVolume request, checked."""

    volume_id: str
    target_path: Path
    reference: Reference
    selection: Selection = field(default_factory=Selection)
    pull_policy: PullPolicy | None = None
    keychain: Keychain | None = field(default=None, repr=False)
    pod: Pod | None = None
    tokens: Tokens = field(default_factory=Tokens, repr=False)

    @property
    def policy(self) -> PullPolicy:
        """The policy asked for, or Kubernetes' default for the reference."""
        return self.pull_policy or PullPolicy.default_for(self.reference)


@dataclass(frozen=True, slots=True)
class Volume:
    """The record of a volume that is or is about to be mounted: intent, while the mount table holds the fact."""

    volume_id: str
    reference: str
    selection: str
    manifest_digest: str
    snapshot: str
    targets: tuple[Path, ...]
    pod: Pod | None = None

    def is_of(self, spec: PublishSpec) -> bool:
        """Whether `spec` asks for the very model and selection that this volume shows."""
        return (self.reference, self.selection) == (str(spec.reference), spec.selection.key)

    def at(self, target: Path) -> "Volume":
        return replace(self, targets=(*self.without(target).targets, target))

    def without(self, target: Path) -> "Volume":
        return replace(self, targets=tuple(path for path in self.targets if path != target))

    def encode(self) -> bytes:
        pod = self.pod and {name: getattr(self.pod, name) for name in Pod.__slots__}
        names = ("volume_id", "reference", "selection", "manifest_digest", "snapshot")
        fields = {name: getattr(self, name) for name in names}
        targets = [str(path) for path in self.targets]
        return json.dumps({"format": _FORMAT, **fields, "targets": targets, "pod": pod}).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Volume":
        """The volume that `encode` wrote; raises `ValueError` for anything else."""
        fields: Mapping[str, Any] = json.loads(data)
        try:
            if fields["format"] != _FORMAT:
                raise ValueError(f"record of format {fields['format']!r}; this driver reads format {_FORMAT}")
            pod = fields["pod"] and Pod(**fields["pod"])
            names = ("volume_id", "reference", "selection", "manifest_digest", "snapshot")
            texts = {name: str(fields[name]) for name in names}
            return cls(**texts, targets=tuple(Path(path) for path in fields["targets"]), pod=pod)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a volume record: {error!r}") from error


@dataclass(frozen=True, slots=True)
class VolumeStats:
    """What NodeGetVolumeStats tells: how much a volume holds, in bytes and inodes, and whether it is sound.

    An abnormal volume is `damaged` if it shows content that is not the model's any more; otherwise it shows nothing.
    """

    bytes_used: int
    inodes_used: int
    abnormal: bool
    condition: str
    damaged: bool = False
