"""The driver's only threads: bounded pools, single threads, and work that repeats."""

import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TypeVar

from csi_driver.inflight.waiting import Stop

V = TypeVar("V")


class Pool:
    """At most `size` daemon threads named after what they do, started when first needed.

    A task sees the context variables of whoever submitted it. Unlike `concurrent.futures`, a task that hangs does not
    keep the process from ending.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._lock = Lock()
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._threads = 0
        self._unfinished = 0  # tasks that wait or run

    def submit(self, work: Callable[[], V]) -> "Future[V]":
        """Have `work` done; raises `RuntimeError` when no thread does it, as the process may have no more of them."""
        future: Future[V] = Future()
        context = contextvars.copy_context()
        with self._lock:
            if self._threads < min(self._unfinished + 1, self._size):
                self._start_thread()
            self._unfinished += 1
        self._tasks.put(lambda: settle(future, context, work))
        return future

    def _start_thread(self) -> None:
        """One thread more, or those there are: only a pool without any cannot do without."""
        try:
            Thread(target=self._work, name=f"{self._name}-{self._threads + 1}", daemon=True).start()
        except RuntimeError:
            if not self._threads:
                raise
        else:
            self._threads += 1

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            task()
            del task  # the outcome belongs to the future alone: an idle thread must not keep it alive
            with self._lock:
                self._unfinished -= 1


def rpc_executor(workers: int) -> ThreadPoolExecutor:
    """The threads that run the handlers of a gRPC server, which takes no other kind of pool."""
    return ThreadPoolExecutor(workers, thread_name_prefix="rpc")


def spawn(name: str, work: Callable[[], V]) -> "Future[V]":
    """Run `work` in a daemon thread of its own; the future settles with its outcome."""
    future: Future[V] = Future()
    context = contextvars.copy_context()
    Thread(target=lambda: settle(future, context, work), name=name, daemon=True).start()
    return future


def every(
    name: str, seconds: float, work: Callable[[], object], stop: Stop, *, failed: Callable[[Exception], None]
) -> "Future[None]":
    """Run `work` again and again, `seconds` apart, until `stop` is set; `failed` is told when it raises."""

    def repeat() -> None:
        while not stop.wait(seconds):
            try:
                work()
            except Exception as error:  # noqa: BLE001  whatever it was, the next run may succeed
                failed(error)

    return spawn(name, repeat)


def settle(future: "Future[V]", context: contextvars.Context, work: Callable[[], V]) -> None:
    """Run `work` and give its outcome, whatever it is, to the future."""
    try:
        value = context.run(work)
    except BaseException as error:  # noqa: BLE001  the future hands it to whoever asks for the result
        future.set_exception(error)
    else:
        future.set_result(value)
