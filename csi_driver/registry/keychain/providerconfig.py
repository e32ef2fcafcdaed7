"""kubelet's CredentialProviderConfig: which programs know credentials for which images.

Source: kubelet.config.k8s.io v1, v1beta1 and v1alpha1; the same file serves kubelet and this driver.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from csi_driver.registry.duration import parse_duration
from csi_driver.registry.keychain.pattern import Pattern

_CONFIG_VERSIONS = tuple(f"kubelet.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
_EXEC_VERSIONS = tuple(f"credentialprovider.kubelet.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))


@dataclass(frozen=True, slots=True)
class TokenAttributes:
    """What a provider wants to know of the pod's service account."""

    audience: str
    per_account: bool  # cacheType: credentials are kept for the account, not for each of its tokens
    required: bool
    required_annotations: tuple[str, ...]
    optional_annotations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Provider:
    """One program and what it is for; `default_cache` is in seconds."""

    name: str
    match_images: tuple[Pattern, ...]
    default_cache: float
    api_version: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    token: TokenAttributes | None = None

    def matches(self, host: str, repository: str) -> bool:
        """Whether the program is asked about this repository."""
        return any(pattern.matches(host, repository) for pattern in self.match_images)


def parse_config(data: bytes) -> tuple[Provider, ...]:
    """The providers of a file in YAML or JSON; raises `ValueError` with what is wrong, without quoting any `env`."""
    try:
        document = yaml.safe_load(data)
    except (ValueError, RecursionError, yaml.YAMLError):
        raise ValueError("it is neither YAML nor JSON") from None
    if not isinstance(document, dict):
        raise ValueError("it is no CredentialProviderConfig")
    if document.get("kind") != "CredentialProviderConfig" or document.get("apiVersion") not in _CONFIG_VERSIONS:
        shown = f"{document.get('apiVersion')} {document.get('kind')}"[:100]
        raise ValueError(f"it is {shown!r}, and not a CredentialProviderConfig of {', '.join(_CONFIG_VERSIONS)}")
    providers = tuple(_provider(each) for each in _list(document, "providers", "the file"))
    names = [provider.name for provider in providers]
    if len(set(names)) < len(names):
        raise ValueError("two providers have the same name")
    return providers


def _provider(given: object) -> Provider:
    if not isinstance(given, dict):
        raise ValueError("an entry of providers is no mapping")
    name = given.get("name")
    if not isinstance(name, str) or not name or "/" in name or name in (".", "..") or name.split() != [name]:
        raise ValueError(f"a provider has the name {str(name)[:50]!r}, which must be a file name without spaces")
    if given.get("apiVersion") not in _EXEC_VERSIONS:
        raise ValueError(f"provider {name} has no apiVersion of {', '.join(_EXEC_VERSIONS)}")
    if "defaultCacheDuration" not in given:
        raise ValueError(f"provider {name} has no defaultCacheDuration")
    return Provider(
        name=name,
        match_images=_patterns(given, name),
        default_cache=parse_duration(given["defaultCacheDuration"]),
        api_version=given["apiVersion"],
        args=_texts(given, "args", name),
        env=_environment(given, name),
        token=_token_attributes(given.get("tokenAttributes"), name),
    )


def _patterns(given: Mapping[str, Any], name: str) -> tuple[Pattern, ...]:
    texts = _texts(given, "matchImages", name)
    patterns = tuple(pattern for pattern in map(Pattern.parse, texts) if pattern is not None)
    if not texts or len(patterns) < len(texts):
        raise ValueError(f"provider {name} must have matchImages, each with a registry in it")
    return patterns


def _environment(given: Mapping[str, Any], name: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for entry in _list(given, "env", name):
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("name", "value")):
            raise ValueError(f"provider {name} has an entry of env that is not a name and a value")
        pairs.append((entry["name"], entry["value"]))
    return tuple(pairs)


def _token_attributes(given: object, name: str) -> TokenAttributes | None:
    if given is None:
        return None
    if not isinstance(given, dict) or not isinstance(given.get("serviceAccountTokenAudience"), str):
        raise ValueError(f"provider {name} has tokenAttributes without a serviceAccountTokenAudience")
    cache_type = given.get("cacheType", "Token")
    if cache_type not in ("Token", "ServiceAccount"):
        raise ValueError(f"provider {name} has a cacheType that is neither Token nor ServiceAccount")
    return TokenAttributes(
        audience=given["serviceAccountTokenAudience"],
        per_account=cache_type == "ServiceAccount",
        required=given.get("requireServiceAccount") is True,
        required_annotations=_texts(given, "requiredServiceAccountAnnotationKeys", name),
        optional_annotations=_texts(given, "optionalServiceAccountAnnotationKeys", name),
    )


def _texts(given: Mapping[str, Any], key: str, name: str) -> tuple[str, ...]:
    texts = _list(given, key, name)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"provider {name} has {key} that are not all texts")
    return tuple(texts)


def _list(given: Mapping[str, Any], key: str, name: str) -> list[Any]:
    value = given.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{key} of {name} is no list")
    return value
