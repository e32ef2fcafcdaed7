"""A blob's bytes as filled buffers, in order: first what is here already, then what is fetched.

Each buffer is the taker's to release. The generators hold connections and rights to buffers: whoever takes from one
closes it.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing
from typing import TypeAlias

from csi_driver.transfer.buffers import Allowance, Buffer
from csi_driver.transfer.earlier import Prefix

Feed: TypeAlias = Generator[Buffer, None, None]
Allow: TypeAlias = Callable[[], AbstractContextManager[Allowance]]
"""How a transfer comes by its right to buffers."""


def blob_feed(prefix: Prefix, rest: Callable[[int], Feed], *, allow: Allow) -> Feed:
    """A whole blob: `prefix`, and from where it ends the `rest`."""
    position = 0
    with allow() as allowance, closing(prefix.buffers(allowance)) as buffers:
        for buffer in buffers:
            position += buffer.length
            yield buffer
    yield from rest(position)
