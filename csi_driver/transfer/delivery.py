"""One blob on its way: at the same time it is read, hashed, and written or unpacked."""

from collections.abc import Callable
from contextlib import closing
from typing import Protocol

from csi_driver.errors import ContentMismatch, DriverError
from csi_driver.inflight import Channel
from csi_driver.transfer.buffers import Buffer
from csi_driver.transfer.feed import Feed
from csi_driver.transfer.pipeline import Pipeline, offer
from csi_driver.transfer.source import Blob
from csi_driver.transfer.tarheader import BLOCK

AHEAD = 3
"""Buffers that may wait for a busy stage: enough to ride out a hiccup of the disk, and few, for they are scarce."""


class Sink(Protocol):
    """What becomes of a blob's bytes."""

    verdict: DriverError | None
    """What is wrong with the content, provided that it is the content its digest names."""

    def begin(self, pipeline: Pipeline, start: bytes) -> Channel[Buffer]:
        """Start the stages for a blob that starts with these bytes; returns the channel they take its buffers from."""


class Delivery:
    """Takes one blob from a feed to a sink, and knows whether it was the right one.

    `found` is how many bytes were on the disk already; a callable of that name is told as well.
    """

    def __init__(self, blob: Blob, feed: Feed, sink: Sink, pipeline: Pipeline, *, found: Callable[[int], None]) -> None:
        self.found = 0
        self._blob = blob
        self._feed = feed
        self._sink = sink
        self._pipeline = pipeline
        self._count_found = found
        self._to_hash = pipeline.channel(AHEAD)
        self._to_sink: Channel[Buffer] | None = None
        self._actual = ""

    def run(self) -> None:
        """Everything has arrived and is what the digest says; the sink has taken it all.

        A digest that differs is reported before anything the sink found wrong: a blob damaged on its way must not be
        blamed on the artifact. Raises the first failure of any stage.
        """
        self._pipeline.start("read", self._read, feeds=True)
        self._pipeline.start("hash", self._hash)
        self._pipeline.join()
        if self._actual != self._blob.digest.hex:
            raise ContentMismatch(
                f"blob {self._blob.digest} arrived as {self._blob.digest.algorithm}:{self._actual}: "
                "it was damaged on its way or at the registry"
            )
        if self._sink.verdict is not None:
            raise self._sink.verdict

    def _read(self) -> None:
        try:
            with closing(self._feed):
                for buffer in self._feed:
                    self._hand_over(buffer)
            self._sink_channel(b"")
        finally:
            self._to_hash.end()
            if self._to_sink is not None:
                self._to_sink.end()

    def _hand_over(self, buffer: Buffer) -> None:
        try:
            if buffer.found:
                self.found += buffer.length
                self._count_found(buffer.length)
            offer(buffer, self._to_hash)
            offer(buffer, self._sink_channel(bytes(buffer.payload[:BLOCK])))
        finally:
            buffer.release()

    def _sink_channel(self, start: bytes) -> Channel[Buffer]:
        """Where the sink takes its buffers from; it begins with the first of them."""
        if self._to_sink is None:
            self._to_sink = self._sink.begin(self._pipeline, start)
        return self._to_sink

    def _hash(self) -> None:
        hasher = self._blob.digest.hasher()
        for buffer in self._to_hash:
            try:
                hasher.update(buffer.payload)
            finally:
                buffer.release()
        self._actual = hasher.hexdigest()
