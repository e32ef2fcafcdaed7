"""How a credential provider is asked: kubelet's exec protocol (credentialprovider.kubelet.k8s.io)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csi_driver.host import programs
from csi_driver.registry.answers import shorten
from csi_driver.registry.duration import parse_duration
from csi_driver.registry.keychain.entries import Entry, entries_of
from csi_driver.registry.keychain.providerconfig import Provider

_MOST_BYTES = 1 << 20
_CACHE_KEYS = ("Image", "Registry", "Global")


@dataclass(frozen=True, slots=True)
class Question:
    """What a provider is asked: about an image, without tag or digest, and on behalf of whom."""

    image: str
    token: str = field(default="", repr=False)
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What a provider said; `keep` is for how many seconds, and `scope` for which images it may be used again."""

    entries: tuple[Entry, ...]
    keep: float
    scope: str


def ask(
    provider: Provider, question: Question, *, holder: str, directory: str, environ: Mapping[str, str], timeout: float
) -> Reply:
    """Run the provider's program; raises `ProgramFailed`, or `ValueError` with what is wrong with its reply."""
    path = Path(directory, provider.name)
    ran = programs.run(
        path,
        provider.args,
        input_=_request(provider, question),
        environ={**environ, **dict(provider.env)},
        timeout=timeout,
        most_bytes=_MOST_BYTES,
    )
    if ran.code != 0:
        told = ran.errors.decode("utf-8", "replace")
        if question.token:
            told = told.replace(question.token, "***")
        told = shorten(told)
        raise ValueError(f"{path} ended with code {ran.code}{f' ({told})' if told else ''}")
    try:
        return _reply(ran.output, provider, holder)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} wrote no usable CredentialProviderResponse: {_reason(error)}") from None


class _Unusable(ValueError):
    """What is wrong with a reply, in words that quote nothing of it."""


def _request(provider: Provider, question: Question) -> bytes:
    request: dict[str, object] = {
        "apiVersion": provider.api_version,
        "kind": "CredentialProviderRequest",
        "image": question.image,
    }
    if question.token:
        request["serviceAccountToken"] = question.token
    if question.annotations:
        request["serviceAccountAnnotations"] = dict(question.annotations)
    return json.dumps(request).encode()


def _reply(output: bytes, provider: Provider, holder: str) -> Reply:
    document: Any = json.loads(output)
    if not isinstance(document, dict) or document.get("kind") != "CredentialProviderResponse":
        raise _Unusable("its kind is another one")
    if document.get("apiVersion") != provider.api_version:
        raise _Unusable(f"its apiVersion is not {provider.api_version}")
    if document.get("cacheKeyType") not in _CACHE_KEYS:
        raise _Unusable(f"its cacheKeyType is none of {', '.join(_CACHE_KEYS)}")
    auth = document.get("auth")
    if auth is not None and not isinstance(auth, dict):
        raise _Unusable("its auth is no object")
    duration = document.get("cacheDuration")
    try:
        keep = provider.default_cache if duration is None else parse_duration(duration)
    except ValueError:
        raise _Unusable("its cacheDuration is no duration") from None
    plain = {
        pattern: {key: entry.get(key) for key in ("username", "password")}
        for pattern, entry in (auth or {}).items()
        if isinstance(entry, dict)
    }
    return Reply(entries_of(plain, holder=holder), keep, document["cacheKeyType"])


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _Unusable) else "it is not JSON"
