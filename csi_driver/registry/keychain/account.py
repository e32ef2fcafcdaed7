"""Whose service account a pod has, for credential providers that ask on its behalf."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


def _no_annotations() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """`tokens` are those that kubelet asked for, by audience (CSIDriver.spec.tokenRequests).

    `annotations` are looked up only for providers that want some, and may raise a `DriverError`.
    """

    namespace: str
    name: str
    uid: str
    tokens: Mapping[str, str] = field(repr=False)
    annotations: Callable[[], Mapping[str, str]] = field(default=_no_annotations, repr=False, compare=False)

    @property
    def holder(self) -> str:
        """The account itself, whatever its tokens are now."""
        return f"service account {self.namespace}/{self.name}/{self.uid}"
