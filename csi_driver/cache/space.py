"""Room on the disk, promised to one pull at a time before its first byte is fetched."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from csi_driver.cache.gc import Inventory
from csi_driver.cache.layout import LayerId
from csi_driver.errors import NoSpace
from csi_driver.host.files import Usage
from csi_driver.inflight import Lock

_LEAST_FREE = 256 << 20  # bytes; a filesystem without any free space is slow, and other programs break on it


class Space:
    """What the disk, and the cap on the cache, still have room for.

    A layer that two pulls wait for counts once, and of every layer only what is not on the disk yet. `max_bytes` caps
    what the cache holds, 0 means no cap; `keep_free` bytes of the filesystem stay free, by default 1 % of it but at
    most 256 MiB. `make_room` gives up at least so many bytes, or nothing.
    """

    def __init__(
        self,
        *,
        usage: Callable[[], Usage],
        inventory: Callable[[], Inventory],
        make_room: Callable[[int], object],
        max_bytes: int = 0,
        keep_free: int | None = None,
    ) -> None:
        self._usage = usage
        self._inventory = inventory
        self._make_room = make_room
        self._max_bytes = max_bytes
        self._keep_free = keep_free
        self._deciding = Lock()  # one decision at a time: two pulls must not count on the same room
        self._lock = Lock()
        self._promised: dict[object, Mapping[LayerId, int]] = {}

    @contextmanager
    def reserve(self, needs: Mapping[LayerId, int]) -> Iterator[None]:
        """Room for layers of these sizes in bytes, until the block ends; layers that are here need none.

        Raises `NoSpace` with all the numbers when there is too little even after giving up what is not in use.
        """
        token = object()
        with self._deciding:
            short = self._shortage(needs)
            if short > 0:
                self._make_room(short)
                self._refuse_shortage(needs)
            with self._lock:
                self._promised[token] = dict(needs)
        try:
            yield
        finally:
            with self._lock:
                del self._promised[token]

    def excess(self, held: int) -> int:
        """Bytes by which a cache that holds so many is over its cap, or the disk is under its reserve."""
        over = held - self._max_bytes if self._max_bytes else 0
        usage = self._usage()
        return max(0, over, self._kept_free(usage) - usage.available)

    def _shortage(self, needs: Mapping[LayerId, int]) -> int:
        inventory, usage = self._inventory(), self._usage()
        wanted = _missing((*self._promises(), needs), inventory)
        if wanted == _missing(self._promises(), inventory):
            return 0  # all of it is on the disk or promised already: whatever is short, this pull does not need it
        on_disk = wanted + self._kept_free(usage) - usage.available
        under_cap = wanted + inventory.bytes - self._max_bytes if self._max_bytes else 0
        return max(on_disk, under_cap)

    def _refuse_shortage(self, needs: Mapping[LayerId, int]) -> None:
        short = self._shortage(needs)
        if short <= 0:
            return
        inventory, usage = self._inventory(), self._usage()
        promised = _missing(self._promises(), inventory)
        wanted = _missing((*self._promises(), needs), inventory) - promised
        cap = f", of at most {_size(self._max_bytes)}" if self._max_bytes else ""
        raise NoSpace(
            f"the model needs {_size(wanted)} more, {_size(short)} too much: the disk has {_size(usage.available)} "
            f"free and keeps {_size(self._kept_free(usage))} of it, {_size(promised)} are promised to other pulls, the "
            f"cache holds {_size(inventory.bytes)}{cap}, {_size(inventory.bytes_in_use)} of it in use; "
            "stop pods that use other models, or give the cache more room"
        )

    def _promises(self) -> list[Mapping[LayerId, int]]:
        with self._lock:
            return list(self._promised.values())

    def _kept_free(self, usage: Usage) -> int:
        return min(usage.total // 100, _LEAST_FREE) if self._keep_free is None else self._keep_free


def _missing(promises: Iterable[Mapping[LayerId, int]], inventory: Inventory) -> int:
    """Bytes still to be written until all promised layers are here."""
    sizes: dict[LayerId, int] = {}
    for promise in promises:
        for layer, size in promise.items():
            sizes[layer] = max(size, sizes.get(layer, 0))
    return sum(
        max(0, size - _present(layer, inventory)) for layer, size in sizes.items() if layer not in inventory.layers
    )


def _present(layer: LayerId, inventory: Inventory) -> int:
    held = inventory.ingests.get(layer)
    return held.bytes if held else 0


def _size(count: int) -> str:
    """Bytes for people."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.4g} {unit}"
        amount /= 1024
    return f"{amount:.4g} TiB"
