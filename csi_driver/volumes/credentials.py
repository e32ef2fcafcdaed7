"""With whose credentials a pod's model is pulled: those of its volume, of its images, and of its service account."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from csi_driver.config import Credentials as Settings
from csi_driver.kube.pods import PullSecrets
from csi_driver.registry.keychain import Found, Keychain, Providers, ServiceAccount, Source
from csi_driver.registry.keychain.secrets import of_pull_secret
from csi_driver.volumes.volume import Pod, PublishSpec


class Pods(Protocol):
    """Who knows the pods of this cluster."""

    def pull_secrets(self, namespace: str, name: str, uid: str) -> PullSecrets: ...

    def annotations(self, namespace: str, account: str) -> Mapping[str, str]: ...


class Credentials:
    """Makes a keychain for each publish; what is in it is looked up when a registry has to be asked, and only then.

    The pod's imagePullSecrets are used while the settings say so. The node's own credentials come after all these.
    """

    def __init__(self, *, pods: Pods, providers: Providers, settings: Callable[[], Settings]) -> None:
        self._pods = pods
        self._providers = providers
        self._settings = settings

    def keychain(self, spec: PublishSpec) -> Keychain | None:
        """The credentials that the volume of `spec` may be pulled with; None for the node's own only."""
        own: list[Source] = []
        if spec.pod and self._settings().pod_image_pull_secrets:
            pod = spec.pod
            own.append(ImagePullSecrets(partial(self._pods.pull_secrets, pod.namespace, pod.name, pod.uid)))
        if spec.pod and spec.pod.service_account:
            own.append(self._providers.for_account(self._account(spec.pod, spec)))
        if not own:
            return spec.keychain
        keychain = Keychain(tuple(own))
        return spec.keychain.then(keychain) if spec.keychain else keychain

    def _account(self, pod: Pod, spec: PublishSpec) -> ServiceAccount:
        return ServiceAccount(
            namespace=pod.namespace,
            name=pod.service_account,
            uid=spec.tokens.account_uid,
            tokens=spec.tokens.by_audience,
            annotations=partial(self._pods.annotations, pod.namespace, pod.service_account),
        )


class ImagePullSecrets:
    """The Secrets of one pod as a source of credentials, read at most once; each is its credentials' holder."""

    def __init__(self, read: Callable[[], PullSecrets]) -> None:
        self._read = read
        self._sources: tuple[Source, ...] | None = None
        self._troubles: tuple[str, ...] = ()

    def find(self, host: str, repository: str) -> Found:
        if self._sources is None:
            self._sources = self._load()
        found = [source.find(host, repository) for source in self._sources]
        return Found(tuple(each for one in found for each in one.credentials), self._troubles)

    def holder(self, _host: str, _repository: str) -> None:
        return None

    def plain_http(self, _host: str) -> bool:
        return False

    def _load(self) -> tuple[Source, ...]:
        read = self._read()
        troubles = list(read.troubles)
        sources: list[Source] = []
        for secret in read.secrets:
            try:
                holder = f"secret {secret.namespace}/{secret.name}/{secret.uid}"
                sources.append(of_pull_secret(secret.data, holder))
            except ValueError as error:
                troubles.append(f"imagePullSecret {secret.namespace}/{secret.name} is of no use: {error}")
        self._troubles = tuple(troubles)
        return tuple(sources)
