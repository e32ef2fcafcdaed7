"""How a snapshot comes to be: put together aside, and given its name when it is whole."""

import secrets
import time

from csi_driver.cache.assembly import Grant, assemble
from csi_driver.cache.layers import Layers
from csi_driver.cache.layout import LayerId, Places
from csi_driver.cache.quarantine import Quarantine
from csi_driver.cache.seal import look
from csi_driver.cache.snapshots import Snapshot, Snapshots, SnapshotSpec
from csi_driver.errors import LayerGone
from csi_driver.host import files

STAGED = "snapshot-"
"""What the names of snapshots begin with while they are being put together, among the unfinished layers."""

_SNAPSHOT_INODES = 2  # beside its tree: the directory and the description


class Assembler:
    """Makes snapshots of layers that are here."""

    def __init__(self, *, places: Places, layers: Layers, snapshots: Snapshots, quarantine: Quarantine) -> None:
        self._places = places
        self._layers = layers
        self._snapshots = snapshots
        self._quarantine = quarantine

    def assemble(self, key: str, spec: SnapshotSpec, grant: Grant) -> Snapshot:
        """The snapshot, complete and on the disk; made from its layers unless it is here already.

        Raises what `assembly.assemble` raises; then nothing of it is left. `LayerGone` is also raised for a layer that
        is found damaged meanwhile: nobody gets what was made of it.
        """
        known = self._snapshots.get(key)
        if known is not None:
            return known
        mark = self._quarantine.mark()
        try:
            snapshot = self._make(key, spec, grant)
        except FileNotFoundError as error:  # such as a layer that is being removed
            self._refuse_damaged(spec, mark, error)
            raise
        # Whoever gave a layer up named it before it looked for snapshots: it saw this one, or is seen here.
        self._refuse_damaged(spec, mark, None, made=snapshot)
        return snapshot

    def _make(self, key: str, spec: SnapshotSpec, grant: Grant) -> Snapshot:
        staged = self._places.ingests / f"{STAGED}{secrets.token_hex(8)}"
        try:
            tree = staged / "tree"
            with files.full_disk_named(staged):
                tree.mkdir(parents=True)
            made = assemble(tree, spec, self._layers, grant)
            now = time.time()
            snapshot = Snapshot(
                key=key,
                tree=self._places.snapshot(key) / "tree",
                reference=spec.reference,
                manifest_digest=spec.manifest_digest,
                selection=spec.selection.key,
                layers=tuple(dict.fromkeys(LayerId.of(layer) for layer in spec.layers)),
                size=made.size,
                files=made.files,
                own_bytes=made.own_bytes,
                created=now,
                last_used=now,
                parents=spec.parents,
                own_inodes=made.own_inodes + _SNAPSHOT_INODES,
                seal=look(tree).seal,
            )
            return self._snapshots.publish(staged, snapshot)
        except BaseException:
            files.remove_tree(staged)
            raise

    def _refuse_damaged(
        self, spec: SnapshotSpec, mark: int, error: Exception | None, *, made: Snapshot | None = None
    ) -> None:
        damaged = self._quarantine.since(mark) & {LayerId.of(layer) for layer in spec.layers}
        if damaged:
            reason = f"layer {min(damaged)} of {spec.reference} was found damaged while a snapshot was made of it"
            if made:
                self._quarantine.give_up_snapshot(made, reason)
            raise LayerGone(reason) from error
