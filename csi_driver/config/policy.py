"""Which registries and repositories models may come from: lists of patterns, for all pods and for some namespaces."""

import re
from dataclasses import dataclass

_PATTERN = re.compile(r"(?P<host>[A-Za-z0-9.*?\[\]!:_-]+)(?P<path>(/[a-z0-9._*?\[\]!-]+)*)/?")
_REGISTRY = re.compile(r"localhost(:\d+)?|.*[.:*?\[].*")  # what tells a registry from a repository (reference grammar)


@dataclass(frozen=True, slots=True)
class NamespaceRules:
    """What `policy.namespaces` says of the namespaces that match a glob."""

    namespace: str
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


def patterns(value: object) -> tuple[str, ...]:
    """A list of patterns, each a registry with or without the beginning of a repository, and with globs."""
    if not isinstance(value, list):
        raise ValueError("must be a list of patterns such as [registry.example.com/team]")
    for each in value:
        match = _PATTERN.fullmatch(each) if isinstance(each, str) else None
        if match is None or not _REGISTRY.fullmatch(match["host"]):
            raise ValueError(
                f"holds {each!r}, which is not of the form registry or registry/repository, without a scheme, a tag or "
                "a digest; * stands for all registries"
            )
    return tuple(value)


def namespaces(value: object) -> tuple[NamespaceRules, ...]:
    """A mapping from namespaces, with globs, to what is allowed and denied there."""
    if not isinstance(value, dict):
        raise ValueError("must be a mapping from namespaces to allow and deny")
    rules = []
    for namespace, lists in value.items():
        if not isinstance(namespace, str) or not isinstance(lists, dict) or lists.keys() - {"allow", "deny"}:
            raise ValueError(f"has an entry for {namespace!r} that is not a mapping of allow and deny")
        given = {name: patterns(each) for name, each in lists.items() if each is not None}
        rules.append(NamespaceRules(namespace, **given))
    return tuple(rules)
