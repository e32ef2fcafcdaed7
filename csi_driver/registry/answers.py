"""What an HTTP status means in the driver's own words."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from csi_driver.errors import AccessDenied, DriverError, NotFound, Unauthenticated, Unavailable, UnsupportedArtifact
from csi_driver.oci import ijson
from csi_driver.registry.message import Answer
from csi_driver.registry.retry import Transient, parse_retry_after

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST = 200
_LEAST_SECRET = 4  # letters; to leave out every "a" of a text would tell more than it hides
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_WARNING = re.compile(r'299 [^ ]+ "((?:[^"\\]|\\.)*)"')


def refusal(answer: Answer, what: str) -> DriverError:
    """The error that an answer other than success stands for; `what` names what was asked for.

    `Transient` for what is worth another try.
    """
    told = f"{answer.url.authority} answered {answer.status}{_in_brackets(details(answer))} for {what}"
    if answer.status in _RETRIED:
        return Transient(told, retry_after=parse_retry_after(answer.headers.get("retry-after")))
    if answer.status == 401:  # the registry's own is answered; this is of a host that it redirects to
        host = answer.url.authority
        return Unauthenticated(
            f"{told}: no credentials go where a registry redirects to; if it has moved, name {host} in the reference"
        )
    if answer.status in (403, 451):
        return AccessDenied(f"{told}: check that the credentials may read it")
    if answer.status in (404, 410):
        return NotFound(f"{told}: check the name, the tag and the digest")
    if answer.status >= 500 or answer.status < 400:
        return Unavailable(told)
    return UnsupportedArtifact(told)


def details(answer: Answer) -> str:
    """What the body says about an error, on one short line; empty if nothing."""
    text = answer.body.decode("utf-8", "replace")
    if "<" in text[:200]:
        title = _TITLE.search(text)
        text = _TAG.sub(" ", title[1] if title else text)
    else:
        text = _codes(text) or text
    return shorten(text)


def hiding(answer: Answer, secrets: Iterable[str]) -> Answer:
    """The answer without these secrets in what is shown of it, should a server have echoed what it was sent.

    That is its warnings and, where it is none that was asked for, its body; before anything of it is shown, as of what
    is shortened first the beginning of a secret might be left.
    """
    body, warning = answer.body if answer.status >= 300 else b"", answer.headers.get("warning", "")
    for secret in secrets:
        if len(secret) >= _LEAST_SECRET:
            for form in (secret, json.dumps(secret)[1:-1]):
                body, warning = body.replace(form.encode(), b"***"), warning.replace(form, "***")
    headers = {**answer.headers, "warning": warning} if warning else answer.headers
    return replace(answer, headers=headers, body=body if answer.status >= 300 else answer.body)


def shorten(text: str) -> str:
    """Printable, on one line, and of bearable length: fit for the events of a Pod."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


def warnings(answer: Answer) -> tuple[str, ...]:
    """The texts that the registry wants its users to see (distribution-spec, "Warnings")."""
    return tuple(shorten(text) for text in _WARNING.findall(answer.headers.get("warning", "")))


def _codes(text: str) -> str:
    """Codes and messages of the distribution API's error body, or the error of an OAuth 2 answer."""
    try:
        document = ijson.loads(text.encode())
    except ValueError:
        return ""
    if not isinstance(document, Mapping):
        return ""
    errors = document.get("errors")
    entries = [one for one in errors if isinstance(one, Mapping)] if isinstance(errors, list) else []
    told = [": ".join(str(one[key]) for key in ("code", "message") if one.get(key)) for one in entries[:3]]
    told += [str(document[key]) for key in ("error", "error_description", "message") if document.get(key)]
    return "; ".join(part for part in told if part)


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""
