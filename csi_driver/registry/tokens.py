"""Bearer tokens: what a token service gives for a credential (distribution-spec "Token Authentication", RFC 6749)."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from csi_driver.errors import Unavailable
from csi_driver.inflight import Deadline, Lock
from csi_driver.oci import ijson
from csi_driver.registry.answers import details, hiding, refusal
from csi_driver.registry.credential import Credential
from csi_driver.registry.message import Answer, Request, Send
from csi_driver.registry.redirect import follow
from csi_driver.registry.trust import NO_MORE, Trust
from csi_driver.registry.url import Url

_CLIENT = "model-csi-driver"
_DEFAULT_SECONDS = 60.0  # what the token specification says of a token without expires_in
_LONGEST_SECONDS = 7 * 24 * 3600.0  # a service may say what it likes; its registry's refusal counts in any case
_USED_UP = 0.8  # the part of its life after which a token is replaced, before the registry refuses it
_MOST_TOKENS = 1024
_TOKEN_TEXT = re.compile(r"[\x21-\x7e]+")


class Rejected(Exception):
    """The token service does not accept this credential."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """Which token: of which service, for what, and for whom (nobody in particular if `credential` is None)."""

    realm: Url
    service: str
    scope: str
    credential: Credential | None
    trust: Trust = NO_MORE

    @property
    def parameters(self) -> list[tuple[str, str]]:
        service = [("service", self.service)] if self.service else []
        return service + [("scope", one) for one in self.scope.split()]


@dataclass(frozen=True, slots=True)
class Token:
    """`value` is what goes behind `Bearer`; `expires_at` is when to get another one, by the monotonic clock."""

    value: str = field(repr=False)
    expires_at: float


class Tokens:
    """The tokens of this process, each used for most of its life."""

    def __init__(self, *, send: Send, clock: Callable[[], float] = time.monotonic) -> None:
        self._send = send
        self._clock = clock
        self._lock = Lock()
        self._kept: dict[TokenRequest, Token] = {}

    def known(self, wanted: TokenRequest) -> Token | None:
        """The token from an earlier `fetch`, while it is good."""
        with self._lock:
            token = self._kept.get(wanted)
        return token if token and not self.expired(token.expires_at) else None

    def fetch(self, wanted: TokenRequest, deadline: Deadline) -> Token:
        """A new token, in one try. Raises `Rejected`, or `Unavailable` when the token service cannot answer in time."""
        began = self._clock()
        token = _read(self._ask(wanted, deadline), wanted, began)
        with self._lock:
            self._kept.pop(wanted, None)
            self._kept[wanted] = token
            while len(self._kept) > _MOST_TOKENS:
                del self._kept[next(iter(self._kept))]
        return token

    def expired(self, moment: float) -> bool:
        """Whether a token's `expires_at` has come."""
        return self._clock() >= moment

    def _ask(self, wanted: TokenRequest, deadline: Deadline) -> Answer:
        credential = wanted.credential
        authorization = credential.basic if credential else None
        if credential and credential.identity_token:
            answer = self._send(_refresh(wanted, credential, deadline))
            if answer.status not in (404, 405):
                return _accepted(answer, credential)
            authorization = credential.basic_of_identity_token  # a service that knows no POST
        url = wanted.realm.with_query(urlencode(wanted.parameters)) if wanted.parameters else wanted.realm
        request = Request("GET", url, authorization=authorization, trust=wanted.trust, deadline=deadline)
        return _accepted(follow(self._send, request), credential)


def _refresh(wanted: TokenRequest, credential: Credential, deadline: Deadline) -> Request:
    """The exchange of an identity token (RFC 6749, section 6)."""
    form = [("grant_type", "refresh_token"), ("refresh_token", credential.identity_token), ("client_id", _CLIENT)]
    body = urlencode([*form, *wanted.parameters]).encode()
    content_type = {"Content-Type": "application/x-www-form-urlencoded"}
    return Request("POST", wanted.realm, content_type, body=body, trust=wanted.trust, deadline=deadline)


def _accepted(answer: Answer, credential: Credential | None) -> Answer:
    if answer.status == 200:
        return answer
    answer = hiding(answer, credential.secrets if credential else ())
    if answer.status in (400, 401, 403):
        told = details(answer)
        raise Rejected(f"{answer.url.place} answered {answer.status}{f' ({told})' if told else ''}")
    error = refusal(answer, "a token")
    raise error if isinstance(error, Unavailable) else Unavailable(str(error))


def _read(answer: Answer, wanted: TokenRequest, began: float) -> Token:
    try:
        read = ijson.loads(answer.body)
    except ValueError:
        read = None
    document = read if isinstance(read, Mapping) else {}
    value = document.get("token") or document.get("access_token")
    if not isinstance(value, str) or not _TOKEN_TEXT.fullmatch(value):
        raise Unavailable(f"the token service {wanted.realm.place} answered without a token")
    seconds = document.get("expires_in")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        seconds = _DEFAULT_SECONDS
    return Token(value, began + _USED_UP * min(seconds, _LONGEST_SECONDS))
