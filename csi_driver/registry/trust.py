"""By whom a host's certificate may be signed, and as whom this node shows itself to that host."""

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Trust:
    """Files in PEM form; certificates are verified whatever they say.

    `authorities` are trusted beside the system's. `clients` are pairs of a certificate and its key, which may be one
    file; of several with one kind of key the first is used.
    """

    authorities: tuple[Path, ...] = ()
    clients: tuple[tuple[Path, Path], ...] = ()

    @property
    def elsewhere(self) -> "Trust":
        """How a host is met that the first one sends us to: this node shows itself only to those that it was told."""
        return replace(self, clients=())


NO_MORE = Trust()
"""Trust in the system's authorities alone."""
