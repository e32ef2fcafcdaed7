"""Numbers the steps by which a driver changes its disk and its mounts, and kills it at one of them.

The driver knows nothing of this: Python itself tells of most of its system calls (PEP 578), and the few calls of which
it does not tell are wrapped.
"""

import inspect
import itertools
import json
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from csi_driver.app import Driver, run
from csi_driver.cache.layers import Layers
from csi_driver.cache.references import References
from csi_driver.cache.space import Space
from csi_driver.cache.store import Cache
from csi_driver.host.kernel import Kernel
from csi_driver.puller.artifact import Artifacts
from csi_driver.puller.intents import Intents
from csi_driver.puller.resolver import Resolver
from csi_driver.verifier.verifier import Verifier
from csi_driver.volumes.collector import Collector
from csi_driver.volumes.predecessor import Predecessor
from csi_driver.volumes.publisher import Publisher

ANY = "any"
CHANGES = {"os.rename", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "os.remove", "os.chmod", "os.utime",
           "os.truncate"}  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
MOUNT, WRITE = "mount", "write"
MOVE_MOUNT = 429  # the one of the calls by number that changes what is mounted


@dataclass(frozen=True, slots=True)
class Step:
    """What the driver was about to do, as part of which work, and its number among the steps of that kind."""

    kind: str
    number: int
    event: str = ""
    function: str = ""


class Steps:
    """Counts the steps below `directory`; at `fatal` (of kind `ANY`: whatever its kind) it notes it and is killed.

    What is written when the step comes is written by half.
    """

    def __init__(self, fatal: Step | None, directory: Path, note: Path) -> None:
        self._fatal = fatal
        self._below = f"{directory}/"
        self._note = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._write = os.write
        self._kinds = _kinds()
        self._counts: dict[str, itertools.count[int]] = defaultdict(lambda: itertools.count(1))

    def install(self) -> None:
        """From now on, and until the process ends."""
        self._wrap_writes()
        self._wrap_mounts()
        sys.addaudithook(self._watch)

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        changes = event in CHANGES or (event == "open" and arguments[2] & WRITING)
        if changes and self._is_ours(arguments[0]):
            self._take(event)

    def _is_ours(self, place: object) -> bool:
        """Whether it lies on the node: a descriptor, an absolute path, or one relative to a directory of its trees."""
        if isinstance(place, int):
            return os.readlink(f"/proc/self/fd/{place}").startswith(self._below)
        path = os.fsdecode(place) if isinstance(place, str | bytes | os.PathLike) else ""
        return not path.startswith("/") or path.startswith(self._below)

    def _take(self, event: str, last: Callable[[], object] | None = None) -> None:
        kind, function = self._whose(sys._getframe(1))
        number = next(self._counts[kind])
        overall = next(self._counts[ANY])
        fatal = self._fatal
        if fatal and (fatal.kind, fatal.number) in ((kind, number), (ANY, overall)):
            if last:
                last()
            step = Step(kind, number, event, function)
            self._write(self._note, json.dumps(asdict(step)).encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def _whose(self, frame: FrameType | None) -> tuple[str, str]:
        """Which part of the driver's work takes the step, and the driver's function that does."""
        function = ""
        while frame is not None:
            module = frame.f_globals.get("__name__", "")
            if module.startswith("csi_driver."):
                function = function or f"{module.removeprefix('csi_driver.')}.{frame.f_code.co_name}"
            if module.startswith("csi_driver.transfer."):
                return "pull", function
            if kind := self._kinds.get(frame.f_code):
                return kind, function
            frame = frame.f_back
        return "other", function

    def _wrap_writes(self) -> None:
        def torn(write: Callable[..., int]) -> Callable[..., int]:
            def wrapped(descriptor: int, data: Any, *rest: int) -> int:
                def half() -> None:
                    with suppress(OSError):  # direct I/O takes whole blocks only
                        write(descriptor, memoryview(data)[: len(data) // 2], *rest)

                if self._is_ours(descriptor):
                    self._take(WRITE, half)
                return write(descriptor, data, *rest)

            return wrapped

        for name in ("write", "pwrite"):
            setattr(os, name, torn(getattr(os, name)))

    def _wrap_mounts(self) -> None:
        def counted(call: Callable[..., Any], changes: Callable[..., bool]) -> Callable[..., Any]:
            def wrapped(kernel: Kernel, *arguments: Any) -> Any:
                if changes(*arguments):
                    self._take(MOUNT)
                return call(kernel, *arguments)

            return wrapped

        for name in (Kernel.mount.__name__, Kernel.umount.__name__):
            setattr(Kernel, name, counted(getattr(Kernel, name), lambda *_: True))
        name = Kernel.call.__name__
        setattr(Kernel, name, counted(getattr(Kernel, name), lambda number, *_: number == MOVE_MOUNT))


def _kinds() -> dict[CodeType, str]:
    """The functions by which a step is known: it belongs to the innermost of them that is being called."""
    functions: dict[str, tuple[Callable[..., Any], ...]] = {
        "recover": (run, Driver.__init__, Driver.start),
        "clean": (Cache.sweep,),
        "resolve": (Resolver.resolve, Artifacts.read, Cache.put_manifest, References.remember),
        "pull": (Layers.ingest, Cache.discard, Cache.served, Intents.put, Intents.drop),
        "commit": (Cache.commit,),
        "assemble": (Cache.assemble,),
        "collect": (Space.reserve, Cache.collect),
        "publish": (Publisher.publish,),
        "unpublish": (Publisher.unpublish,),
        "verify": (Verifier.verify,),
        "gc": (Collector.collect,),
        "adopt": (Predecessor.give_back, Predecessor.take_over),
    }
    return {inspect.unwrap(each).__code__: kind for kind, them in functions.items() for each in them}
