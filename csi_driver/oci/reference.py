"""What a user calls a model in a registry: host, repository, tag and digest."""

import re
from dataclasses import dataclass, replace
from typing import Self

from csi_driver.errors import InvalidRequest
from csi_driver.oci.digest import Digest

DEFAULT_TAG = "latest"
DOCKER_HUB = "docker.io"
DOCKER_HUB_API = "registry-1.docker.io"
MAX_REPOSITORY_LENGTH = 255

_DOCKER_HUB_ALIASES = frozenset({"docker.io", "index.docker.io"})

# The grammar of github.com/distribution/reference; its \w means ASCII only.
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::(?P<port>[0-9]{{1,5}}))?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_UNEXPECTED = re.compile(r"[^\x21-\x7e]")
_PASSWORD = re.compile(r"(?<=:)(?!//).*(?=@[^@]*/)")
"""What stands between a colon and an @ that is followed by a path, so that it is no tag: it must not be shown."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A name in canonical form, as `Reference.parse` makes it: nothing of it is left to a default.

    `host` is the name that credentials and mirrors are configured for, with its port if it has one. A tag beside a
    digest is information for readers: the digest decides.
    """

    host: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reference that `text` means by Docker's rules (distribution/reference), `oci://` in front tolerated.

        InvalidRequest names the part that is wrong.
        """
        rest = _without_scheme(text)
        rest, digest = _split_digest(rest, text)
        rest, tag = _split_tag(rest, text)
        host, repository = _split_host(rest)
        _check_host(host, text)
        _check_repository(repository, text)
        if tag is None and digest is None:
            tag = DEFAULT_TAG
        return cls(host, repository, tag, digest)

    @property
    def selector(self) -> str:
        """What selects the manifest within the repository: the digest where there is one, else the tag."""
        return str(self.digest) if self.digest is not None else self.tag or DEFAULT_TAG

    @property
    def api_host(self) -> str:
        """The host, with its port if any, that serves this registry's API: Docker Hub has another than its name."""
        return DOCKER_HUB_API if self.host == DOCKER_HUB else self.host

    def at(self, digest: Digest) -> Self:
        """The same name pinned to `digest`; the tag stays as information."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.host}/{self.repository}{tag}{digest}"


def _invalid(text: str, reason: str) -> InvalidRequest:
    shown = _PASSWORD.sub("***", text)
    shown = shown if len(shown) <= 300 else shown[:300] + "…"
    return InvalidRequest(f"reference {shown!r} is invalid: {reason}")


def _without_scheme(text: str) -> str:
    if not text:
        raise InvalidRequest("the reference is empty: write it as registry/repository:tag")
    if _UNEXPECTED.search(text):
        raise _invalid(text, "it contains white space, a control character or a letter outside ASCII")
    rest = text.removeprefix("oci://")
    if _SCHEME.match(rest):
        raise _invalid(text, "write it as registry/repository:tag, without a scheme")
    if _PASSWORD.search(rest):
        raise _invalid(text, "a user and a password belong into a Secret: name that in nodePublishSecretRef")
    if _IMAGE_ID.fullmatch(rest):
        raise _invalid(text, "64 hex digits alone are an image id; write repository@sha256:<digest>")
    return rest


def _split_digest(rest: str, text: str) -> tuple[str, Digest | None]:
    name, at, digest = rest.partition("@")
    if not at:
        return rest, None
    try:
        return name, Digest.parse(digest)
    except ValueError as error:
        raise _invalid(text, f"what follows the @ must be a digest: {error}") from error


def _split_tag(rest: str, text: str) -> tuple[str, str | None]:
    head, slash, last = rest.rpartition("/")
    name, colon, tag = last.partition(":")
    if not colon:
        return rest, None
    if not slash and not name:
        raise _invalid(text, "the repository is missing")
    if not _TAG.fullmatch(tag):
        raise _invalid(
            text, f"{tag[:160]!r} is not a tag: up to 128 letters, digits, '_', '.', '-', not starting with '.' or '-'"
        )
    return f"{head}{slash}{name}", tag


def _split_host(rest: str) -> tuple[str, str]:
    first, slash, path = rest.partition("/")
    if not slash or not _looks_like_host(first):
        first, path = DOCKER_HUB, rest
    if first in _DOCKER_HUB_ALIASES:
        first = DOCKER_HUB
        path = path if "/" in path else f"library/{path}"
    return first, path


def _looks_like_host(first: str) -> bool:
    """Docker's rule: a first component is a host if it could not be a component of a Docker Hub repository."""
    return first == "localhost" or "." in first or ":" in first or first != first.lower()


def _check_host(host: str, text: str) -> None:
    match = _HOST.fullmatch(host)
    if match is None or len(host) > 255:
        raise _invalid(text, f"{host[:100]!r} is not a host name with an optional port")
    port = match["port"]
    if port is not None and not 0 < int(port) < 65536:
        raise _invalid(text, f"{port} is not a port number")


def _check_repository(repository: str, text: str) -> None:
    if len(repository) > MAX_REPOSITORY_LENGTH:
        raise _invalid(text, f"the repository is longer than {MAX_REPOSITORY_LENGTH} characters")
    for component in repository.split("/"):
        if not _COMPONENT.fullmatch(component):
            hint = (
                "it must be lower case"
                if component != component.lower()
                else "use a-z, 0-9 and single separators . _ -"
            )
            raise _invalid(text, f"{component!r} is not a repository component: {hint}")
