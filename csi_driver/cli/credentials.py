"""The keys of a registry Secret, from whatever file a person has at hand."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import IO, Any

import yaml

from csi_driver.errors import InvalidRequest

_MOST_BYTES = 1 << 20  # Kubernetes' own limit for a Secret (core/v1 MaxSecretSize)
_FORMS = "a docker config.json, a Kubernetes Secret, or a mapping of username and password"


def secret_keys(file: IO[bytes] | None) -> dict[str, str]:
    """What kubelet would send as NodePublishVolumeRequest.secrets if the Secret said what `file` says.

    None gives no keys. Raises `InvalidRequest`, whose text never quotes the file's content.
    """
    if file is None:
        return {}
    name = getattr(file, "name", "standard input")
    data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise InvalidRequest(f"{name} is larger than a Secret may be (1 MiB)")
    document = _parse(data, name)
    if document.get("kind") == "Secret":
        return _keys_of_manifest(document, name)
    if isinstance(document.get("auths"), dict):
        return {".dockerconfigjson": json.dumps(document)}
    if isinstance(document.get("username"), str) and isinstance(document.get("password"), str):
        return {key: document[key] for key in ("username", "password")}
    raise InvalidRequest(f"{name} is none of these: {_FORMS}")


def _parse(data: bytes, name: str) -> dict[str, Any]:
    try:
        text = data.decode("utf-8-sig")
        document = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError):
        raise InvalidRequest(f"{name} is neither JSON nor YAML; it must be {_FORMS}") from None
    if not isinstance(document, dict):
        raise InvalidRequest(f"{name} holds no mapping; it must be {_FORMS}")
    return document


def _keys_of_manifest(manifest: Mapping[str, Any], name: str) -> dict[str, str]:
    """The keys of a Secret: `data` in base64, and `stringData`, which wins (Kubernetes API, core/v1 Secret)."""
    keys: dict[str, str] = {}
    for key, encoded in _texts(manifest, "data", name).items():
        try:
            keys[key] = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, ValueError):
            raise InvalidRequest(f"{name}: data.{key} of the Secret is not text in base64") from None
    keys |= _texts(manifest, "stringData", name)
    if not keys:
        raise InvalidRequest(f"{name}: the Secret holds no keys")
    return keys


def _texts(manifest: Mapping[str, Any], section: str, name: str) -> dict[str, str]:
    found = manifest.get(section) or {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise InvalidRequest(f"{name}: {section} of the Secret must be a mapping of texts")
    return {str(key): value.replace("\n", "") if section == "data" else value for key, value in found.items()}
