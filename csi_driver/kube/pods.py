"""What the API server knows of a pod that this driver needs: the Secrets with which its images are pulled."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

from csi_driver.errors import DriverError, Unavailable
from csi_driver.inflight import Deadline
from csi_driver.kube.api import Api, Object, core

_MOST_SECRETS = 32
_LONGEST = 20.0  # seconds for all requests of one pod: less than a call to publish may take


@dataclass(frozen=True, slots=True)
class PullSecret:
    """A Secret, as it is now; `uid` tells it from one of the same name that was there before."""

    namespace: str
    name: str
    uid: str
    data: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class PullSecrets:
    """The Secrets that could be read, and why others could not."""

    secrets: tuple[PullSecret, ...] = ()
    troubles: tuple[str, ...] = ()


class Pods:
    """Pods, their service accounts and Secrets; needs the verb `get` on all three, and no other."""

    def __init__(self, api: Api, *, seconds: float = _LONGEST) -> None:
        self._api = api
        self._seconds = seconds

    def pull_secrets(self, namespace: str, name: str, uid: str) -> PullSecrets:
        """The imagePullSecrets of the pod with this uid, and then those of its service account.

        Never raises. When the API server does not answer, or takes too long for it all, it is not asked for the rest.
        """
        deadline = Deadline.after(self._seconds)
        secrets: list[PullSecret] = []
        troubles: list[str] = []
        try:
            pod = self._pod(namespace, name, uid)
            for each in dict.fromkeys(_names(_mapping(pod, "spec")) + self._of_account(pod, namespace, troubles)):
                self._check(deadline)
                try:
                    secrets.append(self._secret(namespace, each))
                except Unavailable:
                    raise
                except (DriverError, ValueError) as error:
                    troubles.append(f"imagePullSecret {namespace}/{each}: {error}")
        except (DriverError, ValueError) as error:
            troubles.append(f"the imagePullSecrets of pod {namespace}/{name} cannot be read: {error}")
        return PullSecrets(tuple(secrets), tuple(troubles))

    def annotations(self, namespace: str, account: str) -> Mapping[str, str]:
        """The annotations of a service account; raises as `Api.get` does."""
        found = self._api.get(core("serviceaccounts", account, namespace=namespace))
        annotations = _mapping(_mapping(found, "metadata"), "annotations")
        return {key: value for key, value in annotations.items() if isinstance(value, str)}

    def _check(self, deadline: Deadline) -> None:
        if not deadline.remaining():
            raise Unavailable(f"the Kubernetes API has not given all that was asked for in {self._seconds:g} s")

    def _pod(self, namespace: str, name: str, uid: str) -> Object:
        pod = self._api.get(core("pods", name, namespace=namespace))
        actual = _mapping(pod, "metadata").get("uid")
        if not uid or actual != uid:
            raise ValueError(f"it has the uid {actual}, and the volume is for a pod with the uid {uid or '(none)'}")
        return pod

    def _of_account(self, pod: Object, namespace: str, troubles: list[str]) -> tuple[str, ...]:
        account = _mapping(pod, "spec").get("serviceAccountName")
        if not isinstance(account, str) or not account:
            return ()
        try:
            return _names(self._api.get(core("serviceaccounts", account, namespace=namespace)))
        except Unavailable:
            raise
        except DriverError as error:
            troubles.append(f"the imagePullSecrets of service account {namespace}/{account} cannot be read: {error}")
            return ()

    def _secret(self, namespace: str, name: str) -> PullSecret:
        found = self._api.get(core("secrets", name, namespace=namespace))
        uid = _mapping(found, "metadata").get("uid")
        if not isinstance(uid, str) or not uid:
            raise ValueError("it has no uid")
        return PullSecret(namespace, name, uid, _decoded(_mapping(found, "data")))


def _names(holder: Object) -> tuple[str, ...]:
    """The names in `imagePullSecrets` of a pod's spec or of a service account."""
    references = holder.get("imagePullSecrets")
    entries = references[:_MOST_SECRETS] if isinstance(references, list) else []
    names = (entry.get("name") for entry in entries if isinstance(entry, dict))
    return tuple(name for name in names if isinstance(name, str) and name)


def _decoded(data: Mapping[str, object]) -> dict[str, str]:
    """The texts in a Secret's data; what is no text in base64 cannot be a docker config."""
    texts = {}
    for key, value in data.items():
        try:
            texts[key] = base64.b64decode(str(value), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
    return texts


def _mapping(holder: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = holder.get(key)
    return value if isinstance(value, dict) else {}
