"""Credentials in Secrets: those of a volume, and those with which images are pulled."""

import json
from collections.abc import Mapping

from csi_driver.errors import InvalidRequest
from csi_driver.registry.credential import Credential
from csi_driver.registry.keychain.entries import Entries, Entry, entries_of
from csi_driver.registry.keychain.pattern import Pattern

_CONFIG_KEY, _LEGACY_KEY = ".dockerconfigjson", ".dockercfg"  # Kubernetes' Secret types dockerconfigjson and dockercfg


def of_volume(secrets: Mapping[str, str], registry: str) -> Entries:
    """The keys of the nodePublishSecretRef of a volume whose model is at `registry`; raises `InvalidRequest`."""
    entries: list[Entry] = []
    if _CONFIG_KEY in secrets:
        entries += entries_of(_parsed(secrets, _CONFIG_KEY).get("auths"))
    if _LEGACY_KEY in secrets:
        entries += entries_of(_parsed(secrets, _LEGACY_KEY))
    if "username" in secrets or "password" in secrets:
        entries.append(_user(secrets, registry))
    if not {_CONFIG_KEY, _LEGACY_KEY, "username", "password"} & secrets.keys():
        raise InvalidRequest(
            f"the volume's Secret has none of the keys {_CONFIG_KEY}, {_LEGACY_KEY}, or username and password: "
            "create it with `kubectl create secret docker-registry`"
        )
    return Entries(entries)


def of_pull_secret(data: Mapping[str, str], holder: str) -> Entries:
    """The entries of an imagePullSecret, all held by `holder`; raises `ValueError` if it is none."""
    for key in (_CONFIG_KEY, _LEGACY_KEY):
        if key not in data:
            continue
        try:
            document = _parsed(data, key)
        except InvalidRequest:
            raise ValueError(f"its key {key} is not a JSON object") from None
        return Entries(entries_of(document.get("auths") if key == _CONFIG_KEY else document, holder=holder))
    raise ValueError(f"it has neither of the keys {_CONFIG_KEY} and {_LEGACY_KEY}")


def _parsed(secrets: Mapping[str, str], key: str) -> dict[str, object]:
    try:
        document: object = json.loads(secrets[key])
        if isinstance(document, dict):
            return document
    except (ValueError, RecursionError):
        pass
    raise InvalidRequest(f"the key {key} of the volume's Secret is not a JSON object")


def _user(secrets: Mapping[str, str], registry: str) -> Entry:
    username, password = (_line(secrets.get(key, "")) for key in ("username", "password"))
    if not username or not password:
        raise InvalidRequest("the volume's Secret must hold both username and password, and neither may be empty")
    return Entry(Pattern.of(registry), Credential.of_entry({"username": username, "password": password}))


def _line(text: str) -> str:
    """Without the line end of the file that the Secret was made of, as `docker login --password-stdin` takes it."""
    return text.removesuffix("\n").removesuffix("\r")
