"""The threads of a transfer: where there are none to be had, and where one breaks off what another is leaving."""

import os
import threading
from concurrent.futures import Future

import pytest

from csi_driver.errors import Unavailable
from csi_driver.inflight import spawn
from csi_driver.oci.digest import Digest
from csi_driver.oci.media import Packing
from csi_driver.transfer.bandwidth import Bandwidth
from csi_driver.transfer.progress import Progress
from csi_driver.transfer.source import Blob
from csi_driver.transfer.stream import Patience, Stream
from tests.transfer.archives import gzipped
from tests.transfer.conftest import SMALL, Bench
from tests.transfer.sources import MemoryBody, MemorySource
from tests.transfer.test_split import SPLIT, Ranges

DATA = os.urandom(40 * SMALL + 1234)


@pytest.mark.parametrize("stage", ["read", "hash", "write", "decompress", "unpack"])
def test_without_threads_a_transfer_fails_and_leaves_nothing_behind(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.endswith(f"-{stage}"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    packing = Packing.RAW if stage == "write" else Packing.TAR_GZIP
    with pytest.raises(Unavailable, match=r"no thread for a transfer.*can't start new thread"):
        bench.fetch(gzipped(DATA), packing)


def test_a_connection_is_not_let_go_while_it_is_broken_off(bench: Bench) -> None:
    """By the next moment it may carry another request, which would be broken off instead."""
    gone = threading.Event()

    class Body(MemoryBody):
        def abort(self) -> None:
            closing.append(spawn("close", stream.close))
            assert not gone.wait(0.05)

        def __exit__(self, *_: object) -> None:
            gone.set()

    class Once(MemorySource):
        def open(self, start: int, stop: int | None, /, *, briefly: bool = False) -> MemoryBody:
            return Body(self.data, self)

    closing: list[Future[None]] = []
    blob = Blob(Digest.of(DATA), len(DATA), Packing.RAW)
    stream = Stream(
        blob, Once(DATA), 0, len(DATA), patience=Patience(), arrived=lambda _: None, bandwidth=Bandwidth(lambda: 0)
    )
    stream.fill(memoryview(bytearray(1000)))
    stream.ask_again()
    closing[0].result(30)
    assert gone.is_set()


def test_a_thread_that_cannot_be_had_is_done_without(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.endswith("-range") and len(granted) == 2:
            raise RuntimeError("can't start new thread")
        if thread.name.endswith("-range"):
            granted.append(thread)
        start(thread)

    granted: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", refuse)
    bench.splitting, bench.connections = SPLIT, 5
    engine = bench.engine
    for number in range(3):
        granted.clear()
        (bench.into / f"{number}").mkdir()
        blob, progress = Blob(Digest.of(DATA), len(DATA), Packing.RAW), Progress(len(DATA))
        engine.fetch(blob, Ranges(DATA), bench.into / f"{number}", progress=progress, stop=bench.stop)
        assert len(granted) == 2  # every time anew: no connection was lost with the thread
        assert (bench.into / f"{number}" / "content").read_bytes() == DATA
