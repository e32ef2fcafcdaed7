"""Kills a process at every step that changes the disk, and looks at what the next one finds.

Run as `python -m tests.cache.crashes SCENARIO DIRECTORY`; fails with an assertion that names the step.
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from csi_driver.cache.layout import LayerId
from csi_driver.cache.references import References
from csi_driver.cache.store import Cache
from csi_driver.oci.digest import Digest
from tests.cache.shelf import (
    Link,
    assemble,
    bring_raw,
    bring_tree,
    everything_below,
    new_cache,
    raw_layer,
    receive_raw,
    receive_tree,
    shown,
    tree_layer,
)

CHANGES = {"os.rename", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.remove", "os.chmod", "os.utime"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

RAW = b"weights" * 1000
TREE: dict[str, bytes | Link] = {"a/b.py": b"b", "a/run.sh": b"#!", "link": Link("a/b.py")}
MODEL = {"weights": RAW, **TREE}
ONE, OTHER = Digest.of(b"one"), Digest.of(b"other")


@dataclass(frozen=True)
class Scenario:
    """What is there before, what is being done, and what must hold whenever it was interrupted."""

    prepare: Callable[[Cache], None]
    act: Callable[[Cache], None]
    check: Callable[[Cache], None]
    done: Callable[[Cache], None]
    limited: bool = False  # a cap that makes `collect` give up everything


def committed(cache: Cache) -> None:
    for layer, content in ((raw_layer("weights", RAW), {"": RAW}), (tree_layer(TREE), TREE)):
        path = cache.layer(LayerId.of(layer))
        assert path is not None
        assert ({"": path.read_bytes()} if path.is_file() else shown(path)) == content


def received(cache: Cache) -> None:
    receive_raw(cache, raw_layer("weights", RAW), RAW)
    receive_tree(cache, tree_layer(TREE), TREE)


def commit(cache: Cache) -> None:
    cache.commit(LayerId.of(raw_layer("weights", RAW)), mtime_ns=1)
    cache.commit(LayerId.of(tree_layer(TREE)))


def received_or_committed(cache: Cache) -> None:
    for layer in (raw_layer("weights", RAW), tree_layer(TREE)):
        if cache.layer(LayerId.of(layer)) is None:
            assert (cache.ingest(LayerId.of(layer)) / "content").exists()


def brought(cache: Cache) -> None:
    bring_raw(cache, "weights", RAW)
    bring_tree(cache, TREE)


def make(cache: Cache) -> None:
    assemble(cache, "key", raw_layer("weights", RAW), tree_layer(TREE))


def whole_or_absent(cache: Cache) -> None:
    for snapshot in cache.snapshots():
        assert shown(snapshot.tree) == MODEL
    assert {path.name for path in cache.places.snapshots.iterdir()} <= {"key"}
    assert everything_below(cache.places.ingests) == []


def whole(cache: Cache) -> None:
    snapshot = cache.snapshot("key")
    assert snapshot is not None
    assert shown(snapshot.tree) == MODEL
    assert snapshot.files == len(MODEL)


def made(cache: Cache) -> None:
    brought(cache)
    make(cache)


def collect(cache: Cache) -> None:
    cache.collect()
    cache.empty_trash()


def empty(cache: Cache) -> None:
    assert cache.inventory().bytes == 0
    assert everything_below(cache.places.snapshots) == []


def references(cache: Cache) -> References:
    return References(cache.places.references)


def remembered(cache: Cache) -> None:
    references(cache).remember("model", "alice", ONE)
    cache.put_manifest(ONE, b"one")


def remember(cache: Cache) -> None:
    references(cache).remember("model", "alice", OTHER)
    cache.put_manifest(OTHER, b"other")


def one_or_other(cache: Cache) -> None:
    found = references(cache).recall("model", "alice")
    assert found is not None
    assert found.digest in (ONE, OTHER)
    assert cache.manifest(ONE) == b"one"
    assert cache.manifest(OTHER) in (None, b"other")
    assert len(everything_below(cache.places.references)) == 1


def other(cache: Cache) -> None:
    found = references(cache).recall("model", "alice")
    assert found is not None
    assert found.digest == OTHER
    assert cache.manifest(OTHER) == b"other"


def nothing(cache: Cache) -> None:
    del cache


SCENARIOS = {
    "open": Scenario(nothing, nothing, nothing, empty),
    "commit": Scenario(received, commit, received_or_committed, committed),
    "assemble": Scenario(brought, make, whole_or_absent, whole),
    "collect": Scenario(made, collect, whole_or_absent, empty, limited=True),
    "remember": Scenario(remembered, remember, one_or_other, other),
}


def kill_at(step: int) -> None:
    """Have this process killed just before the change of that number."""
    left = step

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        changes = event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING)
        if changes:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def survives(scenario: Scenario, root: Path, step: int) -> bool:
    """Interrupt the scenario at one step and check; whether it came to its end before that."""
    max_bytes = int(scenario.limited)
    if scenario.prepare is not nothing:
        scenario.prepare(new_cache(root))
    child = os.fork()
    if child == 0:
        kill_at(step)
        scenario.act(new_cache(root, max_bytes=max_bytes))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), f"step {step}: status {status}"
    later = new_cache(root, max_bytes=max_bytes)
    later.recover()
    later.empty_trash()
    scenario.check(later)
    scenario.act(later)
    scenario.done(later)
    assert everything_below(later.places.trash) == []
    return status == 0


def main(name: str, directory: Path) -> None:
    step = 1
    while not survives(SCENARIOS[name], directory / str(step), step):
        step += 1
    print(step - 1)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
