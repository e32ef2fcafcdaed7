"""JSON as RFC 7493 (I-JSON) allows it, read from whoever wrote it without trusting them."""

import json
import re
from collections.abc import Sequence
from typing import NoReturn

MAX_DEPTH = 64
"""Deeper documents are refused before they are parsed; manifests and configurations need fewer than ten levels."""

MAX_CONTAINERS = 250_000
MAX_SEPARATORS = 500_000
"""Objects and arrays, and commas, in one document. A small document can become a thousand times its size in memory;
a manifest of 8 MiB with 40,000 layers stays below both."""

_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_OPENING = frozenset(b"[{")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def loads(data: bytes) -> object:
    """The value that `data` holds: UTF-8, no duplicate names, no NaN or Infinity, no lone surrogates, not too deep.

    ValueError says what is wrong with anything else. The cost is linear in the size, which the caller limits.
    """
    _check_shape(data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 ({error.reason} at byte {error.start})") from error
    value: object = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    if _SURROGATE.search(text):
        _check_surrogates(value)
    return value


def _check_shape(data: bytes) -> None:
    """Counts what stands outside of strings. Up to the first syntax error this is exact, and no parser goes further."""
    if data.count(b'"') > 4 * MAX_SEPARATORS:
        raise ValueError("it holds too many strings")
    outside = b"".join(data.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
    if outside.count(b",") > MAX_SEPARATORS or outside.count(b"[") + outside.count(b"{") > MAX_CONTAINERS:
        raise ValueError("it holds too many values")
    depth = 0
    for bracket in outside.translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in _OPENING else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    members: dict[str, object] = {}
    for name, value in pairs:
        if name in members:
            raise ValueError(f"the name {name[:100]!r} occurs twice in one object")
        members[name] = value
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _check_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError("a string holds half of a surrogate pair") from error
