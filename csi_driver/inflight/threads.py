"""Threads: for a gRPC server, for a single task, and for work that repeats."""

import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread
from typing import TypeVar

from csi_driver.inflight.waiting import Stop

V = TypeVar("V")


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


def lasting(
    name: str, work: Callable[[], object], stop: Stop, *, failed: Callable[[Exception], None], pause: float = 10.0
) -> "Future[None]":
    """Run `work`, which ends by itself once `stop` is set; `failed` is told when it raises, and it begins anew.

    `pause` seconds later, as what was short (a descriptor, a thread, the disk) may be there again by then.
    """

    def persist() -> None:
        while not stop.is_set:
            try:
                work()
            except Exception as error:  # noqa: BLE001  whatever it was, the next run may succeed
                failed(error)
                stop.wait(pause)

    return spawn(name, persist)


def settle(future: "Future[V]", context: contextvars.Context, work: Callable[[], V]) -> None:
    """Run `work` and give its outcome, whatever it is, to the future."""
    try:
        value = context.run(work)
    except BaseException as error:  # noqa: BLE001  the future hands it to whoever asks for the result
        future.set_exception(error)
    else:
        future.set_result(value)
