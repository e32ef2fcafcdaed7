"""What a verification is asked for, how far it is, and what it found."""

from dataclasses import dataclass

from csi_driver.inflight import Lock


@dataclass(frozen=True, slots=True)
class Scope:
    """What to verify: the models of these references, or all there is; only what was not proved for `older_than`."""

    references: tuple[str, ...] = ()
    older_than: float = 0.0  # seconds


@dataclass(frozen=True, slots=True)
class Finding:
    """One layer or snapshot that is not what it was: what it is, why, which models showed it, and to which volumes."""

    what: str
    reason: str
    models: tuple[str, ...]
    volumes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a verification: how many layers and snapshots were looked at, bytes read, and what was damaged."""

    layers: int
    snapshots: int
    read: int
    findings: tuple[Finding, ...]


class Progress:
    """How far a verification is: bytes read, of about so many in all, and what was found so far. For any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._total = 0
        self._read = 0
        self._findings: list[Finding] = []

    def expect(self, total: int) -> None:
        with self._lock:
            self._total = total

    def advance(self, count: int) -> None:
        with self._lock:
            self._read += count

    def found(self, finding: Finding) -> None:
        with self._lock:
            self._findings.append(finding)

    def so_far(self) -> tuple[int, int, tuple[Finding, ...]]:
        """Bytes read, bytes in all, and findings; archives may be a little longer than what was unpacked from them."""
        with self._lock:
            return self._read, max(self._total, self._read), tuple(self._findings)
