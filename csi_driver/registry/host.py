"""One host that serves a registry's repositories: the registry itself, or a mirror of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from csi_driver.registry.trust import NO_MORE, Trust
from csi_driver.registry.url import Url


class Capability(StrEnum):
    """What a host is trusted with (containerd, docs/hosts.md "capabilities")."""

    PULL = "pull"
    """To bring content, which is verified."""
    RESOLVE = "resolve"
    """To say what a reference means, and so who may have it."""
    PUSH = "push"


ALL = frozenset(Capability)
_LEAST_SECRET = 8  # letters of a header whose name does not say whether it is one


@dataclass(frozen=True, slots=True)
class Host:
    """`root` is the URL of the API, `/v2` or what takes its place. `headers` go to this host alone, and are not shown.

    `namespace` is what a mirror is told of the registry that it stands in for; empty for the registry itself.
    `connect_timeout` is in seconds; None means the transport's own.
    """

    root: Url
    capabilities: frozenset[Capability] = ALL
    trust: Trust = NO_MORE
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    namespace: str = ""
    connect_timeout: float | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of the headers must not be shown: credentials, and what is long enough to be one, unlike `true`."""
        sent = self.headers.get("authorization", "")
        long = (value for value in self.headers.values() if len(value) >= _LEAST_SECRET)
        return (sent, sent.rpartition(" ")[2], *long)

    @property
    def is_mirror(self) -> bool:
        return bool(self.namespace)
