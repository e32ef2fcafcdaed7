"""Service account tokens come in one of two ways, are for one purpose, and are never shown."""

import base64
import json

import pytest

from csi_driver.csi.tokens import SERVICE_ACCOUNT_TOKENS, read_tokens
from csi_driver.errors import InvalidRequest


def jwt(claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"hunter2.{payload}.hunter2"


TOKEN = jwt({"kubernetes.io": {"serviceaccount": {"name": "default", "uid": "u-1"}}})


def given(token: str = TOKEN, audience: str = "cloud") -> dict[str, str]:
    return {SERVICE_ACCOUNT_TOKENS: json.dumps({audience: {"token": token, "expirationTimestamp": "2030-01-01"}})}


def test_tokens_are_attributes_or_secrets_and_secrets_win() -> None:
    for tokens in (read_tokens(given(), {}), read_tokens({}, given()), read_tokens(given("a", "other"), given())):
        assert (tokens.by_audience, tokens.account_uid) == ({"cloud": TOKEN}, "u-1")


def test_without_tokens_there_are_none() -> None:
    for context in ({}, {SERVICE_ACCOUNT_TOKENS: ""}):
        tokens = read_tokens(context, {})
        assert (tokens.by_audience, tokens.account_uid) == ({}, "")


@pytest.mark.parametrize(
    "token",
    ["opaque", "a.b.c", "a.!.c", jwt([]), jwt({}), jwt({"kubernetes.io": {}}), jwt({"kubernetes.io": "x"}), "ü.ü"],
)
def test_a_token_that_says_nothing_of_its_account_is_passed_on_all_the_same(token: str) -> None:
    tokens = read_tokens(given(token), {})
    assert (tokens.by_audience, tokens.account_uid) == ({"cloud": token}, "")


@pytest.mark.parametrize(
    "text",
    ["hunter2", '"hunter2"', '["hunter2"]', '{"a": "hunter2"}', '{"a": {"hunter2": 1}}', '{"a": null}', "[" * 100_000],
)
def test_what_is_none_of_this_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"serviceAccount\.tokens") as caught:
        read_tokens({SERVICE_ACCOUNT_TOKENS: text}, {})
    assert "hunter2" not in str(caught.value)


def test_nothing_shows_in_a_repr() -> None:
    assert "hunter2" not in repr(read_tokens(given(), {}))
