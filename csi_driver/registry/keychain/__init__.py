"""Credentials: where they come from, which match a repository, and who may have what they can read."""

from csi_driver.registry.keychain.account import ServiceAccount
from csi_driver.registry.keychain.helpers import Helpers
from csi_driver.registry.keychain.keychain import Keychain
from csi_driver.registry.keychain.owners import NODE, is_everybodys, owners
from csi_driver.registry.keychain.providers import Providers
from csi_driver.registry.keychain.source import Found, Source

__all__ = ["NODE", "Found", "Helpers", "Keychain", "Providers", "ServiceAccount", "Source", "is_everybodys", "owners"]
