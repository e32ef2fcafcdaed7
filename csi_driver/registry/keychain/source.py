"""A place where credentials come from."""

from dataclasses import dataclass
from typing import Protocol

from csi_driver.registry.credential import Credential


@dataclass(frozen=True, slots=True)
class Found:
    """The credentials for a repository in the order in which they are to be tried, and why there are not more.

    The troubles are texts for whoever is refused without those credentials.
    """

    credentials: tuple[Credential, ...] = ()
    troubles: tuple[str, ...] = ()


class Source(Protocol):
    """A file, a Secret, or a program. Asking for credentials may take time, but never longer than its own limits."""

    def find(self, host: str, repository: str) -> Found:
        """What there is for a repository."""

    def holder(self, host: str, repository: str) -> str | None:
        """Who holds all that `find` would give; None where only the credentials themselves can tell."""

    def plain_http(self, host: str) -> bool:
        """Whether this says that the registry speaks plain HTTP."""
