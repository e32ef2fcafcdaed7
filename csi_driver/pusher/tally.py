"""How far a push is, for whoever watches it."""

from csi_driver.inflight import Lock


class Tally:
    """Bytes of a push, counted by many threads: of files how many there are and were read, and of layers likewise.

    A layer is smaller than its files where it is compressed; how much is known only when they were read.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self.total = 0
        self.packed = 0  # bytes of all layers, as far as that is known
        self.hashed = 0
        self.sent = 0
        self.present = 0  # did not have to be sent

    def plan(self, total: int) -> None:
        with self._lock:
            self.total = self.packed = total

    def pack(self, change: int) -> None:
        """A layer has so many bytes more than its files."""
        with self._lock:
            self.packed += change

    def hash(self, count: int) -> None:
        with self._lock:
            self.hashed += count

    def send(self, count: int) -> None:
        """`count` is negative where an upload starts again."""
        with self._lock:
            self.sent += count

    def spare(self, count: int) -> None:
        with self._lock:
            self.present += count

    @property
    def settled(self) -> int:
        """Bytes that are at the registry."""
        with self._lock:
            return self.sent + self.present
