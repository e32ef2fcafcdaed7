"""How requests to one repository are authorised: which credential is in use, and the token it was exchanged for."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from csi_driver.errors import Unauthenticated, Unavailable
from csi_driver.inflight import Deadline, Lock
from csi_driver.registry.challenge import Challenge, parse_challenges
from csi_driver.registry.credential import Credential
from csi_driver.registry.host import Host
from csi_driver.registry.realm import check_realm
from csi_driver.registry.tokens import Rejected, Token, TokenRequest, Tokens
from csi_driver.registry.url import Url


@dataclass(frozen=True, slots=True, eq=False)
class Grant:
    """What one request goes out with. `header` is the `Authorization`, None for a request that brings none.

    `wanted` is the token that the header carries, if a token service gave it; `reused` if it did so earlier.
    """

    header: str | None = field(default=None, repr=False)
    number: int = 0  # of the credential
    credential: Credential | None = None
    wanted: TokenRequest | None = None
    reused: bool = False
    expires_at: float = math.inf

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown of it should a server echo it."""
        sent = (self.header or "").partition(" ")[2]
        return (sent, *(self.credential.secrets if self.credential else ()))


class Access:
    """The credentials for one repository, tried in turn, each only after the registry asked for one.

    Where the token service accepts none of them, which may have expired, it is asked for nobody's token: with that can
    be read what is for everybody.

    Threads that are refused at the same time share one new grant: getting one happens under the lock, so that a pull
    over many connections asks the token service once. When all credentials are refused after the registry had let one
    in, `renewed` says what they are now: a pull may last longer than the passwords of a cloud's registry do.
    """

    def __init__(
        self,
        *,
        host: Host,
        repository: str,
        actions: str,
        credentials: Sequence[Credential],
        renewed: Callable[[], Sequence[Credential]],
        tokens: Tokens,
    ) -> None:
        self._host = host
        self._registry = host.root
        self._repository = repository
        self._actions = actions
        self._credentials: Sequence[Credential | None] = tuple(credentials) or (None,)
        self._renewed = renewed
        self._tokens = tokens
        self._lock = Lock()
        self._challenges: tuple[Challenge, ...] = ()
        self._grant = Grant()
        self._proven: Grant | None = None
        self._rejection = ""

    @property
    def has_credentials(self) -> bool:
        """Whether there is more to try than asking as nobody."""
        return self._credentials[0] is not None

    @property
    def has_several(self) -> bool:
        """Whether there is another credential to try after the first."""
        return len(self._credentials) > 1

    @property
    def rounds(self) -> int:
        """More tries than one request can need: as nobody, and each credential with an old and a new token, and again
        as nobody with a token."""
        return 2 * len(self._credentials) + 4

    @property
    def reader(self) -> Credential | None:
        """The credential that the registry last let in; None if that was nobody in particular."""
        return self._proven.credential if self._proven else None

    def grant(self, deadline: Deadline) -> Grant:
        """What to send now; a token near its end is replaced first."""
        with self._lock:
            if self._tokens.expired(self._grant.expires_at):
                self._grant = self._first_accepted(self._grant.number, fresh=True, refusal="", deadline=deadline)
            return self._grant

    def accepted(self, grant: Grant) -> None:
        """The registry let the request in: a later refusal means that the token has expired, not that it is wrong."""
        self._proven = grant

    def refused(self, grant: Grant, header: str | None, reason: str, deadline: Deadline) -> Grant:
        """What to send after a 401 with this `WWW-Authenticate`; raises `Unauthenticated` if nothing is left."""
        with self._lock:
            if grant is not self._grant:
                return self._grant
            self._challenges = parse_challenges(header) or self._challenges
            if self._is_last_resort(grant):
                reason = self._rejection
            number, fresh = grant.number + 1, False
            if grant.header is None:
                number = 0
            elif grant.wanted and (grant.reused or grant is self._proven):
                number, fresh = grant.number, True
            self._grant = self._first_accepted(number, fresh=fresh, refusal=reason, deadline=deadline)
            return self._grant

    def denied(self, grant: Grant, deadline: Deadline) -> Grant | None:
        """What to send after a 403: the next credential, if there is one that the token service accepts.

        Raises `Unauthenticated` if it had accepted none, and nobody in particular was refused now.
        """
        with self._lock:
            if grant is not self._grant:
                return self._grant
            try:
                self._grant = self._first_accepted(
                    grant.number + 1, fresh=False, refusal=self._rejection, deadline=deadline
                )
            except Unauthenticated:
                if self._is_last_resort(grant):
                    raise
                return None
            return self._grant

    def _first_accepted(self, number: int, *, fresh: bool, refusal: str, deadline: Deadline) -> Grant:
        """A grant for the first credential from `number` on that one can be had for.

        When there is none the next request starts from the beginning. After the `deadline` no token service is asked.
        """
        reason, is_rejected = refusal, False
        for candidate in range(number, len(self._credentials)):
            try:
                credential, renewed = self._credentials[candidate], fresh and candidate == number
                return self._authorise(credential, candidate, fresh=renewed, deadline=deadline)
            except Rejected as error:
                reason, is_rejected = str(error), True
        if is_rejected:
            self._rejection = reason
        if self.has_credentials and fresh and number == len(self._credentials):
            with suppress(Rejected):
                return self._authorise(None, number, fresh=True, deadline=deadline)
        if self._renew():
            return self._first_accepted(0, fresh=False, refusal=reason, deadline=deadline)
        if self.has_credentials and is_rejected:
            with suppress(Rejected, Unavailable):
                return self._authorise(None, len(self._credentials), fresh=False, deadline=deadline)
        self._grant = Grant()
        raise Unauthenticated(self._explanation(reason))

    def _renew(self) -> bool:
        """Whether there are other credentials now than those that were let in; asked once after each such time."""
        if self._proven is None:
            return False
        self._proven = None
        credentials = tuple(self._renewed()) or (None,)
        if credentials == self._credentials:
            return False
        self._credentials = credentials
        return True

    def _is_last_resort(self, grant: Grant) -> bool:
        return grant.header is not None and grant.number == len(self._credentials)

    def _authorise(self, credential: Credential | None, number: int, *, fresh: bool, deadline: Deadline) -> Grant:
        """Answer the challenge, Bearer before Basic; raises `Rejected`."""
        if credential and credential.registry_token:
            return Grant(f"Bearer {credential.registry_token}", number, credential)
        refusal = "it does not say how to authenticate"
        for challenge in sorted(self._challenges, key=lambda one: one.scheme != "bearer"):
            try:
                if challenge.scheme == "bearer":
                    return self._bearer(challenge, credential, number, fresh=fresh, deadline=deadline)
                if challenge.scheme == "basic" and credential and credential.basic:
                    return Grant(credential.basic, number, credential)
                refusal = f"it wants {challenge.scheme[:20]!r} authentication"
            except Rejected as error:
                refusal = str(error)
        raise Rejected(refusal)

    def _bearer(
        self, challenge: Challenge, credential: Credential | None, number: int, *, fresh: bool, deadline: Deadline
    ) -> Grant:
        wanted = self._token_request(challenge, credential)
        token: Token | None = None if fresh else self._tokens.known(wanted)
        reused = token is not None
        if token is None:
            token = self._tokens.fetch(wanted, deadline)
        return Grant(f"Bearer {token.value}", number, wanted.credential, wanted, reused, token.expires_at)

    def _token_request(self, challenge: Challenge, credential: Credential | None) -> TokenRequest:
        try:
            realm = Url.parse(challenge.parameters.get("realm", ""))
            check_realm(realm, self._registry)
        except ValueError as error:
            shown = challenge.parameters.get("realm", "").partition("?")[0][:100]
            raise Rejected(f"it names {shown!r} as its token service, which is refused: {error}") from None
        trust = self._host.trust if realm.origin == self._registry.origin else self._host.trust.elsewhere
        return TokenRequest(realm, challenge.parameters.get("service", ""), self._scope(challenge), credential, trust)

    def _scope(self, challenge: Challenge) -> str:
        """The registry's own words for what it guards, if they are about this; some say nothing, or an example."""
        scope = challenge.parameters.get("scope", "")
        if any(map(self._is_covered, scope.split())):
            return scope
        above = self._registry.target.partition("/v2/")[2]  # a proxy project, for example, that a mirror's path names
        return f"repository:{above}{'/' if above else ''}{self._repository}:{self._actions}"

    def _is_covered(self, scope: str) -> bool:
        """Whether `type:name:actions` is about this repository, by itself or below what a proxy puts above it."""
        name, _, actions = scope.partition(":")[2].rpartition(":")
        return f"/{name}".endswith(f"/{self._repository}") and {*self._actions.split(",")} <= {*actions.split(",")}

    def _explanation(self, reason: str) -> str:
        registry, told = self._registry.authority, f" ({reason})" if reason else ""
        if not self.has_credentials:
            return (
                f"registry {registry} wants credentials for {self._repository}{told}: name a Secret with them in the "
                "volume's nodePublishSecretRef, or add them to the node's docker config; some registries say this of "
                "repositories that do not exist, too"
            )
        count = len(self._credentials)
        which = "the credentials" if count == 1 else f"any of the {count} credentials"
        return (
            f"registry {registry} does not accept {which} found for {self._repository}{told}: check that they are "
            "current, and that they may read this repository"
        )
