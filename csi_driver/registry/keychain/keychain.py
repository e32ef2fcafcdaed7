"""Which credentials to try for a repository, and in which order."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

from csi_driver.registry.credential import Credential
from csi_driver.registry.keychain.dockerconfig import DockerConfig
from csi_driver.registry.keychain.helpers import Helpers
from csi_driver.registry.keychain.owners import owner, owners
from csi_driver.registry.keychain.providers import Providers
from csi_driver.registry.keychain.secrets import of_volume
from csi_driver.registry.keychain.source import Found, Source


class Keychain:
    """Credentials by registry and repository. Nothing of them shows in a `repr`."""

    def __init__(self, sources: tuple[Source, ...]) -> None:
        self._sources = sources

    @classmethod
    def anonymous(cls) -> Self:
        """No credentials at all."""
        return cls(())

    @classmethod
    def from_docker_config(cls, path: Path, helpers: Helpers | None = None) -> Self:
        """A docker config.json, or the one in the directory `path`; read again when it changes.

        A file that does not exist holds no credentials; one that is no JSON makes every use raise `Unavailable`. Its
        credential helpers are run, by default those that PATH leads to. The entry `serverscheme: http` makes
        `plain_http` true.
        """
        return cls((DockerConfig(path, helpers or Helpers()),))

    @classmethod
    def of_node(cls, docker_config: Path, providers: Providers, helpers: Helpers) -> Self:
        """What belongs to all of a node: what its credential providers tell it, and then its docker config."""
        return cls((providers.for_node(), DockerConfig(docker_config, helpers)))

    @classmethod
    def from_secrets(cls, secrets: Mapping[str, str], registry: str) -> Self:
        """What CSI secrets hold: `.dockerconfigjson`, `.dockercfg`, or `username` and `password`.

        User name and password are for `registry` alone, the one that the volume's reference names: a model may lead to
        others, of the models that it builds on. No secrets at all are an anonymous keychain. Raises `InvalidRequest`,
        whose text never quotes a value.
        """
        return cls((of_volume(secrets, registry),)) if secrets else cls.anonymous()

    def then(self, other: "Keychain") -> "Keychain":
        """This keychain's credentials first, then those of `other`."""
        return Keychain(self._sources + other._sources)

    def find(self, host: str, repository: str) -> Found:
        """The credentials that match, in the order in which they are to be tried, none of them twice."""
        found = [source.find(host, repository) for source in self._sources]
        return Found(
            credentials=tuple(dict.fromkeys(each for one in found for each in one.credentials)),
            troubles=tuple(dict.fromkeys(each for one in found for each in one.troubles)),
        )

    def credentials(self, host: str, repository: str) -> tuple[Credential, ...]:
        """The credentials of `find`."""
        return self.find(host, repository).credentials

    def plain_http(self, host: str) -> bool:
        """Whether the node's docker config says that this registry speaks plain HTTP."""
        return any(source.plain_http(host) for source in self._sources)

    def owners(self, host: str, repository: str, key: bytes) -> Iterator[str]:
        """Under which names, that say nothing without `key`, is remembered what these credentials could read.

        Where a source has a known holder its credentials are not asked for, as that may take a program and a network.
        No source is asked before the names of those before it have been taken.
        """
        for source in self._sources:
            holder = source.holder(host, repository)
            if holder is not None:
                yield owner(holder, key)
                continue
            for credential in source.find(host, repository).credentials:
                yield from owners(credential, key)
