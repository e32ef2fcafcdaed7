"""Tokens are kept for most of their life, and each for one purpose."""

import json

import pytest

from csi_driver.inflight import Deadline
from csi_driver.registry.credential import Credential
from csi_driver.registry.message import Answer, Request
from csi_driver.registry.tokens import TokenRequest, Tokens
from csi_driver.registry.url import Url

REALM = Url.parse("https://auth.example.com/token")
WANTED = TokenRequest(REALM, "service", "repository:m:pull", Credential("ann", "hunter2"))


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def tokens_with(body: object, clock: Clock) -> Tokens:
    def send(request: Request) -> Answer:
        return Answer(request.url, 200, {}, json.dumps(body).encode())

    return Tokens(send=send, clock=clock)


@pytest.mark.parametrize(
    ("expires_in", "good_for"),
    [
        (300, 240),
        (100.5, 80.4),
        (None, 48),
        (0, 48),
        (-5, 48),
        ("300", 48),
        (True, 48),
        (10**400, 0.8 * 7 * 24 * 3600),
    ],
)
def test_a_token_is_used_for_four_fifths_of_its_life(expires_in: object, good_for: float) -> None:
    clock = Clock()
    tokens = tokens_with({"token": "t", "expires_in": expires_in}, clock)
    tokens.fetch(WANTED, Deadline.never())
    clock.now += good_for - 0.1
    assert tokens.known(WANTED)
    clock.now += 0.2
    assert tokens.known(WANTED) is None


def test_a_token_is_for_one_realm_service_scope_and_credential() -> None:
    tokens = tokens_with({"token": "t"}, Clock())
    tokens.fetch(WANTED, Deadline.never())
    for other in (
        TokenRequest(Url.parse("https://other.example.com/token"), "service", "repository:m:pull", WANTED.credential),
        TokenRequest(REALM, "other", "repository:m:pull", WANTED.credential),
        TokenRequest(REALM, "service", "repository:other:pull", WANTED.credential),
        TokenRequest(REALM, "service", "repository:m:pull", Credential("ann", "other")),
        TokenRequest(REALM, "service", "repository:m:pull", None),
    ):
        assert tokens.known(other) is None


def test_no_more_than_a_bounded_number_of_tokens_is_kept() -> None:
    tokens = tokens_with({"token": "t"}, Clock())
    requests = [TokenRequest(REALM, "service", f"repository:{number}:pull", None) for number in range(1030)]
    for wanted in requests:
        tokens.fetch(wanted, Deadline.never())
    assert tokens.known(requests[0]) is None
    assert tokens.known(requests[-1])


def test_nothing_secret_shows_in_a_repr() -> None:
    tokens = tokens_with({"token": "hunter3"}, Clock())
    assert "hunter" not in f"{WANTED!r} {tokens.fetch(WANTED, Deadline.never())!r}"
    assert "hunter" not in repr(Request("GET", Url.parse("https://h/x?hunter"), authorization="hunter", body=b"hunter"))
