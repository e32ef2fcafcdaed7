"""A real OCI registry on loopback: Debian's docker-registry, and what it was asked for."""

import json
import re
import shutil
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import yaml

from e2e import programs
from e2e.waiting import at_most

USERNAME, PASSWORD = "modeler", "a password for tests"
NOTHING: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
# bcrypt, the only form that docker-registry reads; htpasswd -B writes it
HTPASSWD = f"{USERNAME}:$2b$05$VbsIGmb0bDJY9Mec7kjN/eaCl/MpMCSN3AE4TRr9R/qf23.uBraRG\n"


@dataclass(frozen=True, slots=True)
class DockerRegistry:
    """A running docker-registry at `host`, which writes a line to `access_log` for each request."""

    host: str
    access_log: Path

    def requests(self, method: str, path: str) -> list[str]:
        """The paths of the answered requests of a method, as far as they match the regular expression `path`."""
        lines = self.access_log.read_text(encoding="utf-8")
        return re.findall(rf'"{method} ({path}) HTTP/1\.1" \d+', lines)


@contextmanager
def serving(
    program: Path,
    scratch: Path,
    *,
    private: bool = False,
    enter: Sequence[str | Path] = (),
    address: str = "127.0.0.1:0",
    more: Mapping[str, Mapping[str, Any]] = NOTHING,
) -> Iterator[DockerRegistry]:
    """A registry that keeps its content in `scratch` and ends with the block; a private one wants the password.

    `enter` is a command that makes way for the registry, where it shall run elsewhere. `more` is added to the sections
    of its configuration.
    """
    command = [*enter, program, "serve", _configuration(scratch, address, private=private, more=more)]
    log = scratch / "access.log"
    with log.open("wb") as access_log:
        process = subprocess.Popen(command, stdout=access_log, stderr=subprocess.PIPE, text=True)
    try:
        yield DockerRegistry(host=_announced(process, scratch / "registry.log"), access_log=log)
    finally:
        programs.end(process)


def docker_config(directory: Path, host: str) -> Path:
    """A directory with a config.json that holds the password for the registry at `host`."""
    directory.mkdir(parents=True, exist_ok=True)
    auth = b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    (directory / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}), encoding="utf-8")
    return directory


def _configuration(scratch: Path, address: str, *, private: bool, more: Mapping[str, Mapping[str, Any]]) -> Path:
    (scratch / "htpasswd").write_text(HTPASSWD, encoding="utf-8")
    settings: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info", "formatter": "text"},
        "storage": {"filesystem": {"rootdirectory": str(scratch / "content")}},
        "http": {"addr": address},
    }
    if private:
        settings["auth"] = {"htpasswd": {"realm": "models", "path": str(scratch / "htpasswd")}}
    for section, values in more.items():
        settings[section] = settings.get(section, {}) | values
    path = scratch / "config.yml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def _announced(process: subprocess.Popen[str], log: Path) -> str:
    """The address that the registry says it listens on; what it says later goes to `log`."""
    assert process.stderr is not None
    said = []
    with at_most(process.kill):
        for line in process.stderr:
            said.append(line)
            if match := re.search(r"listening on ([^\s,]+:\d+)", line):
                # Somebody has to go on reading, or the registry stops when the pipe is full.
                threading.Thread(target=_copy, args=(process.stderr, log), daemon=True).start()
                return match[1]
    raise RuntimeError(f"docker-registry does not listen; it ended with {process.wait()}: {''.join(said)}")


def _copy(source: IO[str], log: Path) -> None:
    with source, log.open("w", encoding="utf-8") as destination:
        shutil.copyfileobj(source, destination)
