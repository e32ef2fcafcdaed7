"""What a caller wants pulled, and on whose behalf."""

import hashlib
from dataclasses import dataclass, field

from csi_driver.oci.digest import Digest
from csi_driver.oci.policy import PullPolicy
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import Selection
from csi_driver.registry.keychain import Keychain


@dataclass(frozen=True, slots=True)
class PullRequest:
    """A model, the part of it that is wanted, and the credentials that may read it."""

    reference: Reference
    selection: Selection
    policy: PullPolicy
    keychain: Keychain | None = field(default=None, repr=False)


def snapshot_key(manifest: Digest, selection: Selection) -> str:
    """The name of the snapshot that shows `selection` of the model with this manifest."""
    return hashlib.sha256(f"{manifest}\0{selection.key}".encode()).hexdigest()
