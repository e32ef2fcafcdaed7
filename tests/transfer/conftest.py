"""What tests of transfers share: an engine whose buffers and threads are counted when the test is over."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csi_driver.errors import UnsupportedArtifact
from csi_driver.inflight import Stop
from csi_driver.oci.digest import Digest
from csi_driver.oci.media import Packing
from csi_driver.oci.part import Part
from csi_driver.transfer.buffers import BufferPool
from csi_driver.transfer.engine import Engine
from csi_driver.transfer.limits import Grant, Limits, anything
from csi_driver.transfer.progress import Progress
from csi_driver.transfer.source import Blob, Fetched, Source
from csi_driver.transfer.splitting import Splitting
from csi_driver.transfer.stream import Patience
from tests.transfer.sources import MemorySource

SMALL = 64 << 10


class Bench:
    """An engine with small buffers, and an empty directory for what it fetches."""

    def __init__(self, into: Path) -> None:
        self.into = into
        self.content = into / "content"
        self.arriving = BufferPool(count=6, size=SMALL)
        self.unpacked = BufferPool(count=2, size=SMALL)
        self.limits = Limits()
        self.patience = Patience(attempts=3, pause=0.0)
        self.splitting = Splitting()
        self.connections = 16
        self.bandwidth: Callable[[], int] = lambda: 0
        self.mark_every = 2 * SMALL
        self.stop = Stop()
        self.part: Part | None = None
        self.grant: Grant = anything
        self.progress = Progress(0)

    @property
    def engine(self) -> Engine:
        return Engine(
            arriving=self.arriving,
            unpacked=self.unpacked,
            limits=lambda: self.limits,
            patience=self.patience,
            mark_every=self.mark_every,
            splitting=self.splitting,
            connections=self.connections,
            bandwidth=self.bandwidth,
        )

    def fetch(
        self, data: bytes, packing: Packing = Packing.TAR, *, source: Source | None = None, digest: Digest | None = None
    ) -> Fetched:
        """Fetch `data`; `digest` is what it is said to be, `source` where it comes from instead of from memory."""
        blob = Blob(digest or Digest.of(data), len(data), packing, self.part)
        self.progress = Progress(blob.size)
        return self.engine.fetch(
            blob, source or MemorySource(data), self.into, progress=self.progress, stop=self.stop, grant=self.grant
        )

    def refuses(self, data: bytes, packing: Packing = Packing.TAR, *, match: str | None = None) -> None:
        """The archive is refused; nothing of it is left, and nothing was written beside it."""
        with pytest.raises(UnsupportedArtifact, match=match):
            self.fetch(data, packing)
        assert list(self.into.iterdir()) == []
        assert list(self.into.parent.iterdir()) == [self.into]

    def tree(self) -> dict[str, bytes | str | None]:
        """What was unpacked: bytes of files, targets of links, None for directories."""
        return tree(self.content)


def tree(root: Path) -> dict[str, bytes | str | None]:
    found: dict[str, bytes | str | None] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = path.read_bytes() if path.is_file() else None
    return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """However a transfer ends, it leaves neither a thread nor a held buffer behind."""
    into = tmp_path / "into"
    into.mkdir()
    bench = Bench(into)
    yield bench
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("fetch-")] == []
    assert bench.arriving.free == bench.arriving.count
    assert bench.unpacked.free == bench.unpacked.count
