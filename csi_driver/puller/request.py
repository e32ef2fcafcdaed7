"""What a caller wants pulled, and on whose behalf."""

import hashlib
from dataclasses import dataclass, field, replace

from csi_driver.oci.digest import Digest
from csi_driver.oci.policy import PullPolicy
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import Selection
from csi_driver.registry.keychain import Keychain


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A model, the part of it that is wanted, and the credentials that may read it.

    A parent, on which another model builds, has no snapshot of its own to be looked for. What is not `urgent`, as no
    pod waits for it, gives way to what is.
    """

    reference: Reference
    selection: Selection
    policy: PullPolicy
    keychain: Keychain | None = field(default=None, repr=False)
    is_parent: bool = False
    urgent: bool = True
    namespace: str = ""  # of the pod that it is for, if that is known

    def of_parent(self, reference: Reference, policy: PullPolicy) -> "PullRequest":
        """The same caller's request for a model that this one builds on."""
        return replace(self, reference=reference, policy=policy, is_parent=True)


def snapshot_key(registry: str, manifest: Digest, selection: Selection) -> str:
    """The name of the snapshot that shows `selection` of the model with this manifest, as this registry served it.

    Each registry has its own, as each must prove by itself that it holds a model; they share what they have in common.
    """
    return hashlib.sha256(f"{registry}\0{manifest}\0{selection.key}".encode()).hexdigest()
