"""What must hold of a node at any moment, after a recovery, and when all pods have gone."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from csi_driver.cache.limits import Limits
from csi_driver.cache.store import Cache
from csi_driver.host.files import exclusive_lock
from csi_driver.inflight import Stop, spawn
from e2e.crash.node import Driver, Node, Wrong
from e2e.crash.pods import Place

_ROUNDS, _PAUSE = 6000, 0.01  # of waiting for the trash to be empty; seconds
_TRANSIENT = ("layers", "snapshots", "ingest", "trash")
_PROMPTLY_CLEANED = (
    "",
    "origins",
    "references",
    "volumes",
    "pins",
    "wanted",
    "proofs",
)  # of what a write that was killed left there


@contextmanager
def being_read(places: Iterable[Place]) -> Iterator[None]:
    """Until the end of the block somebody reads all that running pods see, again and again, whatever happens."""
    stop = Stop()

    def read() -> None:
        while not stop.wait(_PAUSE):
            for place in places:
                if pod := place.pod:
                    with pod.lock:
                        if pod.runs:
                            pod.look()

    reader = spawn("reader", read)
    try:
        yield
    finally:
        stop.set()
        reader.exception(60.0)
    reader.result()


def mounts_are_right(node: Node, places: Iterable[Place]) -> None:
    """With the driver dead: every mount shows exactly what its pod asked for, and nobody can write there."""
    pods = {place.pod.target: place.pod for place in places if place.pod}
    for point, mount in node.mounted().items():
        if point not in pods:
            raise Wrong(f"{point} is mounted, and its pod has gone")
        if not mount.is_read_only:
            raise Wrong(f"{point} is mounted writable")
        pods[point].look()
    for pod in pods.values():
        if pod.runs:
            pod.look()


def is_recovered(node: Node, driver: Driver) -> None:
    """With a driver that has just begun to serve: records and mounts tell the same, and nothing is half made.

    But for what this driver has begun by itself: it goes on with pulls of the one before.
    """
    mounted, recorded = set(node.mounted()), node.recorded()
    if mounted != recorded:
        raise Wrong(f"mounted only: {sorted(mounted - recorded)}, recorded only: {sorted(recorded - mounted)}")
    half = [path for path in (node.root / "ingest").iterdir() if not _can_go_on(path, driver.started)]
    for name in _PROMPTLY_CLEANED:
        half += (node.root / name).glob(".new-*")
    if half:
        raise Wrong(f"left half made: {sorted(half)}")


def _can_go_on(ingest: Path, started: float) -> bool:
    """Whether a journal tells the next attempt how far this one, or the one before, came; or it is under way."""
    try:
        under_way = ingest.stat().st_mtime >= started
    except FileNotFoundError:
        return True  # it is whole meanwhile
    return under_way or any((ingest / name).exists() for name in ("journal", "previous/journal"))


def is_empty(node: Node, driver: Driver) -> None:
    """With the driver alive and no pods: nothing is mounted, recorded or on its way to be removed."""
    left: list[Path] = [*node.mounted(), *node.recorded(), *node.pods.iterdir(), *(node.root / "volumes").iterdir()]
    if left:
        raise Wrong(f"left of pods that have gone: {left}")
    for _ in range(_ROUNDS):
        if not any((node.root / "trash").iterdir()):
            return
        if driver.is_dead(_PAUSE):
            break
    raise Wrong(f"the trash is not removed: {sorted((node.root / 'trash').iterdir())}")


def nothing_leaks(node: Node) -> None:
    """With the driver stopped: what the cache holds is true, and all of it is within the collector's reach."""
    with exclusive_lock(node.root / "lock"):
        for path in (node.root / "layers").glob("*/*/*.raw"):
            with path.open("rb") as file:
                if hashlib.file_digest(file, path.parent.parent.name).hexdigest() != path.stem:
                    raise Wrong(f"the layer {path} is not what its name says")
        ready = {path.name for path in (node.root / "layers").glob("*/*/*")}
        unfinished = {path.name.partition("-")[2] for path in (node.root / "ingest").iterdir()}
        if ready & unfinished:
            raise Wrong(f"layers that are here are unfinished as well: {sorted(ready & unfinished)}")
        cache = Cache(node.root, in_use=set, limits=lambda: Limits(max_bytes=1))
        cache.collect()
        cache.empty_trash()
    leaked = {path: size for name in _TRANSIENT for path, size in _files(node.root / name)}
    if sum(leaked.values()):
        raise Wrong(f"out of the collector's reach: {leaked}")


def log_is_clean(node: Node) -> None:
    """No driver ever met what it did not expect."""
    text = node.log.read_text(encoding="utf-8")
    if "Traceback" in text or " error " in text:
        raise Wrong("the log tells of something unexpected")


def _files(directory: Path) -> Iterator[tuple[Path, int]]:
    for parent, _, names in os.walk(directory):
        for name in names:
            path = Path(parent, name)
            yield path, path.lstat().st_size
