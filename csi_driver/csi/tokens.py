"""The tokens of a pod's service account that kubelet passes on, for credential providers."""

import base64
import binascii
import json
from collections.abc import Mapping

from csi_driver.errors import InvalidRequest
from csi_driver.volumes.volume import Tokens

SERVICE_ACCOUNT_TOKENS = "csi.storage.k8s.io/serviceAccount.tokens"
"""Where kubelet puts what CSIDriver.spec.tokenRequests asks for: in the volume context, or with
`serviceAccountTokenInSecrets` (Kubernetes 1.35) among the secrets."""


def read_tokens(volume_context: Mapping[str, str], secrets: Mapping[str, str]) -> Tokens:
    """The tokens by audience; raises `InvalidRequest`, whose text quotes nothing of them."""
    text = secrets.get(SERVICE_ACCOUNT_TOKENS) or volume_context.get(SERVICE_ACCOUNT_TOKENS)
    if not text:
        return Tokens()
    try:
        given = json.loads(text)
        tokens = {str(audience): str(entry["token"]) for audience, entry in given.items()}
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError):
        raise InvalidRequest(f"{SERVICE_ACCOUNT_TOKENS} is not a JSON object of tokens by audience") from None
    uids = [uid for uid in map(_account_uid, tokens.values()) if uid]
    return Tokens(tokens, uids[0] if uids else "")


def _account_uid(token: str) -> str:
    """The uid in the claims of a token, which kubelet has just had from the API server; empty if there is none."""
    _, _, rest = token.partition(".")
    payload = rest.partition(".")[0]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims["kubernetes.io"]["serviceaccount"]["uid"])
    except (binascii.Error, ValueError, RecursionError, TypeError, KeyError):
        return ""
