"""Pods and their credentials, as Kubernetes and a cloud tell of them."""

import base64
import json

from csi_driver.config import Credentials, PullConfig
from csi_driver.kube.api import core
from tests.fixtures.driver import Node
from tests.fixtures.kubernetes import EmbeddedApi
from tests.fixtures.registry import EmbeddedRegistry
from tests.registry.programs import program

MODEL = {"weights.bin": b"secret weights"}
PREFIX = "csi.storage.k8s.io"
IF_NOT_PRESENT = {"pullPolicy": "IfNotPresent"}
PULL_SECRETS = Credentials(pod_image_pull_secrets=True)


def pod(name: str, namespace: str = "team", account: str = "default", uid: str = "") -> dict[str, str]:
    """What kubelet tells of a pod."""
    return IF_NOT_PRESENT | {
        f"{PREFIX}/pod.namespace": namespace,
        f"{PREFIX}/pod.name": name,
        f"{PREFIX}/pod.uid": uid or f"uid of {name}",
        f"{PREFIX}/serviceAccount.name": account,
    }


def add_pod(kubernetes: EmbeddedApi, name: str, *pull_secrets: str, namespace: str = "team") -> dict[str, str]:
    """A pod of the cluster, as the API server and as kubelet tell of it."""
    kubernetes.objects[core("pods", name, namespace=namespace)] = {
        "metadata": {"name": name, "uid": f"uid of {name}"},
        "spec": {"serviceAccountName": "default", "imagePullSecrets": [{"name": each} for each in pull_secrets]},
    }
    kubernetes.objects.setdefault(core("serviceaccounts", "default", namespace=namespace), {"metadata": {}})
    return pod(name, namespace)


def add_secret(
    kubernetes: EmbeddedApi, registry: EmbeddedRegistry, name: str, password: str, *, uid: str = "uid",
    namespace: str = "team",
) -> None:  # fmt: skip
    config = {"auths": {registry.host: {"username": "alice", "password": password}}}
    kubernetes.objects[core("secrets", name, namespace=namespace)] = {
        "metadata": {"name": name, "uid": uid},
        "data": {".dockerconfigjson": base64.b64encode(json.dumps(config).encode()).decode()},
    }


class OneTime(str):
    """Equal to every password of the provider: each is another one, and none has expired yet."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.startswith("one-time-")

    __hash__ = str.__hash__


class Cloud:
    """A node with a credential provider that gives another password each time."""

    def __init__(self, node: Node, registry: EmbeddedRegistry, *, with_token: bool) -> None:
        self.config = node.home / "providers.yaml"
        self.bin = node.home / "bin"
        token = {"serviceAccountTokenAudience": "cloud", "cacheType": "Token", "requireServiceAccount": True}
        provider = {
            "name": "cloud", "matchImages": [registry.host], "defaultCacheDuration": "0s",
            "apiVersion": "credentialprovider.kubelet.k8s.io/v1", **({"tokenAttributes": token} if with_token else {}),
        }  # fmt: skip
        document = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig"}
        self.config.write_text(json.dumps({**document, "providers": [provider]}))
        self.program = program(
            self.bin / "cloud",
            "token = json.loads(given).get('serviceAccountToken', 'node')\n"
            "count = len(open(__file__ + '.calls').readlines())\n"
            "print(json.dumps({'apiVersion': 'credentialprovider.kubelet.k8s.io/v1', 'cacheKeyType': 'Image',\n"
            "    'kind': 'CredentialProviderResponse', 'auth': {json.loads(given)['image'].split('/')[0]:\n"
            "    {'username': 'bad' if 'other' in token else 'alice', 'password': f'one-time-{count}'}}}))\n",
        )
        registry.access.users["alice"] = OneTime()
        node.pull = PullConfig(retry_patience_in_seconds=0.0, access_ttl_in_seconds=0.0)
        node.credentials = Credentials(
            image_credential_provider_config=str(self.config), image_credential_provider_bin_dir=str(self.bin)
        )


def token(name: str) -> str:
    claims = {"kubernetes.io": {"serviceaccount": {"name": name, "uid": f"uid of {name}"}}}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"header.{payload}.signature-of-{name}"


def tokens(name: str, serial: int) -> str:
    return json.dumps({"cloud": {"token": f"{token(name)}-{serial}", "expirationTimestamp": "2030-01-01T00:00:00Z"}})
