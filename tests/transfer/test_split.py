"""A slow stream is split over more connections, and whatever these do, the blob arrives in order and whole."""

import gc
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Barrier, Event, Lock, current_thread
from types import TracebackType

import pytest

from csi_driver.errors import AccessDenied, RangeIgnored, Stopping, Unavailable
from csi_driver.inflight import spawn
from csi_driver.oci.digest import Digest
from csi_driver.oci.media import Packing
from csi_driver.transfer.progress import Progress
from csi_driver.transfer.source import Blob
from csi_driver.transfer.split import Split
from csi_driver.transfer.splitting import Connections, Growth, Pace, Splitting
from tests.transfer.archives import END, gzipped, member, zstd
from tests.transfer.conftest import SMALL, Bench
from tests.transfer.sources import MemoryBody, MemorySource

SPLIT = Splitting(slow=float("inf"), after=0.0, first=4, look_every=3600.0, stalled_after=3600.0)
DATA = os.urandom(40 * SMALL + 1234)
FILES = {f"f{number}": os.urandom(170_000) for number in range(10)}
ARCHIVE = b"".join(member(name, data) for name, data in FILES.items()) + END


class Ranges(MemorySource):
    """A source whose answers a test can treat one by one: all that is called is told where they start."""

    def __init__(
        self,
        data: bytes,
        *,
        on_open: Callable[[int, int], None] = lambda start, number: None,
        on_read: Callable[[int, MemoryBody], None] = lambda start, body: None,
        on_close: Callable[[int], None] = lambda start: None,
        step: int = 1 << 30,
    ) -> None:
        super().__init__(data, step=step)
        self.on_open = on_open
        self.on_read = on_read
        self.on_close = on_close
        self._counts: dict[int, int] = {}
        self._lock = Lock()

    def open(self, start: int, stop: int | None, /, *, briefly: bool = False) -> MemoryBody:
        with self._lock:
            number = self._counts[start] = self._counts.get(start, 0) + 1
            self.opened.append((start, stop))
            self.open_bodies += 1
        try:
            self.on_open(start, number)
        except BaseException:
            with self._lock:
                self.open_bodies -= 1
            raise
        return _Body(self.data[start:stop], self, start)


class _Body(MemoryBody):
    def __init__(self, data: bytes, source: Ranges, start: int) -> None:
        super().__init__(data, source)
        self._start = start
        self._ranges = source
        self.gone = Event()

    def readinto(self, view: memoryview, /) -> int:
        self._ranges.on_read(self._start, self)
        return super().readinto(view)

    def abort(self) -> None:
        super().abort()
        self.gone.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        super().__exit__(kind, error, trace)
        self._ranges.on_close(self._start)


@pytest.fixture
def splitting(bench: Bench) -> Bench:
    bench.splitting = SPLIT
    return bench


def test_a_fast_stream_stays_one_request(bench: Bench) -> None:
    bench.splitting = replace(SPLIT, slow=0.0)
    source = Ranges(DATA)
    bench.fetch(DATA, Packing.RAW, source=source)
    assert source.opened == [(0, None)]


def test_a_slow_stream_is_split_into_ranges_of_a_buffer(splitting: Bench) -> None:
    source = Ranges(DATA)
    splitting.fetch(DATA, Packing.RAW, source=source)
    assert splitting.content.read_bytes() == DATA
    ranges = [(start, min(start + SMALL, len(DATA))) for start in range(2 * SMALL, len(DATA), SMALL)]
    assert source.opened[0] == (0, None)
    assert sorted(source.opened[1:]) == ranges
    assert splitting.progress.fetched == len(DATA)
    assert source.open_bodies == 0


def test_ranges_come_over_several_connections_at_once(splitting: Bench) -> None:
    meeting = Barrier(4, timeout=30)

    def meet(start: int, number: int) -> None:
        if 2 * SMALL <= start < 6 * SMALL:
            meeting.wait()

    splitting.fetch(DATA, Packing.RAW, source=Ranges(DATA, on_open=meet))
    assert splitting.content.read_bytes() == DATA


@pytest.mark.parametrize(
    ("packing", "data"),
    [(Packing.TAR, ARCHIVE), (Packing.TAR_GZIP, gzipped(ARCHIVE)), (Packing.TAR_ZSTD, zstd(ARCHIVE))],
)
def test_a_layer_is_unpacked_from_ranges(splitting: Bench, packing: Packing, data: bytes) -> None:
    source = Ranges(data)
    splitting.fetch(data, packing, source=source)
    assert splitting.tree() == FILES
    assert len(source.opened) > 10


def test_a_short_rest_is_not_worth_a_split(splitting: Bench) -> None:
    source = Ranges(DATA[: 9 * SMALL])
    splitting.fetch(DATA[: 9 * SMALL], Packing.RAW, source=source)
    assert source.opened == [(0, None)]


def test_no_split_without_connections_to_spare(splitting: Bench) -> None:
    splitting.connections = 1
    source = Ranges(DATA)
    splitting.fetch(DATA, Packing.RAW, source=source)
    assert source.opened == [(0, None)]


def test_connections_that_are_never_to_be_had_cost_no_memory(splitting: Bench) -> None:
    """A layer that takes hours would have more at every buffer."""

    def count(start: int, body: MemoryBody) -> None:
        splits.append(sum(isinstance(one, Split) for one in gc.get_objects()))

    splits: list[int] = []
    splitting.connections = 1
    splitting.fetch(DATA, Packing.RAW, source=Ranges(DATA, on_read=count))
    assert splits[-1] <= splits[0] + 1


def test_a_split_makes_do_with_the_connections_there_are(splitting: Bench) -> None:
    splitting.connections = 2
    source = Ranges(DATA)
    splitting.fetch(DATA, Packing.RAW, source=source)
    assert len(source.opened) == 40
    assert splitting.content.read_bytes() == DATA


def test_a_server_that_refuses_ranges_is_not_begun_anew(splitting: Bench) -> None:
    def refuse(start: int, number: int) -> None:
        if start:
            raise RangeIgnored("only whole blobs here")

    source = Ranges(DATA, on_open=refuse)
    splitting.fetch(DATA, Packing.RAW, source=source)
    assert splitting.content.read_bytes() == DATA
    assert source.opened.count((0, None)) == 1


def test_a_server_that_begins_to_refuse_ranges_is_heard_out(splitting: Bench) -> None:
    def refuse(start: int, number: int) -> None:
        if start >= 20 * SMALL:
            raise RangeIgnored("no more")

    source = Ranges(DATA, on_open=refuse)
    splitting.fetch(DATA, Packing.RAW, source=source)
    assert splitting.content.read_bytes() == DATA
    assert source.opened.count((0, None)) == 2
    assert splitting.progress.fetched >= len(DATA)


@pytest.mark.parametrize("borne", [0, 20])
def test_a_server_that_bears_no_more_connections_is_left_with_one(splitting: Bench, borne: int) -> None:
    """As nginx does with `limit_conn`: what comes over the first is answered, and what is beyond that never."""

    def refuse(start: int, number: int) -> None:
        if start >= borne * SMALL and current_thread().name.endswith("-range"):
            raise Unavailable("too many connections")

    source = Ranges(DATA, on_open=refuse)
    splitting.fetch(DATA, Packing.RAW, source=source)
    assert splitting.content.read_bytes() == DATA
    assert source.open_bodies == 0


def test_only_the_range_that_broke_is_asked_for_again(splitting: Bench) -> None:
    broken: list[int] = []

    def break_off(start: int, body: MemoryBody) -> None:
        if start == 7 * SMALL and len(broken) < 2:
            broken.append(start)
            raise Unavailable("broken")

    source = Ranges(DATA, on_read=break_off)
    splitting.fetch(DATA, Packing.RAW, source=source)
    assert splitting.content.read_bytes() == DATA
    assert len(source.opened) == len(set(source.opened)) + 2
    assert source.opened.count((7 * SMALL, 8 * SMALL)) == 3


def test_a_range_that_lags_behind_is_asked_for_again(splitting: Bench) -> None:
    splitting.splitting = replace(SPLIT, look_every=0.001, stalled_after=0.0, first=3)
    hung: list[int] = []

    def hang(start: int, body: MemoryBody) -> None:
        if start == 9 * SMALL and not hung and isinstance(body, _Body):
            hung.append(start)
            assert body.gone.wait(30)

    source = Ranges(DATA, on_read=hang)
    splitting.fetch(DATA, Packing.RAW, source=source)
    assert splitting.content.read_bytes() == DATA
    assert source.opened.count((9 * SMALL, 10 * SMALL)) >= 2


@pytest.mark.parametrize("where", [2 * SMALL, 11 * SMALL, 40 * SMALL])
def test_a_refusal_of_one_range_ends_the_transfer(splitting: Bench, where: int) -> None:
    def refuse(start: int, number: int) -> None:
        if start == where:
            raise AccessDenied("not this one")

    source = Ranges(DATA, on_open=refuse)
    with pytest.raises(AccessDenied):
        splitting.fetch(DATA, Packing.RAW, source=source)
    assert source.open_bodies == 0


def test_a_stream_goes_on_by_itself_when_no_range_shows_in_time(splitting: Bench) -> None:
    splitting.splitting = replace(SPLIT, shows_within=0.05, look_every=0.01)
    gone_on = Event()

    def keep_waiting(start: int, number: int) -> None:
        if start:
            assert gone_on.wait(30)

    def read(start: int, body: MemoryBody) -> None:
        if start == 0 and splitting.progress.fetched > 2 * SMALL:
            gone_on.set()

    source = Ranges(DATA, on_open=keep_waiting, on_read=read)
    splitting.fetch(DATA, Packing.RAW, source=source)
    assert splitting.content.read_bytes() == DATA
    assert splitting.progress.fetched == len(DATA)
    assert [start for start, _ in source.opened].count(0) == 1


def test_a_range_shows_with_its_first_bytes(splitting: Bench) -> None:
    splitting.splitting = replace(SPLIT, look_every=0.01)
    stream_gone, begun = Event(), set[int]()

    def read(start: int, body: MemoryBody) -> None:
        if start and start in begun:
            assert stream_gone.wait(30)
        begun.add(start)

    def closed(start: int) -> None:
        if start == 0:
            stream_gone.set()

    splitting.fetch(DATA, Packing.RAW, source=Ranges(DATA, on_read=read, on_close=closed, step=1000))
    assert splitting.content.read_bytes() == DATA


def test_a_stop_ends_all_connections(splitting: Bench) -> None:
    meeting = Barrier(4, timeout=30, action=splitting.stop.set)

    def hang(start: int, body: MemoryBody) -> None:
        if 4 * SMALL <= start < 8 * SMALL and isinstance(body, _Body):
            meeting.wait()
            assert body.gone.wait(30)

    source = Ranges(DATA, on_read=hang)
    with pytest.raises(Stopping):
        splitting.fetch(DATA, Packing.RAW, source=source)
    assert source.open_bodies == 0


def test_a_transfer_that_was_split_can_be_resumed(splitting: Bench) -> None:
    def refuse(start: int, number: int) -> None:
        if start == 30 * SMALL:
            raise AccessDenied("enough")

    with pytest.raises(AccessDenied):
        splitting.fetch(DATA, Packing.RAW, source=Ranges(DATA, on_open=refuse))
    assert splitting.fetch(DATA, Packing.RAW, source=Ranges(DATA)).resumed > 15 * SMALL
    assert splitting.content.read_bytes() == DATA


def test_many_split_transfers_share_few_buffers(splitting: Bench, tmp_path: Path) -> None:
    packs: list[tuple[Packing, bytes]] = [
        (Packing.RAW, DATA),
        (Packing.TAR, ARCHIVE),
        (Packing.TAR_GZIP, gzipped(ARCHIVE)),
        (Packing.TAR_ZSTD, zstd(ARCHIVE)),
    ]
    engine, transfers = splitting.engine, []
    for number in range(8):
        packing, data = packs[number % 4]
        into = tmp_path / f"layer-{number}"
        into.mkdir()
        fetch = partial(
            engine.fetch,
            Blob(Digest.of(data), len(data), packing),
            MemorySource(data, step=20_000),
            into,
            progress=Progress(len(data)),
            stop=splitting.stop,
        )
        transfers.append(spawn(f"test-{number}", fetch))
    assert [transfer.result(60).entries > 0 for transfer in transfers] == [True] * 8


def test_every_transfer_has_a_connection_and_more_only_while_there_are_few() -> None:
    connections = Connections(2)
    with connections.own(), connections.own(), connections.own():
        assert (connections.used, connections.take_more()) == (3, False)
    assert connections.take_more()
    with connections.own():
        assert not connections.take_more()
    connections.give_back()
    assert connections.used == 0


def test_connections_are_added_while_they_bring_something() -> None:
    now = 0.0
    growth = Growth(replace(SPLIT, look_every=1.0, gain=1.2), 100, lambda: now)
    assert growth.more(400, 4) == 0  # too early to tell
    now = 0.9
    assert growth.more(400, 4) == 0
    now = 1.0
    assert growth.more(399, 4) == 0  # somebody has brought nothing yet
    assert growth.more(400, 4) == 4
    now = 2.0
    assert growth.more(1200, 8) == 8
    now = 4.0
    assert growth.more(2900, 16) == 0  # a sixteenth more for twice as many
    now = 5.0
    assert growth.more(9999, 16) == 0  # that is settled


def test_the_pace_counts_only_the_time_spent_reading() -> None:
    now = 0.0
    pace, policy = Pace(lambda: now), Splitting(slow=100.0, after=1.0)

    def read() -> int:
        nonlocal now
        now += 0.5
        return 40

    assert pace.measure(read) == 40
    assert not pace.is_slow(policy)
    now += 1000.0
    pace.measure(read)
    assert pace.is_slow(policy)
    assert not pace.is_slow(replace(policy, slow=80.0))
