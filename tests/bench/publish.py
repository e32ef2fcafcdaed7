"""How long a pod waits for a model that the node holds, and a probe while a hundred pods wait for one that it does not.

`python -m tests.bench.publish [publishes]`, in a mount namespace of its own. The driver runs as a process of its own,
as on a node; what is measured is what kubelet would see at the socket.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from csi_driver.csi.client import Client
from csi_driver.csi.endpoint import Endpoint
from tests.conftest import enter_mount_namespace
from tests.fixtures.registry import EmbeddedRegistry

MODEL = {f"model-{n:05}.safetensors": os.urandom(1 << 20) for n in range(4)} | {
    "config.json": b"{}",
    "tokenizer.json": b"{}",
}
PODS = 100


@contextmanager
def running_driver(home: Path) -> Iterator[Endpoint]:
    endpoint = Endpoint.parse(str(home / "csi.sock"))
    config = home / "config.yaml"
    config.write_text(f"root_dir: {home}/root\ncsi_endpoint: {endpoint}\nlog_level: warning\n")
    process = subprocess.Popen([sys.executable, "-m", "csi_driver", "serve", "--config", str(config)])
    try:
        while not endpoint.is_served():
            if process.poll() is not None:
                raise SystemExit("the driver did not start")
            time.sleep(0.01)
        yield endpoint
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def quantile(seconds: list[float], share: float) -> str:
    return f"{sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * share))] * 1000:.2f} ms"


def timed(work: object, *arguments: object) -> float:
    begin = time.perf_counter()
    work(*arguments)  # type: ignore[operator]
    return time.perf_counter() - begin


def warm(client: Client, pods: Path, reference: str, count: int) -> None:
    client.publish("csi-first", pods / "first", {"modelRef": reference})
    publishes, unpublishes = [], []
    for n in range(count):
        target = pods / f"warm-{n}"
        publishes.append(timed(client.publish, f"csi-{n}", target, {"modelRef": reference}))
        unpublishes.append(timed(client.unpublish, f"csi-{n}", target))
    for name, seconds in (("warm publish", publishes), ("unpublish", unpublishes)):
        print(f"{name}: {count} times, median {quantile(seconds, 0.5)}, 99th percentile {quantile(seconds, 0.99)}")


def publish_all(endpoint: str, reference: str, targets: list[Path]) -> None:
    """What a kubelet does when many pods start at once; in a process of its own, so that it slows nobody else."""
    with Client(Endpoint.parse(endpoint)) as client:
        threads = [
            threading.Thread(target=client.publish, args=(f"cold-{n}", target, {"modelRef": reference}))
            for n, target in enumerate(targets)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def cold(client: Client, endpoint: Endpoint, registry: EmbeddedRegistry, pods: Path, reference: str) -> None:
    """A hundred pods ask at once; the registry holds the first body back until the probes were timed."""
    registry.gate.hold()
    targets = [pods / f"cold-{n}" for n in range(PODS)]
    kubelet = multiprocessing.get_context("spawn").Process(target=publish_all, args=(str(endpoint), reference, targets))
    kubelet.start()
    registry.gate.wait_until_held()
    waiting = [timed(client.probe) for _ in range(500)]
    begin = time.perf_counter()
    registry.gate.open()
    ending = []
    while kubelet.is_alive():
        ending.append(timed(client.probe))
    seconds = time.perf_counter() - begin
    blobs = registry.count("GET", "/v2/*/blobs/*")
    print(f"{PODS} cold publishes of one model: {seconds:.2f} s from its first byte, {blobs} blob requests")
    for name, probes in (("wait", waiting), ("are served", ending)):
        print(
            f"probe while they {name}: {len(probes)} times, median {quantile(probes, 0.5)}, worst {quantile(probes, 1)}"
        )
    for n, target in enumerate(targets):
        client.unpublish(f"cold-{n}", target)


def main() -> None:
    enter_mount_namespace()
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as name, EmbeddedRegistry() as registry:
        home = Path(name)
        pods = home / "pods"
        pods.mkdir()
        registry.push_model("bench/cold", "v1", MODEL)
        registry.push_model("bench/warm", "v1", {**MODEL, "config.json": b'{"warm": true}'})
        with running_driver(home) as endpoint, Client(endpoint) as client:
            cold(client, endpoint, registry, pods, registry.reference("bench/cold", "v1"))
            warm(client, pods, registry.reference("bench/warm", "v1"), count)
            client.unpublish("csi-first", pods / "first")
        subprocess.run(["chmod", "-R", "u+w", str(home / "root")], check=True)


if __name__ == "__main__":
    main()
