"""Docker's credential helpers: programs of the node that know the credentials for a registry."""

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from csi_driver.config import Credentials
from csi_driver.host import programs
from csi_driver.inflight import Deadline, Flights, Lock, Pool, Wait
from csi_driver.registry.answers import shorten
from csi_driver.registry.credential import Credential
from csi_driver.registry.keychain.owners import NODE
from csi_driver.registry.keychain.pattern import is_docker_hub
from csi_driver.registry.keychain.source import Found

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HUB = "https://index.docker.io/v1/"  # under this name the Docker CLI stores what is for Docker Hub
_NONE = ("credentials not found in native keychain", "no credentials server URL", "no credentials username")
_MOST_BYTES = 1 << 20
_KEPT = 30.0  # seconds: one pull asks several times, and the helper may have a token that is near its end


class Helpers:
    """Runs `docker-credential-NAME get`, from the directory that the settings name or else from PATH.

    What one said, or that it failed, is used for half a minute, and by all who ask while it runs.
    """

    def __init__(
        self,
        *,
        settings: Callable[[], Credentials] = Credentials,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._clock = clock
        self._flights: Flights[tuple[str, str], Found] = Flights(Pool("helper", 4), outlives_callers=True)
        self._lock = Lock()
        self._kept: dict[tuple[str, str], tuple[float, Found]] = {}

    def ask(self, name: str, host: str) -> Found:
        """What the helper `name` knows about a registry; what goes wrong is a trouble of those who need it."""
        if not _NAME.fullmatch(name):
            return Found(troubles=(f"the node's docker config names {name[:50]!r} as credential helper: no file name",))
        key = (name, host)
        with self._lock:
            kept = self._kept.get(key)
        if kept and self._clock() < kept[0]:
            return kept[1]
        patience = Deadline.after(2 * self._settings().program_timeout_in_seconds)
        try:
            return self._flights.join(key, lambda _: self._run(name, host), Wait(patience))
        except TimeoutError:
            return Found(troubles=(f"the credential helper {name} has not been run in time",))

    def _run(self, name: str, host: str) -> Found:
        try:
            found = self._get(f"docker-credential-{name}", host)
        except (programs.ProgramFailed, ValueError) as error:
            found = Found(troubles=(f"credential helper: {error}",))
        now = self._clock()
        with self._lock:
            self._kept = {each: kept for each, kept in self._kept.items() if kept[0] > now}
            self._kept[name, host] = (now + _KEPT, found)
        return found

    def _get(self, name: str, host: str) -> Found:
        settings = self._settings()
        directory = settings.credential_helper_dir
        path = programs.find(name, directory or self._environ.get("PATH", ""))
        if path is None:
            raise ValueError(f"{name} is not in {directory or 'PATH'}, although the node's docker config names it")
        server = _HUB if is_docker_hub(host) else host
        ran = programs.run(
            path,
            ["get"],
            input_=server.encode(),
            environ=self._environ,
            timeout=settings.program_timeout_in_seconds,
            most_bytes=_MOST_BYTES,
        )
        if ran.code != 0:
            if any(text in ran.output.decode("utf-8", "replace") for text in _NONE):
                return Found()
            raise ValueError(f"{path} ended with code {ran.code}{_told(ran.errors)}")
        return Found((_credential(ran.output, path),))


def _credential(output: bytes, path: Path) -> Credential:
    """What a helper wrote; nothing of it is ever quoted."""
    try:
        document = json.loads(output)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        credential = Credential.of_entry({"username": document.get("Username"), "password": document.get("Secret")})
        if credential:
            return replace(credential, holder=NODE)
    raise ValueError(f"{path} did not write a JSON object with Username and Secret")


def _told(errors: bytes) -> str:
    text = shorten(errors.decode("utf-8", "replace"))
    return f" ({text})" if text else ""
