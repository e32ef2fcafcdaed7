"""All hosts that serve one repository, asked in turn until one of them answers as it should."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from csi_driver.errors import (
    AccessDenied,
    ContentMismatch,
    DriverError,
    NotFound,
    RangeIgnored,
    Unauthenticated,
    Unavailable,
    UnsupportedArtifact,
)
from csi_driver.registry.host import Capability
from csi_driver.registry.outages import Outages
from csi_driver.registry.retry import Retry, TooLate
from csi_driver.registry.session import Session

T = TypeVar("T")

_REFUSALS = (NotFound, Unauthenticated, AccessDenied, Unavailable, UnsupportedArtifact, ContentMismatch)


class Route:
    """One caller's sessions with these hosts, in the order in which they are asked.

    Each but the last gets one try, and is left out for a while after it failed; then the last is asked. Only when it
    fails in passing as well they are all asked again, while that may help.
    """

    def __init__(self, *, sessions: Sequence[Session], outages: Outages, retry: Retry, name: str) -> None:
        self._sessions = tuple(sessions)
        self._outages = outages
        self._retry = retry
        self.name = name

    def first(self, capability: Capability) -> Session:
        """The first host that is trusted with this, for what must not be repeated elsewhere."""
        return self._trusted(capability)[0]

    @property
    def all_resolve(self) -> bool:
        """Whether all hosts that bring content are trusted to say who may have it, too."""
        return all(Capability.RESOLVE in each.host.capabilities for each in self._trusted(Capability.PULL))

    def ask(
        self,
        capability: Capability,
        attempt: Callable[[Session], T],
        *,
        without: Collection[Session] = (),
        briefly: bool = False,
    ) -> T:
        """What `attempt` makes of the first host that does not refuse; `without` are not asked, save the last.

        All are asked again as long as `Retry.run` does, also as to `briefly`.
        Raises what the registry itself said, with what its mirrors said; or the last of them where it is not asked.
        """
        sessions = self._trusted(capability)
        asked = [each for each in sessions[:-1] if each not in without] + [sessions[-1]]
        return self._retry.run(lambda: self._round(asked, attempt), briefly=briefly)

    def is_last(self, capability: Capability, session: Session) -> bool:
        """Whether there is nobody to ask behind this host."""
        return session is self._trusted(capability)[-1]

    def distrust(self, session: Session, error: DriverError) -> None:
        """The host sent something other than what it was asked for."""
        self._outages.begin(session.host, self.name, error)

    def _trusted(self, capability: Capability) -> list[Session]:
        trusted = [each for each in self._sessions if capability in each.host.capabilities]
        if not trusted:
            raise Unavailable(
                f"no host is trusted to {capability} {self.name}: add the word to the capabilities in its hosts.toml"
            )
        return trusted

    def _round(self, sessions: Sequence[Session], attempt: Callable[[Session], T]) -> T:
        failures: list[tuple[Session, DriverError]] = []
        told: list[str] = []
        for session in sessions:
            is_last = session is sessions[-1]
            if not is_last and (reason := self._outages.reason(session.host, self.name)):
                told.append(f"{session.host.root.authority} is left out for a while: {reason}")
                continue
            try:
                found = attempt(session)
            except _REFUSALS as error:
                failures.append((session, error))
                if not is_last:
                    self._note(session, error)
            else:
                if not is_last:
                    self._outages.end(session.host)
                return found
        decisive = next((one for one in reversed(failures) if not one[0].host.is_mirror), failures[-1])
        told += [str(error) for session, error in failures if session is not decisive[0]]
        raise _with(decisive[1], told)

    def _note(self, session: Session, error: DriverError) -> None:
        if isinstance(error, TooLate):
            return
        if isinstance(error, Unavailable) and not isinstance(error, RangeIgnored):
            self._outages.begin(session.host, self.name, error)
        else:
            self._outages.end(session.host)  # it answers, if not as it should, and nobody had to wait for it


def _with(error: DriverError, told: Sequence[str]) -> DriverError:
    """The error, and what others said before."""
    if told:
        error.args = (f"{error}; before that, {'; '.join(told)}", *error.args[1:])
    return error
