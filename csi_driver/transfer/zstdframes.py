"""Where the frames of a zstd stream begin and end: the decompressor itself does not say whether the last is whole."""

from collections.abc import Generator

from csi_driver.errors import UnsupportedArtifact

MAGIC = b"\x28\xb5\x2f\xfd"
_MAGIC = int.from_bytes(MAGIC, "little")
_SKIPPABLE = 0x184D2A50
_RLE_BLOCK, _RESERVED_BLOCK = 1, 3
_DICTIONARY_BYTES = (0, 1, 2, 4)
_CONTENT_BYTES = (0, 2, 4, 8)


def is_zstd(start: bytes) -> bool:
    """Whether a stream that starts so is a zstd stream, possibly with a skippable frame first."""
    return start[:4] == MAGIC or (len(start) >= 4 and int.from_bytes(start[:4], "little") & ~0xF == _SKIPPABLE)


class FrameWalker:
    """Follows a zstd stream piece by piece (RFC 8878, section 3.1), reading only headers: a few bytes of each 128 KiB.

    Raises `UnsupportedArtifact` for what is no zstd stream, is cut off or needs a dictionary, and for a frame that
    needs more than `window_limit` bytes of memory, which no setting and no larger disk would change.
    """

    def __init__(self, window_limit: int) -> None:
        self._window_limit = window_limit
        self._held = bytearray()
        self._between_frames = True
        self._steps = self._walk()
        self._wanted = next(self._steps)

    def feed(self, piece: memoryview) -> None:
        """Follow the stream through the next piece of it."""
        position = 0
        while position < len(piece):
            if self._wanted < 0:
                skipped = min(-self._wanted, len(piece) - position)
                self._wanted += skipped
            else:
                skipped = min(self._wanted - len(self._held), len(piece) - position)
                self._held += piece[position : position + skipped]
            position += skipped
            while self._wanted == 0 or len(self._held) == self._wanted:
                held, self._held = bytes(self._held), bytearray()
                self._wanted = self._steps.send(held)

    def finish(self) -> None:
        """The stream ends here."""
        if self._held or not self._between_frames:
            raise UnsupportedArtifact("the zstd stream is cut off")

    def _walk(self) -> Generator[int, bytes, None]:
        """Yields how many bytes it wants to see next, or, below zero, how many may pass unseen."""
        while True:
            self._between_frames = True
            magic = _integer((yield 4))
            self._between_frames = False
            if magic & ~0xF == _SKIPPABLE:
                yield -_integer((yield 4))
            elif magic == _MAGIC:
                yield from self._frame()
            else:
                raise UnsupportedArtifact("there is something in the zstd stream that is no zstd frame")

    def _frame(self) -> Generator[int, bytes, None]:
        descriptor = (yield 1)[0]
        is_single = bool(descriptor & 0x20)
        window = 0 if is_single else _window((yield 1)[0])
        if _integer((yield _DICTIONARY_BYTES[descriptor & 3])):
            raise UnsupportedArtifact("the zstd stream was made with a dictionary, which the artifact does not hold")
        content = _integer((yield _CONTENT_BYTES[descriptor >> 6] or int(is_single)))
        self._check_window(max(window, content if is_single else 0))
        is_last = False
        while not is_last:
            block = _integer((yield 3))
            is_last, kind, size = bool(block & 1), block >> 1 & 3, block >> 3
            if kind == _RESERVED_BLOCK:
                raise UnsupportedArtifact("the zstd stream is damaged")
            yield -(1 if kind == _RLE_BLOCK else size)
        if descriptor & 4:
            yield -4

    def _check_window(self, window: int) -> None:
        if window > self._window_limit:
            raise UnsupportedArtifact(
                f"the zstd stream needs {window} bytes of memory to unpack, {self._window_limit} are allowed; "
                "compress it with a smaller window (zstd --long=27)"
            )


def _window(descriptor: int) -> int:
    base = 1 << (10 + (descriptor >> 3))
    return base + base // 8 * (descriptor & 7)


def _integer(field: bytes) -> int:
    return int.from_bytes(field, "little")
