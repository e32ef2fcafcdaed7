"""The snapshots on this node: each a directory that shows a model, or a part of it, as pods see it."""

import json
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csi_driver import log
from csi_driver.cache.footprint import room_of
from csi_driver.cache.layout import LayerId, Places
from csi_driver.cache.room import Room
from csi_driver.errors import NoSpace
from csi_driver.host import faults, files
from csi_driver.oci.digest import Digest
from csi_driver.oci.layer import GeneratedFile, Layer
from csi_driver.oci.selection import Selection

_FORMAT = 1
_KEY = re.compile(r"[0-9a-zA-Z_-]{1,200}")
_DAMAGED = ".damaged-"
_REASON = "reason"


@dataclass(frozen=True, slots=True)
class SnapshotSpec:
    """What a snapshot is to show: what is selected of `files` and of these layers, which the cache must hold.

    `parents` are the references of the models that this one builds on, nearest first; layers of theirs are among these.
    """

    reference: str
    manifest_digest: Digest
    selection: Selection
    layers: tuple[Layer, ...]
    files: tuple[GeneratedFile, ...] = ()
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A complete, read-only tree, and what it was made of.

    `size` is the length of all files as a pod sees it, in bytes, and `files` counts files and links. `own_bytes` and
    `own_inodes` are what it takes of the disk that no layer shares: directories, links and files of its own. `created`
    and `last_used` are seconds since the epoch. `parents` are references of models that it holds parts of: who may not
    read them may not have it. `seal` is what `cache.seal` made of the tree; empty where an older driver made it.
    """

    key: str
    tree: Path
    reference: str
    manifest_digest: Digest
    selection: str
    layers: tuple[LayerId, ...]
    size: int
    files: int
    own_bytes: int
    created: float
    last_used: float
    parents: tuple[str, ...] = ()
    own_inodes: int = 0
    seal: str = ""

    @property
    def own_room(self) -> Room:
        return Room(self.own_bytes, self.own_inodes)

    def encode(self) -> bytes:
        return json.dumps(
            {
                "format": _FORMAT,
                "reference": self.reference,
                "manifest_digest": str(self.manifest_digest),
                "selection": self.selection,
                "layers": [layer.name for layer in self.layers],
                "size": self.size,
                "files": self.files,
                "own_bytes": self.own_bytes,
                "own_inodes": self.own_inodes,
                "created": self.created,
                "parents": list(self.parents),
                "seal": self.seal,
            }
        ).encode()

    @classmethod
    def decode(cls, data: bytes, *, key: str, tree: Path, last_used: float) -> "Snapshot":
        """The snapshot that `encode` described; raises `ValueError` for anything else."""
        fields: Mapping[str, Any] = json.loads(data)
        try:
            if fields["format"] != _FORMAT:
                raise ValueError(f"format {fields['format']!r}; this driver reads format {_FORMAT}")
            return cls(
                key=key,
                tree=tree,
                reference=str(fields["reference"]),
                manifest_digest=Digest.parse(fields["manifest_digest"]),
                selection=str(fields["selection"]),
                layers=tuple(LayerId.from_name(name) for name in fields["layers"]),
                size=int(fields["size"]),
                files=int(fields["files"]),
                own_bytes=int(fields["own_bytes"]),
                created=float(fields["created"]),
                last_used=last_used,
                parents=tuple(str(parent) for parent in fields.get("parents", ())),
                own_inodes=int(fields.get("own_inodes", 0)),
                seal=str(fields.get("seal", "")),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not the description of a snapshot: {error!r}") from error


class Snapshots:
    """Snapshots by key, a name without meaning here. What has its final name is complete."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def get(self, key: str) -> Snapshot | None:
        """The snapshot, or None. One whose description cannot be read is set aside, and counts as none.

        It is set aside beside the others, as it may be mounted: what is mounted is found under its new name.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not the key of a snapshot")
        place = self._places.snapshot(key)
        for _ in range(2):  # it may have been published between two looks
            try:
                return self._read(key)
            except FileNotFoundError as error:
                if not faults.exists(place):
                    return None
                reason: Exception = error
            except ValueError as error:
                reason = error
        if self.set_aside(key, str(reason)):
            log.warning("a snapshot could not be read and was set aside", snapshot=place, reason=reason)
        return None

    def set_aside(self, key: str, reason: str) -> bool:
        """Nobody finds the snapshot any more but who shows it already; whether it was here, and could be renamed."""
        place = self._places.snapshot(key)
        with suppress(OSError, NoSpace):  # people read it; the snapshot must go all the same
            files.write_for_this_boot(place / _REASON, reason.encode("utf-8", "backslashreplace"))
        try:
            return files.move_aside(place, self._places.snapshots / f"{key}{_DAMAGED}{secrets.token_hex(4)}")
        except OSError as error:
            if not faults.is_lost(error):
                raise
            return False

    def reason(self, name: str) -> str | None:
        """Why the snapshot that now has this name was set aside; None if it was not."""
        if _DAMAGED not in name:
            return None
        try:
            return (self._places.snapshots / name / _REASON).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "it could not be read"

    def _read(self, key: str) -> Snapshot:
        place = self._places.snapshot(key)
        description = place / "snapshot.json"
        content = faults.read(description)
        with faults.faults_named():
            last_used = description.stat().st_mtime
        return Snapshot.decode(content, key=key, tree=place / "tree", last_used=last_used)

    def all(self) -> list[Snapshot]:
        """All readable snapshots."""
        found = (self.get(name) for name in self._names() if _KEY.fullmatch(name))
        return [snapshot for snapshot in found if snapshot is not None]

    def damaged(self) -> list[str]:
        """The names under which unreadable snapshots were set aside."""
        return [name for name in self._names() if not _KEY.fullmatch(name)]

    def _names(self) -> list[str]:
        """All directories here; a file is nothing of ours."""
        with os.scandir(self._places.snapshots) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))

    def room_aside(self) -> Room:
        """What snapshots that were set aside take of the disk, and would be had by removing them."""
        return room_of([self._places.snapshots / name for name in self.damaged()])

    def touch(self, key: str) -> None:
        """The snapshot, if it is here, was used now."""
        try:
            os.utime(self._places.snapshot(key) / "snapshot.json")
        except FileNotFoundError:
            return

    def publish(self, staged: Path, snapshot: Snapshot) -> Snapshot:
        """Give a staged directory, in which `tree` is complete, its description and then its name, for good.

        Where somebody else was faster, that snapshot stands, and the staged one is removed.
        """
        files.write_atomically(staged / "snapshot.json", snapshot.encode(), durable_name=False)
        files.sync_tree(staged)
        try:
            files.publish(staged, self._places.snapshot(snapshot.key))
        except FileExistsError:
            files.remove_tree(staged)
        return self.get(snapshot.key) or snapshot
