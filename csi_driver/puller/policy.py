"""Whether the operator's policy lets a pod have a model, decided by its name alone, before anybody is asked for it."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from csi_driver.config import Policy
from csi_driver.errors import AccessDenied
from csi_driver.oci.reference import Reference

_HUB = "docker.io"
_HUB_TOO = frozenset({"index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
_HTTPS = "443"
_EVERYTHING = "*"


def check(policy: Policy, reference: Reference, namespace: str) -> None:
    """Raise `AccessDenied`, naming the rule, unless a pod of `namespace` (empty: none is known) may have the model.

    What any list denies is denied. What is left must be allowed by the lists of the namespace, or where these say
    nothing by the general one; an empty list allows everything.
    """
    own = [rules for rules in policy.namespaces if namespace and fnmatchcase(namespace, rules.namespace)]
    name = f"{reference.host}/{reference.repository}"
    whose = f" for namespace {namespace}" if namespace else ""
    denied = [("policy.deny", policy.deny)]
    denied += [(f"policy.namespaces.{rules.namespace}.deny", rules.deny) for rules in own]
    for rule, patterns in denied:
        for pattern in patterns:
            if _matches(pattern, reference, any_port=True):
                raise AccessDenied(f"{name} is forbidden{whose}: {rule} has {pattern!r}; ask who runs the cluster")
    allowed = [(f"policy.namespaces.{rules.namespace}.allow", rules.allow) for rules in own if rules.allow]
    if not allowed and policy.allow:
        allowed = [("policy.allow", policy.allow)]
    if allowed and not any(_matches(pattern, reference) for _, patterns in allowed for pattern in patterns):
        rules = " or ".join(rule for rule, _ in allowed)
        raise AccessDenied(f"{name} is forbidden{whose}: nothing in {rules} allows it; ask who runs the cluster")


def _matches(pattern: str, reference: Reference, *, any_port: bool = False) -> bool:
    """Whether the pattern names this registry, and the repository or something above it.

    A label of the registry's name, and a component of the path, each match one glob; `**` matches any number of
    components, and `*` for the registry any registry. A pattern without a port means the port of HTTPS or, where
    something is to be kept out, any.
    """
    host, _, path = pattern.rstrip("/").partition("/")
    return _is_host(host, reference.host, any_port=any_port) and _is_below(
        path.split("/") if path else [], reference.repository.split("/")
    )


def _is_host(pattern: str, host: str, *, any_port: bool) -> bool:
    if pattern == _EVERYTHING:
        return True
    (wanted, wanted_port), (name, port) = _split(pattern), _split(host)
    if not (any_port and not wanted_port) and (wanted_port or _HTTPS) != (port or _HTTPS):
        return False
    if wanted == _EVERYTHING:
        return True
    if wanted == name:
        return True
    globs, labels = wanted.split("."), name.split(".")
    return len(globs) == len(labels) and all(map(fnmatchcase, labels, globs))


def _split(authority: str) -> tuple[str, str]:
    """Name and port, in lower case, with one name for Docker Hub; an address of IPv6 keeps its brackets."""
    head, bracket, tail = authority.lower().rpartition("]")
    name, _, port = tail.partition(":")
    name = head + bracket + name
    return (_HUB if name in _HUB_TOO else name), port.lstrip("0")


def _is_below(globs: list[str], components: list[str]) -> bool:
    """Whether the path, or something above it, is what the globs stand for."""
    return any(_is(tuple(globs), tuple(above)) for above in _paths(components))


def _paths(components: list[str]) -> Iterator[Iterable[str]]:
    for count in range(len(components) + 1):
        yield components[:count]


def _is(globs: tuple[str, ...], components: tuple[str, ...]) -> bool:
    if not globs:
        return not components
    if globs[0] == "**":
        return _is(globs[1:], components) or (bool(components) and _is(globs, components[1:]))
    return bool(components) and fnmatchcase(components[0], globs[0]) and _is(globs[1:], components[1:])
