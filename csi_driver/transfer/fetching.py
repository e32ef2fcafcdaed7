"""A blob from the network: as one stream, and over more connections when that is slow."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from csi_driver.transfer.bandwidth import Bandwidth
from csi_driver.transfer.buffers import Allowance, Buffer
from csi_driver.transfer.feed import Allow, Feed
from csi_driver.transfer.pipeline import Pipeline
from csi_driver.transfer.source import Blob, Source
from csi_driver.transfer.split import Split
from csi_driver.transfer.splitting import Connections, Splitting
from csi_driver.transfer.stream import Patience, Stream


@dataclass(slots=True)
class Fetching:
    """The way of one blob from its source; `arrived` is told of the bytes."""

    blob: Blob
    source: Source
    patience: Patience
    arrived: Callable[[int], None]
    bandwidth: Bandwidth
    allow: Allow
    connections: Connections
    policy: Splitting
    pipeline: Pipeline
    _may_split: bool = field(default=True, init=False)

    def buffers(self, position: int) -> Feed:
        """All that follows from `position` on; at the end of the blob it must really end."""
        if position == self.blob.size:
            return
        with self.allow() as allowance:
            with self.connections.own(), closing(self._stream(position, self.blob.size)) as stream:
                self.pipeline.on_cut(stream.abort)
                split = yield from self._alone(stream, allowance)
            if split is None:
                return
            with closing(split):
                yield from split.buffers()
        self._may_split = False
        yield from self.buffers(split.position)

    def _alone(self, stream: Stream, allowance: Allowance) -> Generator[Buffer, None, Split | None]:
        """What one stream brings until it is split, and then the split.

        The stream stays until the server has shown that it gives ranges: who does not would have to begin anew.
        """
        split = None
        while stream.position < self.blob.size:
            buffer = allowance.take()
            try:
                if self._may_split and stream.pace.is_slow(self.policy):
                    split = self._split(stream.position + buffer.size, allowance)
                buffer.length = stream.fill(buffer.room)
            except BaseException:
                buffer.release()
                raise
            yield buffer
            if split is not None:
                if split.works():
                    return split
                split.close()
                split, self._may_split = None, False
        stream.expect_end()
        return None

    def _split(self, start: int, allowance: Allowance) -> Split | None:
        """A split from `start` on, if that leaves enough and there are connections to be had."""
        if self.blob.size - start < self.policy.least_buffers * allowance.pool.size:
            return None
        split = Split(
            start,
            self.blob.size,
            open_range=partial(self._stream, ranges_only=True),
            allowance=allowance,
            connections=self.connections,
            run=lambda work: self.pipeline.start("range", work, feeds=True, dispensable=True),
            policy=self.policy,
        )
        if not split.grow(self.policy.first):
            return None
        self.pipeline.on_cut(split.close)
        return split

    def _stream(self, start: int, stop: int, *, ranges_only: bool = False) -> Stream:
        return Stream(
            self.blob,
            self.source,
            start,
            stop,
            patience=self.patience,
            arrived=self.arrived,
            bandwidth=self.bandwidth,
            ranges_only=ranges_only,
        )
