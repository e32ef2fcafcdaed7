"""Which pulls are wanted, on the disk: those that a driver which ended has left for the next one."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from csi_driver import log
from csi_driver.errors import InvalidRequest
from csi_driver.host import faults, files
from csi_driver.oci.digest import Digest
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import Selection
from csi_driver.puller.request import snapshot_key

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Intent:
    """A model that somebody wants to be here, a pod if it is `urgent`; never with whose credentials."""

    reference: Reference
    digest: Digest
    selection: Selection
    urgent: bool

    @property
    def key(self) -> str:
        """The key of the pull, and of the snapshot that it makes."""
        return snapshot_key(self.reference.host, self.digest, self.selection)

    def encode(self) -> bytes:
        return json.dumps(
            {
                "format": _FORMAT,
                "reference": str(self.reference),
                "digest": str(self.digest),
                "selection": self.selection.key,
                "urgent": self.urgent,
            }
        ).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Intent":
        """The intent that `encode` wrote; raises `ValueError` for anything else."""
        try:
            fields = json.loads(data)
            if fields["format"] != _FORMAT:
                raise ValueError(f"format {fields['format']!r}; this driver reads format {_FORMAT}")
            return cls(
                reference=Reference.parse(fields["reference"]),
                digest=Digest.parse(fields["digest"]),
                selection=Selection.of_key(fields["selection"]),
                urgent=bool(fields["urgent"]),
            )
        except (KeyError, TypeError, AttributeError, InvalidRequest) as error:
            raise ValueError(f"not the intent of a pull: {error!r}") from error


class Intents:
    """One small file for each pull that has begun and has neither succeeded nor failed.

    It says what is wanted; how far it is, the cache itself tells. Nothing is synced: after a power cut kubelet asks for
    what its pods want, and the layers that were fetched are there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, intent: Intent) -> None:
        """From now on, though the driver be killed; an urgent intent stays urgent."""
        path = self._path(intent.key)
        known = self._read(path)
        if known is None or (intent.urgent and not known.urgent):
            files.write_for_this_boot(path, intent.encode())

    def drop(self, key: str) -> None:
        """The pull is over, whatever came of it."""
        self._path(key).unlink(missing_ok=True)

    def all(self) -> Iterator[Intent]:
        """Every readable intent; what is damaged is removed, as nothing but time is lost with it."""
        for path in sorted(self._directory.glob("*.json")):
            intent = self._read(path)
            if intent is not None:
                yield intent

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}.json"

    def _read(self, path: Path) -> Intent | None:
        try:
            return Intent.decode(faults.read(path))
        except FileNotFoundError:
            return None
        except ValueError as error:
            log.warning("the intent of a pull could not be read and is dropped", intent=path.name, reason=error)
            path.unlink(missing_ok=True)
            return None
