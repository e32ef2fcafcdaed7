"""Under which names is remembered what a credential could read, so that the memory serves its holder and nobody else.

A credential is known by its content, and by its holder where that is known: passwords of a cloud's registry last for
hours, and who was allowed yesterday must not be locked out by a new one. It is the rule of kubelet for images that are
on the node already (KEP-2535): the same Secret, service account or content, or what all of the node has.
"""

import hashlib
import hmac
import json

from csi_driver.registry.credential import Credential

NODE = "node"
"""Everybody on this node: of credentials that are the node's own, and of what needs none."""


def is_everybodys(credential: Credential | None) -> bool:
    """Whether all of the node may have what this could read: nobody's credential, or one of the node's own."""
    return credential is None or credential.holder == NODE


def owners(credential: Credential | None, key: bytes) -> tuple[str, ...]:
    """Who may have what this credential (None: nobody's) could read; names that say nothing without `key`."""
    if credential is None or is_everybodys(credential):
        return (NODE,)
    parts = (credential.username, credential.password, credential.identity_token, credential.registry_token)
    content = _hash(json.dumps(["content", *parts]), key)
    return (content, owner(credential.holder, key)) if credential.holder else (content,)


def owner(holder: str, key: bytes) -> str:
    """The name of one holder, whatever credentials it has now."""
    return NODE if holder == NODE else _hash(json.dumps(["holder", holder]), key)


def _hash(text: str, key: bytes) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
