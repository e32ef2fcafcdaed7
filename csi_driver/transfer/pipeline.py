"""The threads of one transfer, joined by channels: the first failure ends them all, and none outlives the transfer."""

from collections.abc import Callable
from contextlib import suppress

from csi_driver.inflight import Channel, ChannelClosed, Future, Lock, spawn
from csi_driver.transfer.buffers import Buffer, BufferPool, GivenUp


class Pipeline:
    """Stages that work on the same blob, each in a thread of its own.

    A stage that finds its neighbour gone (`ChannelClosed`, `GivenUp`) just ends: the neighbour's failure is what counts.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = Lock()
        self._running: list[Future[None]] = []
        self._failure: BaseException | None = None
        self._undo: list[Callable[[], object]] = []

    def start(self, stage: str, work: Callable[[], None]) -> None:
        """Run `work` in a thread of its own."""

        def run() -> None:
            try:
                with suppress(ChannelClosed, GivenUp):
                    work()
            except BaseException as error:  # noqa: BLE001  `join` raises it in the thread that waits
                self.fail(error)

        future = spawn(f"{self._name}-{stage}", run)
        with self._lock:
            self._running.append(future)

    def fail(self, error: BaseException) -> None:
        """Everything ends; the first error given is the one that `join` raises."""
        with self._lock:
            if self._failure is not None:
                return
            self._failure = error
            undo = list(self._undo)
        for call in undo:
            call()

    @property
    def failed(self) -> bool:
        """Whether everything is to end early."""
        return self._failure is not None

    def on_failure(self, call: Callable[[], object]) -> None:
        """`call` wakes somebody who would otherwise not notice a failure; at once when there was one already."""
        with self._lock:
            self._undo.append(call)
            late = self._failure is not None
        if late:
            call()

    def channel(self, capacity: int) -> Channel[Buffer]:
        """A channel of buffers that a failure closes, with nothing left in it."""
        channel: Channel[Buffer] = Channel(capacity)
        self.on_failure(lambda: close(channel))
        return channel

    def take(self, pool: BufferPool) -> Buffer:
        """A buffer, as soon as there is one; raises `GivenUp` after a failure, provided that it wakes the pool."""
        return pool.take(lambda: self.failed)

    def join(self) -> None:
        """Wait until every stage has ended; raises the first failure."""
        while True:
            with self._lock:
                running, self._running = self._running, []
            if not running:
                break
            for future in running:
                future.result()
        if self._failure is not None:
            raise self._failure


def close(channel: Channel[Buffer]) -> None:
    """The receiver goes, and the buffers that were on their way to it are free."""
    for buffer in channel.abandon():
        buffer.release()


def offer(buffer: Buffer, channel: Channel[Buffer]) -> None:
    """Hand over a share of a buffer; the giver keeps its own. Raises `ChannelClosed`."""
    buffer.share()
    try:
        channel.put(buffer)
    except ChannelClosed:
        buffer.release()
        raise
