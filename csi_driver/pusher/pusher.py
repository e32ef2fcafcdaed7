"""A directory becomes a model in a registry: its files as layers, as modctl packs them, and the manifest last."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from csi_driver.errors import InvalidRequest
from csi_driver.inflight import Pool
from csi_driver.oci.config_blob import ModelConfig
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.digest import Digest
from csi_driver.oci.manifest import OCI_MANIFEST, Manifest
from csi_driver.oci.media import MODEL_ARTIFACT_TYPE, MODEL_CONFIG
from csi_driver.oci.reference import Reference
from csi_driver.pusher.bundles import AUTO, bundles
from csi_driver.pusher.directory import survey
from csi_driver.pusher.facts import describe
from csi_driver.pusher.layers import descriptor_of
from csi_driver.pusher.tally import Tally
from csi_driver.pusher.upload import Upload
from csi_driver.registry.client import Registry, Repository
from csi_driver.registry.keychain import Keychain

_MOST_MANIFEST_BYTES = 4 << 20
"""What every registry takes (distribution-spec, "Pushing Manifests")."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push came to; sizes are bytes of layers. `skipped` are the paths that were left out for their names."""

    reference: Reference
    digest: Digest
    files: int
    layers: int
    size: int
    sent: int
    skipped: tuple[str, ...]


class Pusher:
    """Packs and pushes `concurrency` files at a time; memory does not grow with their size."""

    def __init__(self, *, registry: Registry, concurrency: int = 4) -> None:
        self._registry = registry
        self._pool = Pool("push", concurrency)

    def push(
        self,
        directory: Path,
        reference: Reference,
        *,
        tally: Tally,
        keychain: Keychain | None = None,
        created_at: datetime | None = None,
        name: str | None = None,
        family: str | None = None,
        packing: str = AUTO,
    ) -> Pushed:
        """Make `directory` the model that `reference` names; what the registry already has is not sent again.

        `packing` is one of `PACKINGS`, which `bundles` explains.
        `created_at` is when the newest file was written, unless given: the same files always get the same digest. The
        tag keeps its old meaning until all else is there. Raises `InvalidRequest` for a directory that is no model,
        `ContentMismatch` when a file changes meanwhile, and what the registry answers.
        """
        if reference.digest is not None:
            raise InvalidRequest(f"{reference} names a digest, which only the push can tell: name a tag alone")
        found = survey(directory)
        tally.plan(sum(file.size for file in found.files))
        repository = self._registry.repository(reference, keychain)
        packed = Upload(repository, tally).run(self._pool, bundles(found.files, packing))
        layers = [descriptor_of(each) for each in packed]
        told = describe(found.files)
        written_at = datetime.fromtimestamp(max(seen.status.st_mtime for each in packed for seen in each.files), UTC)
        config = replace(
            told,
            created_at=_rfc3339(created_at or written_at),
            name=name or reference.repository.rpartition("/")[2],
            family=family or told.family,
            diff_ids=tuple(str(each.diff_id) for each in packed),
        )
        digest = _complete(repository, reference.selector, config, layers)
        size = sum(layer.size for layer in layers)
        return Pushed(reference, digest, len(found.files), len(layers), size, tally.sent, found.skipped)


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _complete(repository: Repository, tag: str, config: ModelConfig, layers: Sequence[Descriptor]) -> Digest:
    """Push the configuration, and then the manifest: the model is there."""
    body = config.to_json()
    manifest = Manifest(
        media_type=OCI_MANIFEST,
        artifact_type=MODEL_ARTIFACT_TYPE,
        config=Descriptor(MODEL_CONFIG, Digest.of(body), len(body)),
        layers=tuple(layers),
    )
    document = manifest.to_json()
    if len(document) > _MOST_MANIFEST_BYTES:
        raise InvalidRequest(
            f"{len(layers)} layers make a manifest of {len(document)} bytes; registries take {_MOST_MANIFEST_BYTES}: "
            "use another packing than raw"
        )
    repository.push_blob(manifest.config.digest, len(body), lambda: io.BytesIO(body))
    return repository.push_manifest(tag, document, OCI_MANIFEST)
