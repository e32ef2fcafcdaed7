"""One node: what is on its disk and in its mount table outlives its drivers, which are killed."""

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from csi_driver.csi.endpoint import Endpoint
from csi_driver.host.mounts import Mount, Mounts
from csi_driver.volumes.records import Records
from e2e.crash.steps import Step

_PATIENCE = 60.0  # seconds for what must happen at all
_SOON = 0.005


class Wrong(Exception):
    """The driver has broken a promise."""


class Launcher:
    """The process that starts drivers; a context."""

    def __enter__(self) -> "Launcher":
        command = [sys.executable, "-m", "e2e.crash.launcher"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(self, **order: Any) -> int:
        return self._ask(order)

    def wait(self, process: int) -> int:
        return self._ask({"wait": process})

    def _ask(self, order: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@dataclass
class Node:
    """The directory of the node holds everything: data root, pods, socket, log."""

    directory: Path
    limit: int = 0
    mounts: Mounts = field(default_factory=Mounts)

    def __post_init__(self) -> None:
        self.root = self.directory / "root"
        self.pods = self.directory / "pods"
        self.log = self.directory / "driver.log"
        self.note = self.directory / "step.json"
        self.pods.mkdir(parents=True)
        self.log.touch()
        self.endpoint = Endpoint(self.directory / "csi.sock")
        settings = {
            "root_dir": str(self.root),
            "csi_endpoint": str(self.endpoint),
            "node_id": "node-that-crashes",
            "pull_config": {"docker_config_dir": str(self.directory / "docker"), "retry_patience_in_seconds": 5},
            "features": {"disk_usage_limit": self.limit},
        }
        self.config = self.directory / "config.yaml"
        self.config.write_text(yaml.safe_dump(settings), encoding="utf-8")

    def mounted(self) -> dict[Path, Mount]:
        """What is mounted for pods, by mount point; of those stacked at one point the uppermost."""
        table = {Path(mount.point): mount for mount in self.mounts.table()}
        return {point: mount for point, mount in table.items() if point.is_relative_to(self.pods)}

    def recorded(self) -> set[Path]:
        """The targets of all records of volumes."""
        return {target for volume in Records(self.root / "volumes").all() for target in volume.targets}


class Driver:
    """A driver process on a node, from its start to its end, which it or somebody else brings about."""

    def __init__(self, launcher: Launcher, node: Node, fatal: Step | None) -> None:
        self._launcher = launcher
        self._node = node
        self._status: int | None = None
        self.started = time.time()  # seconds since the epoch
        order = {"config": node.config, "log": node.log, "note": node.note, "directory": node.directory}
        self._process = launcher.start(
            **{name: str(path) for name, path in order.items()}, fatal=asdict(fatal) if fatal else None
        )
        self._descriptor = os.pidfd_open(self._process)

    def is_dead(self, within: float = 0.0) -> bool:
        """Whether it has ended, or does so within so many seconds."""
        waiting = select.poll()
        waiting.register(self._descriptor, select.POLLIN)
        return bool(waiting.poll(within * 1000))

    def is_served(self) -> bool:
        """Wait until it answers; False if it died before."""
        rounds = 0
        while not self._node.endpoint.is_served():
            if self.is_dead(_SOON):
                return False
            rounds += 1
            if rounds * _SOON > _PATIENCE:
                raise Wrong("the driver does not serve")
        return True

    def kill(self) -> Step | None:
        """See to its death; the step that it died at by itself."""
        signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
        self._end(-signal.SIGKILL)
        note = self._node.note.read_bytes()
        return Step(**json.loads(note)) if note else None

    def stop(self) -> None:
        """Its orderly end."""
        signal.pidfd_send_signal(self._descriptor, signal.SIGTERM)
        self._end(0)

    def abandon(self) -> None:
        """For when something is wrong: it must not go on."""
        if self._status is None:
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
            self._status = self._launcher.wait(self._process)
            os.close(self._descriptor)

    def _end(self, expected: int) -> None:
        if not self.is_dead(_PATIENCE):
            raise Wrong("the driver does not end")
        self._status = self._launcher.wait(self._process)
        os.close(self._descriptor)
        if self._status != expected:
            raise Wrong(f"the driver ended with {self._status}, not with {expected}")


def content(directory: Path) -> dict[str, str]:
    """Of every file below `directory` its path and SHA-256."""
    found = {}
    for parent, _, names in os.walk(directory, onerror=_raise):
        for name in names:
            path = Path(parent, name)
            with path.open("rb") as file:
                found[str(path.relative_to(directory))] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _raise(error: OSError) -> None:
    raise error
