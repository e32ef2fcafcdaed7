"""What a registry asks for with 401: the challenges of `WWW-Authenticate` headers (RFC 9110, section 11.6.1)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_GAP = re.compile(r"[\s,]*")
_PARAMETER = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)(?:"|$)|([^\s,"=][^\s,"]*))', re.DOTALL)
_SCHEME = re.compile(rf"({_WORD})(?=[\s,]|$)")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$))")
_BLANKS = re.compile(r"[ \t]*")
_JUNK = re.compile(r"[^\s,]+|\s+|,")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate; scheme and parameter names are in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict, hash=False)


def parse_challenges(header: str | None) -> tuple[Challenge, ...]:
    """All challenges of a header, or of several joined with commas, in their order.

    Values may be unquoted even where the grammar wants quotes. What cannot be understood is skipped: registries are
    careless with this header, and one odd challenge must not hide the next.
    """
    found: list[tuple[str, dict[str, str]]] = []
    text = header or ""
    at = _end(_GAP.match(text, 0))
    while at < len(text):
        if parameter := _PARAMETER.match(text, at):
            if found:
                found[-1][1].setdefault(parameter[1].lower(), _value(parameter))
            at = parameter.end()
        elif scheme := _SCHEME.match(text, at):
            found.append((scheme[1].lower(), {}))
            at = _after_token68(text, scheme.end())
        else:
            at = _end(_JUNK.match(text, at))
        at = _end(_GAP.match(text, at))
    return tuple(Challenge(scheme, parameters) for scheme, parameters in found)


def _value(parameter: re.Match[str]) -> str:
    return parameter[3] if parameter[2] is None else _ESCAPE.sub(r"\1", parameter[2])


def _after_token68(text: str, at: int) -> int:
    """Behind a scheme's single value in base64, as Negotiate has one, if that is what follows."""
    start = _end(_BLANKS.match(text, at))
    value = _TOKEN68.match(text, start) if start > at else None
    return value.end() if value else at


def _end(match: re.Match[str] | None) -> int:
    return match.end() if match else 0
