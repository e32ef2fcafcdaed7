"""A node with credential providers, as its operator would install them."""

import json
from pathlib import Path
from typing import Any

from csi_driver.config import Credentials
from csi_driver.registry.keychain import Keychain, Providers, ServiceAccount
from tests.registry.programs import program

V1 = "credentialprovider.kubelet.k8s.io/v1"
HOST, REPOSITORY = "123.dkr.ecr.eu-west-1.amazonaws.com", "team/model"
ANSWERS = """
request = json.loads(given)
count = len(open(os.path.realpath(__file__) + '.calls').readlines())
print(json.dumps({
    'apiVersion': request['apiVersion'], 'kind': 'CredentialProviderResponse',
    'cacheKeyType': os.environ.get('CACHE', 'Registry'),
    **({'cacheDuration': os.environ['DURATION']} if 'DURATION' in os.environ else {}),
    'auth': {'*.dkr.ecr.*.amazonaws.com': {'username': 'AWS', 'password': 'pass ' + str(count)},
             'other.io': {'username': 'other', 'password': 'x'}},
}))
"""


class Node:
    """A configuration and its programs."""

    def __init__(self, home: Path) -> None:
        self.config = home / "config.yaml"
        self.bin = home / "bin"
        self.now = 0.0
        self.providers = Providers(settings=self.settings, environ={"X": "y"}, clock=lambda: self.now)

    def settings(self) -> Credentials:
        return Credentials(
            image_credential_provider_config=str(self.config), image_credential_provider_bin_dir=str(self.bin)
        )

    def provider(self, name: str = "ecr", text: str = ANSWERS, **changes: Any) -> Path:
        """Configure one more provider, and write its program."""
        entry = {
            "name": name, "matchImages": ["*.dkr.ecr.*.amazonaws.com"], "defaultCacheDuration": "12h", "apiVersion": V1,
            **changes,
        }  # fmt: skip
        document = json.loads(self.config.read_text()) if self.config.exists() else None
        document = document or {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig"}
        document["providers"] = [*document.get("providers", []), {k: v for k, v in entry.items() if v is not None}]
        self.config.write_text(json.dumps(document))
        return program(self.bin / name, text)

    def keychain(self, account: ServiceAccount | None = None) -> Keychain:
        source = self.providers.for_account(account) if account else self.providers.for_node()
        return Keychain((source,))


def account(name: str = "default", token: str = "hunter2", **annotations: str) -> ServiceAccount:
    return ServiceAccount("team", name, f"uid of {name}", {"registry": token}, lambda: annotations)


TOKEN = {"serviceAccountTokenAudience": "registry", "cacheType": "Token", "requireServiceAccount": True}
