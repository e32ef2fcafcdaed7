"""The threads of one transfer, joined by channels: a failure ends them all, and none outlives the transfer."""

from collections.abc import Callable
from contextlib import suppress

from csi_driver.errors import Unavailable
from csi_driver.inflight import Channel, ChannelClosed, Future, Lock, spawn
from csi_driver.transfer.buffers import Buffer, GivenUp

_NO_THREADS = "this node gives the driver no thread for a transfer: raise its limit of processes and threads"


class Pipeline:
    """Stages that work on the same blob, each in a thread of its own.

    It ends early in one of two ways. `cut`: nothing more comes in, and what is under way is finished, which takes
    moments and is worth them, for it need not be fetched again. `fail`: everything ends now. A stage that finds its
    neighbour gone (`ChannelClosed`, `GivenUp`) just ends: it is the other's failure that counts.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = Lock()
        self._running: list[Future[None]] = []
        self._error: BaseException | None = None
        self._at_cut: list[Callable[[], object]] = []
        self._at_failure: list[Callable[[], object]] = []
        self.is_cut = False
        self.failed = False

    def start(self, stage: str, work: Callable[[], None], *, feeds: bool = False, dispensable: bool = False) -> bool:
        """Run `work` in a thread of its own; the failure of a stage that `feeds` the others cuts them off.

        Whether there was a thread to be had; if not, the whole transfer fails, unless the stage is `dispensable`.
        """

        def run() -> None:
            try:
                with suppress(ChannelClosed, GivenUp):
                    work()
            except BaseException as error:  # noqa: BLE001  `join` raises it in the thread that waits
                (self.cut if feeds else self.fail)(error)

        try:
            future = spawn(f"{self._name}-{stage}", run)
        except RuntimeError as error:
            if not dispensable:
                self.fail(Unavailable(f"{_NO_THREADS} ({error})"))
            return False
        with self._lock:
            self._running.append(future)
        return True

    def cut(self, error: BaseException) -> None:
        """Nothing more comes in; `join` raises `error` unless there was another before."""
        with self._lock:
            self._error = self._error or error
            self.is_cut = True
            calls, self._at_cut = self._at_cut, []
        for call in calls:
            call()

    def fail(self, error: BaseException) -> None:
        """Everything ends; `join` raises `error` unless there was another before."""
        self.cut(error)
        with self._lock:
            self.failed = True
            calls, self._at_failure = self._at_failure, []
        for call in calls:
            call()

    def on_cut(self, call: Callable[[], object]) -> None:
        """`call` wakes whoever waits for something to come in; at once after a cut."""
        with self._lock:
            late = self.is_cut
            if not late:
                self._at_cut.append(call)
        if late:
            call()

    def on_failure(self, call: Callable[[], object]) -> None:
        """`call` wakes whoever would not notice a failure by himself; at once after one."""
        with self._lock:
            late = self.failed
            if not late:
                self._at_failure.append(call)
        if late:
            call()

    def channel(self, capacity: int) -> Channel[Buffer]:
        """A channel of buffers that a failure closes, with nothing left in it."""
        channel: Channel[Buffer] = Channel(capacity)
        self.on_failure(lambda: close(channel))
        return channel

    def join(self) -> None:
        """Wait until every stage has ended; raises the first error."""
        while True:
            with self._lock:
                running, self._running = self._running, []
            if not running:
                break
            for future in running:
                future.result()
        if self._error is not None:
            raise self._error


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
