"""Work that is bounded in number, and whose turn it is."""

import contextvars
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Thread, get_ident
from typing import TypeVar

from csi_driver.inflight.threads import settle

V = TypeVar("V")

_LOOK_EVERY = 1.0  # seconds between looks at whether a task that is under way lets others pass


@dataclass(slots=True)
class _Running:
    owner: Hashable
    lets_pass: Callable[[], bool] = bool  # no


class Pool:
    """At most `size` tasks at once, in daemon threads named after what they do, started when first needed.

    Owners take turns: next is a task of the one with the fewest under way, and among those of the one who has waited
    longest. Tasks of the same owner, or of none, come in order. Those that are `letting_pass` do not count for an owner
    with nothing under way: there may be up to `most` tasks then.

    A task sees the context variables of whoever submitted it. Unlike `concurrent.futures`, a task that hangs does not
    keep the process from ending.
    """

    def __init__(self, name: str, size: int, *, most: int | None = None) -> None:
        self._name = name
        self._size = size
        self._most = most or size
        self._changed = Condition()
        self._waiting: dict[Hashable, deque[Callable[[], None]]] = {}
        self._running: dict[int, _Running] = {}
        self._threads = 0

    def submit(self, work: Callable[[], V], *, owner: Hashable = None) -> "Future[V]":
        """Have `work` done; raises `RuntimeError` or `MemoryError` when no thread can be had for it."""
        future: Future[V] = Future()
        context = contextvars.copy_context()
        with self._changed:
            unfinished = len(self._running) + sum(map(len, self._waiting.values()))
            if self._threads < min(unfinished + 1, self._size):
                self._start_thread()
            self._waiting.setdefault(owner, deque()).append(lambda: settle(future, context, work))
            self._keep_a_lookout()
            self._changed.notify()
        return future

    @contextmanager
    def letting_pass(self, others: Callable[[], bool]) -> Iterator[None]:
        """While the context is open, the task that runs in this thread lets others pass whenever `others()` holds.

        That is asked under the pool's lock, about once a second while tasks wait, and must wait for nothing itself.
        """
        running = self._running[get_ident()]
        running.lets_pass = others
        try:
            yield
        finally:
            running.lets_pass = bool

    def _keep_a_lookout(self) -> None:
        """Somebody must notice when those who are at work let others pass."""
        if self._waiting and len(self._running) == self._threads < self._most:
            self._start_thread()

    def _start_thread(self) -> None:
        """One thread more, or those there are: only a pool without any cannot do without."""
        try:
            Thread(target=self._work, name=f"{self._name}-{self._threads + 1}", daemon=True).start()
        except (RuntimeError, MemoryError):
            if not self._threads:
                raise
        else:
            self._threads += 1

    def _work(self) -> None:
        while True:
            task = self._next()
            task()
            del task  # the outcome belongs to the future alone: an idle thread must not keep it alive
            with self._changed:
                del self._running[get_ident()]
                self._changed.notify()

    def _next(self) -> Callable[[], None]:
        """The task whose turn it is, as soon as there is a place for it."""
        with self._changed:
            while not (owners := self._who_may_begin()):
                self._changed.wait(_LOOK_EVERY if self._waiting and self._most > self._size else None)
            under_way = self._under_way()
            owner = min(owners, key=under_way.__getitem__)
            tasks = self._waiting.pop(owner)
            task = tasks.popleft()
            if tasks:
                self._waiting[owner] = tasks  # behind the others
            self._running[get_ident()] = _Running(owner)
            self._keep_a_lookout()
            return task

    def _who_may_begin(self) -> list[Hashable]:
        """The owners of tasks that wait and have a place, those first who have waited longest."""
        if len(self._running) < self._size:
            return list(self._waiting)
        if not self._waiting or sum(not each.lets_pass() for each in self._running.values()) >= self._size:
            return []
        under_way = self._under_way()
        return [owner for owner in self._waiting if not under_way[owner]]

    def _under_way(self) -> "Counter[Hashable]":
        return Counter(each.owner for each in self._running.values())
