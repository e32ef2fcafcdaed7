"""A token service whose tokens a real registry accepts: it signs them, and names what its caller may do."""

import base64
import json
import secrets
import ssl
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from e2e.distribution import PASSWORD, USERNAME
from tests.fixtures.access import basic
from tests.fixtures.faults import Seen
from tests.fixtures.listener import Exchange, Listener

SERVICE, ISSUER = "models.example", "the token service of a test"


class Tokens:
    """JSON Web Tokens as distribution's specification of token authentication has them, signed with RSA.

    Who knows the password may pull and push, everybody else nothing. `requests` holds what it was asked.
    """

    def __init__(self, scratch: Path) -> None:
        self._key = scratch / "token.key"
        self.certificate = scratch / "token.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self._key, "-out", self.certificate,
             "-days", "2", "-subj", "/CN=tokens"],
            check=True, capture_output=True,
        )  # fmt: skip
        self.requests: list[Seen] = []
        self._listener = Listener("tokens", self._serve)
        self.close = self._listener.close

    @property
    def settings(self) -> Mapping[str, Mapping[str, Any]]:
        """What a registry is configured with to send its callers here."""
        token = {"realm": f"{self._listener.url}/token", "service": SERVICE, "issuer": ISSUER}
        return {"auth": {"token": token | {"rootcertbundle": str(self.certificate)}}}

    def _serve(self, exchange: Exchange) -> None:
        self.requests.append(exchange.seen)
        asked = exchange.seen.headers.get("authorization")
        if asked not in (None, basic(USERNAME, PASSWORD)):
            exchange.answer(401, {}, b'{"errors": [{"code": "UNAUTHORIZED", "message": "wrong password"}]}')
            return
        scope = exchange.seen.query.get("scope", "") if asked else ""
        token = self._sign(scope)
        exchange.answer(200, {"Content-Type": "application/json"}, json.dumps({"token": token}).encode())

    def _sign(self, scope: str) -> str:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        access = [{"type": kind, "name": name, "actions": actions.split(",")}] if scope else []
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": USERNAME, "aud": SERVICE, "iat": now, "nbf": now - 60, "exp": now + 60}
        claims |= {"jti": secrets.token_hex(8), "access": access}
        chain = base64.b64encode(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).decode()
        head = {"typ": "JWT", "alg": "RS256", "x5c": [chain]}
        signed = ".".join(_base64(json.dumps(part).encode()) for part in (head, claims))
        command = ["openssl", "dgst", "-sha256", "-sign", str(self._key)]
        signature = subprocess.run(command, input=signed.encode(), check=True, capture_output=True).stdout
        return f"{signed}.{_base64(signature)}"


@contextmanager
def serving(scratch: Path) -> Iterator[Tokens]:
    """A token service until the end of the block."""
    running = Tokens(scratch)
    try:
        yield running
    finally:
        running.close()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
