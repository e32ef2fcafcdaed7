"""Requests to one repository at one host: authorised, redirected, and repeated while that may help."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar
from urllib.parse import quote

from csi_driver import log
from csi_driver.errors import Unauthenticated, Unavailable
from csi_driver.inflight import Deadline
from csi_driver.registry.access import Access, Grant
from csi_driver.registry.answers import details, hiding, refusal, warnings
from csi_driver.registry.credential import Credential
from csi_driver.registry.host import Host
from csi_driver.registry.message import Answer, Payload, Request, Send
from csi_driver.registry.redirect import follow
from csi_driver.registry.retry import Retry, TooLate, Transient
from csi_driver.registry.url import Url

T = TypeVar("T")

_ONE_TRY_SECONDS = 120.0
"""For all requests that one try takes, as there may be many credentials, and a token service that is slow with each."""


class Session:
    """What one caller may do with one repository at one host; `name` is what messages call the repository."""

    def __init__(self, *, send: Send, retry: Retry, access: Access, host: Host, repository: str, name: str) -> None:
        self._send = send
        self._access = access
        self._repository = repository
        self._challenges_nobody = False
        self._warnings: set[str] = set()
        self.host = host
        self.name = name
        self.retry = retry

    @property
    def reader(self) -> Credential | None:
        """With which credential the registry gave its last answer; None for nobody's."""
        return self._access.reader

    def url(self, path: str) -> Url:
        """The URL of `path` within the repository (distribution-spec "Endpoints", and "Registry Proxying" for `ns`)."""
        url = self.host.root.below(f"{self._repository}/{path}")
        return url.with_query(f"ns={quote(self.host.namespace)}") if self.host.is_mirror else url

    def ask(self, request: Request, what: str, read: Callable[[Answer], T], *, also: tuple[int, ...] = ()) -> T:
        """What `read` makes of an answer below 300 or in `also`; repeated when either meets a `Transient`.

        `what` names for messages what is asked for. Raises `NotFound`, `Unauthenticated`, `AccessDenied`,
        `Unavailable` or `UnsupportedArtifact` (a status that means none of these), or what `read` raises.
        """
        return self.retry.run(lambda: read(self.send(request, what, also=also)))

    def send_signed(self, request: Request) -> Answer:
        """One try at a URL that the registry redirected to before, whatever comes of it; no credentials go there."""
        return follow(self._send, replace(request, trust=self.host.trust.elsewhere))

    def send(self, request: Request, what: str, *, also: tuple[int, ...] = ()) -> Answer:
        """One try; raises as `ask` does, and `Transient` for what is worth another one.

        In two minutes, or by the request's own deadline if that is earlier, the last request that it takes has begun;
        but an upload may have lasted for hours when its token turns out to have expired. It is `TooLate` only
        when the request's own deadline has passed: a host with which a try takes two minutes has failed.
        """
        try:
            return self._try(request, what, also)
        except TooLate as error:
            if request.deadline.remaining() == 0:
                raise
            raise Unavailable(str(error)) from error

    def _try(self, request: Request, what: str, also: tuple[int, ...]) -> Answer:
        if not isinstance(request.body, Payload):
            request = replace(request, deadline=_until(request))
        grant = self._access.grant(_until(request))
        returned = False
        decisive: Answer | None = None
        for _ in range(self._access.rounds + 1):
            answer = self._exchange(request, grant)
            if answer.status < 300 or answer.status in also:
                return answer
            if not returned and self._is_expired_signature(request, answer):
                returned = True  # the registry gives a new one
                continue
            if grant.credential and (answer.status == 404 or (answer.status == 403 and decisive is None)):
                decisive = answer
            try:
                another = self._another_grant(grant, request, answer)
            except Unauthenticated:
                if decisive is None:
                    raise
                another = None
            if another is None:
                raise refusal(decisive or answer, what)
            grant = another
        raise Unauthenticated(
            f"registry {self.host.root.authority} keeps refusing what it has just accepted for {what}"
        )

    def _exchange(self, request: Request, grant: Grant) -> Answer:
        """One try. Credentials go to the registry alone, also where it names another place for an upload."""
        answer = follow(self._send, self._addressed(request, grant))
        if answer.status != 401 or not self._is_own(answer.url):
            self._access.accepted(grant)
        answer = hiding(answer, (*grant.secrets, *self.host.secrets))
        for text in warnings(answer):
            if text not in self._warnings:
                self._warnings.add(text)
                log.warning("the registry warns", registry=self.host.root.authority, warning=text)
        return answer

    def _addressed(self, request: Request, grant: Grant) -> Request:
        """The request with all that is for this host alone, where it goes there."""
        host = self.host
        if not self._is_own(request.url):
            return replace(request, authorization=None, trust=host.trust.elsewhere)
        return replace(
            request,
            authorization=grant.header or host.headers.get("authorization"),
            own_headers={name: value for name, value in host.headers.items() if name != "authorization"},
            trust=host.trust,
            connect_timeout=host.connect_timeout,
        )

    def _another_grant(self, grant: Grant, request: Request, answer: Answer) -> Grant | None:
        """What to try next after this refusal of the registry; None if nothing. Raises `Unauthenticated`.

        Some registries say of what a credential may not read that it is not there: another one may read it.
        """
        if not self._is_own(answer.url):
            return None
        if answer.status == 401:
            challenge = answer.headers.get("www-authenticate")
            return self._access.refused(grant, challenge, details(answer), _until(request))
        if answer.status in (403, 404) and grant.header is None and self._access.has_credentials:
            challenge = self._challenge(request.deadline)
            return self._access.refused(grant, challenge, details(answer), _until(request)) if challenge else None
        has_more = self._access.has_several or (self._access.has_credentials and grant.credential is None)
        hides = answer.status == 404 and request.method == "GET" and has_more
        return self._access.denied(grant, _until(request)) if answer.status == 403 or hides else None

    def _challenge(self, deadline: Deadline) -> str | None:
        """What the registry wants of those it hides things from: some answer 403 or 404 to requests of nobody."""
        if not self._challenges_nobody:
            request = Request("GET", self.host.root.join("/v2/"), deadline=deadline)
            answer = self._send(self._addressed(request, Grant()))
            if answer.status == 401:
                return answer.headers.get("www-authenticate")
            if isinstance(error := refusal(answer, "how to authenticate"), Transient):
                raise error  # else a private model would be none, and forgotten, as its registry is busy
            self._challenges_nobody = True
        return None

    def _is_own(self, url: Url) -> bool:
        return url.origin == self.host.root.origin

    def _is_expired_signature(self, request: Request, answer: Answer) -> bool:
        """Whether storage that the registry redirected to refuses the URL that the registry signed."""
        return self._is_own(request.url) and not self._is_own(answer.url) and answer.status in (400, 401, 403)


def _until(request: Request) -> Deadline:
    return min(request.deadline, Deadline.after(_ONE_TRY_SECONDS), key=lambda one: one.at)
