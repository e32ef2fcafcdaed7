"""When a registry is asked about a model that this node already holds."""

from enum import StrEnum
from typing import Self

from csi_driver.errors import InvalidRequest
from csi_driver.oci.reference import DEFAULT_TAG, Reference


class PullPolicy(StrEnum):
    """Kubernetes' image pull policies, spelled as in a Pod (core/v1 PullPolicy)."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The policy that `text` spells exactly; InvalidRequest names those that exist."""
        for policy in cls:
            if policy.value == text:
                return policy
        raise InvalidRequest(f"pull policy {text[:64]!r} is unknown: use one of {', '.join(cls)}")

    @classmethod
    def default_for(cls, reference: Reference) -> "PullPolicy":
        """What Kubernetes assumes where a Pod says nothing: Always for the tag latest alone, else IfNotPresent."""
        moving = reference.digest is None and reference.tag == DEFAULT_TAG
        return PullPolicy.ALWAYS if moving else PullPolicy.IF_NOT_PRESENT
