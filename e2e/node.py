"""A node of its own: the real driver as a process in a private mount namespace, with all that it mounts."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import yaml

from csi_driver.csi.pb import csi_pb2, csi_pb2_grpc
from e2e import programs
from e2e.waiting import PATIENCE

COMMAND = Path(sys.executable).with_name("model-csi")
# unshare(1) makes way for the driver, so the driver's process id names the namespaces as well.
ENTER_AS_ROOT = ["unshare", "--mount", "--propagation", "private"]
ENTER_AS_USER = ["unshare", "--user", "--map-root-user", "--mount"]


@dataclass(frozen=True, slots=True)
class Node:
    """The running driver. Everything of it is below `directory`."""

    directory: Path
    driver: int

    @property
    def endpoint(self) -> str:
        return f"unix://{self.directory}/csi.sock"

    def target(self, pod: str) -> Path:
        """Where a kubelet would want the volume of a pod; the parent directory is there, the target is not."""
        target = self.directory / "pods" / pod / "volumes" / "model" / "mount"
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def seen(self, path: Path) -> Path:
        """The path by which this process sees what the node has at `path`."""
        return Path(f"/proc/{self.driver}/root{path}")

    def inside(self, *command: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command among the node's mounts; the caller looks at how it ended."""
        user = [] if os.getuid() == 0 else ["--user", "--preserve-credentials"]
        enter: list[str | Path] = ["nsenter", "--target", str(self.driver), *user, "--mount", "--"]
        return subprocess.run([*enter, *command], capture_output=True, text=True, timeout=timeout, check=False)

    def model_csi(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the command line against this driver; the caller looks at how it ended."""
        command: list[str | Path] = [COMMAND, "--endpoint", self.endpoint, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    def mount(self, reference: str, pod: str, *options: str | Path) -> Path:
        """Mount a model for a pod as a kubelet would; where the content is seen."""
        target = self.target(pod)
        succeeded(self.model_csi("mount", reference, target, *options))
        return self.seen(target)

    def umount(self, pod: str) -> None:
        succeeded(self.model_csi("umount", self.target(pod)))

    def mounts(self) -> list[str]:
        """The mount points below the node's directory."""
        table = Path(f"/proc/{self.driver}/mountinfo").read_text(encoding="utf-8").splitlines()
        return [point for point in (line.split()[4] for line in table) if point.startswith(f"{self.directory}/")]


@contextmanager
def running(
    directory: Path, *, docker_config: Path | None = None, hosts_dir: Path | None = None, metrics_addr: str = ""
) -> Iterator[Node]:
    """The driver from its readiness to its orderly end."""
    pull = {"docker_config_dir": str(docker_config or directory / "no-credentials"), "hosts_dir": str(hosts_dir or "")}
    configuration = _configuration(directory, pull, metrics_addr)
    enter = ENTER_AS_ROOT if os.getuid() == 0 else ENTER_AS_USER
    with (directory / "driver.log").open("wb") as log:
        process = subprocess.Popen(
            [*enter, COMMAND, "serve", "--config", configuration], stdout=log, stderr=subprocess.STDOUT
        )
    node = Node(directory=directory, driver=process.pid)
    try:
        _wait_until_ready(node, process)
        yield node
        code = programs.end(process)
        assert code == 0, f"it ended with {code}:\n" + (directory / "driver.log").read_text(encoding="utf-8")
    finally:
        process.kill()
        process.wait()


def succeeded(process: subprocess.CompletedProcess[str]) -> str:
    """The standard output of a process that ended well."""
    assert process.returncode == 0, f"{process.args} ended with {process.returncode}:\n{process.stdout}{process.stderr}"
    return process.stdout


def content(directory: Path) -> dict[str, tuple[str, bool]]:
    """What a directory holds: of every file its path, its SHA-256 and whether it may be executed."""
    files = (path for path in sorted(directory.rglob("*")) if not path.is_dir())
    return {str(path.relative_to(directory)): (_sha256(path), bool(path.stat().st_mode & 0o100)) for path in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _configuration(directory: Path, pull: dict[str, str], metrics_addr: str) -> Path:
    settings = {
        "service_name": "model.csi.modelpack.org",
        "root_dir": str(directory / "root"),
        "csi_endpoint": f"unix://{directory}/csi.sock",
        "node_id": "node-of-its-own",
        "metrics_addr": metrics_addr,
        "pull_config": pull,
    }
    path = directory / "config.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def _wait_until_ready(node: Node, process: subprocess.Popen[bytes]) -> None:
    options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100)]
    with grpc.insecure_channel(node.endpoint, options=options) as channel:
        probe = csi_pb2_grpc.IdentityStub(channel).Probe
        for _ in range(int(PATIENCE)):
            try:
                probe(csi_pb2.ProbeRequest(), wait_for_ready=True, timeout=1)
            except grpc.RpcError:
                if process.poll() is not None:
                    break
            else:
                return
    log = (node.directory / "driver.log").read_text(encoding="utf-8")
    raise AssertionError(f"the driver does not answer; it ended with {process.poll()} and said:\n{log}")
