"""The hand-over of work from one thread to another."""

from collections import deque
from collections.abc import Iterator
from threading import Condition
from typing import Generic, TypeVar

V = TypeVar("V")


class ChannelClosed(Exception):
    """The other end of the channel has gone."""


class Channel(Generic[V]):
    """A bounded, in-order hand-over of items from one thread to another, from which either end can walk away."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._condition = Condition()
        self._items: deque[V] = deque()
        self._ended = False
        self._abandoned = False

    def put(self, item: V) -> None:
        """Hand over one item, waiting for room; raises `ChannelClosed` when the receiver has gone."""
        with self._condition:
            self._condition.wait_for(lambda: len(self._items) < self._capacity or self._abandoned)
            if self._abandoned:
                raise ChannelClosed
            self._items.append(item)
            self._condition.notify_all()

    def end(self) -> None:
        """No more items come; the receiver sees the end after those it has not taken yet."""
        with self._condition:
            self._ended = True
            self._condition.notify_all()

    def abandon(self) -> list[V]:
        """The receiver goes: the next `put` raises. Returns the items that were on their way."""
        with self._condition:
            self._abandoned = True
            left = list(self._items)
            self._items.clear()
            self._condition.notify_all()
            return left

    def __iter__(self) -> Iterator[V]:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._items or self._ended or self._abandoned)
                if not self._items:
                    return
                item = self._items.popleft()
                self._condition.notify_all()
            yield item
            del item
