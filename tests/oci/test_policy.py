"""Pull policies: the words and the default of Kubernetes' images."""

import pytest

from csi_driver.errors import InvalidRequest
from csi_driver.oci.policy import PullPolicy
from csi_driver.oci.reference import Reference


@pytest.mark.parametrize("policy", list(PullPolicy))
def test_a_policy_is_spelled_as_in_a_pod(policy: PullPolicy) -> None:
    assert PullPolicy.parse(policy.value) is policy


@pytest.mark.parametrize("text", ["", "always", "ALWAYS", "IfNotPresent ", "Sometimes"])
def test_another_word_is_refused_with_the_allowed_ones(text: str) -> None:
    with pytest.raises(InvalidRequest, match="Always, IfNotPresent, Never"):
        PullPolicy.parse(text)


@pytest.mark.parametrize(
    ("reference", "policy"),
    [
        ("h.io/m", PullPolicy.ALWAYS),
        ("h.io/m:latest", PullPolicy.ALWAYS),
        ("h.io/m:v1", PullPolicy.IF_NOT_PRESENT),
        ("h.io/m@sha256:" + "0" * 64, PullPolicy.IF_NOT_PRESENT),
        ("h.io/m:latest@sha256:" + "0" * 64, PullPolicy.IF_NOT_PRESENT),
    ],
)
def test_the_default_asks_again_only_for_the_tag_latest(reference: str, policy: PullPolicy) -> None:
    assert PullPolicy.default_for(Reference.parse(reference)) is policy
