"""What a model consists of where its manifest alone does not say: configurations, and the models that it builds on."""

from collections.abc import Mapping
from dataclasses import dataclass

from csi_driver import log
from csi_driver.cache.layout import LayerId
from csi_driver.cache.store import Cache
from csi_driver.errors import ContentMismatch, UnsupportedArtifact
from csi_driver.inflight import Deadline, Wait
from csi_driver.oci.config_blob import MAX_CONFIG_BYTES
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.digest import Digest
from csi_driver.oci.layer import GeneratedFile, Layer, Layout
from csi_driver.oci.layout import needs_config, plan, without_conflicts
from csi_driver.oci.manifest import Manifest, parse_manifest
from csi_driver.oci.media import Role
from csi_driver.oci.policy import PullPolicy
from csi_driver.oci.reference import Reference
from csi_driver.puller.request import PullRequest
from csi_driver.puller.resolver import Resolver
from csi_driver.registry.blob import BlobSource
from csi_driver.registry.client import Registry, Repository

MAX_PARENTS = 10
"""Models above one another, as KitOps allows them."""

INHERITED = frozenset({Role.WEIGHT, Role.WEIGHT_CONFIG})
"""What a model takes from the one it builds on: that one's model and its parts, not its code, data and texts."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a layer is fetched from: a repository, of the registry that its reference names."""

    repository: Repository
    registry: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """All layers of a model, its parents' included, and where each comes from.

    `parents` are the references of the models it builds on, nearest first.
    """

    layers: tuple[Layer, ...]
    files: tuple[GeneratedFile, ...]
    parents: tuple[str, ...]
    origins: Mapping[LayerId, Origin]


class Artifacts:
    """Reads manifests, and what belongs to them, from the cache and from registries."""

    def __init__(self, *, registry: Registry, resolver: Resolver, cache: Cache) -> None:
        self._registry = registry
        self._resolver = resolver
        self._cache = cache

    def read(self, request: PullRequest, digest: Digest) -> Artifact:
        """The model that the manifest `digest` describes. The caller of `request` must be able to read its parents too.

        Raises `UnsupportedArtifact` for a model that no volume can be made of, and for parents that go in a circle or
        are more than `MAX_PARENTS`; and otherwise what the registries answer.
        """
        layout, origin = self._layout(request, request.reference, digest)
        layers = list(layout.layers)
        origins = {LayerId.of(layer): origin for layer in layers}
        lineage = {digest: request.reference}
        parent = layout.parent
        while parent is not None:
            digest = self._parent(request, parent, lineage)
            lineage[digest] = parent
            above, origin = self._layout(request, parent, digest)
            inherited = [layer for layer in above.layers if layer.role in INHERITED]
            layers += inherited
            origins = {LayerId.of(layer): origin for layer in inherited} | origins
            parent = above.parent
        _, *parents = map(str, lineage.values())
        return Artifact(without_conflicts(layers), layout.files, tuple(parents), origins)

    def _parent(self, request: PullRequest, reference: Reference, lineage: Mapping[Digest, Reference]) -> Digest:
        """What a model's parent is now; asked of the registry, as nothing of it may be here."""
        chain = " => ".join(str(each) for each in (*lineage.values(), reference))
        if len(lineage) > MAX_PARENTS:
            raise UnsupportedArtifact(f"more than {MAX_PARENTS} models build on one another: {chain}")
        digest = self._resolver.resolve(request.of_parent(reference, PullPolicy.ALWAYS), Wait(Deadline.never()))
        if digest in lineage:
            raise UnsupportedArtifact(f"models build on one another in a circle: {chain}")
        return digest

    def _layout(self, request: PullRequest, reference: Reference, digest: Digest) -> tuple[Layout, Origin]:
        repository = self._registry.repository(reference, request.keychain)
        layout = lay_out(repository, self._manifest(repository, digest))
        for warning in layout.warnings:
            log.warning(warning, reference=reference)
        return layout, Origin(repository, reference.host)

    def _manifest(self, repository: Repository, digest: Digest) -> Manifest:
        body = self._cache.manifest(digest)
        if body is None:
            body = repository.manifest(str(digest)).body
            self._cache.put_manifest(digest, body)
        manifest = parse_manifest(body, None)
        if not isinstance(manifest, Manifest):
            raise UnsupportedArtifact(f"{digest} is an index, where the manifest of one model was expected")
        return manifest


def lay_out(repository: Repository, manifest: Manifest) -> Layout:
    """The layout of a manifest from this repository; its configuration is fetched only where it is needed."""
    return plan(manifest, configuration(repository, manifest.config) if needs_config(manifest) else None)


def configuration(repository: Repository, descriptor: Descriptor) -> bytes:
    """The configuration blob, verified; fetched again where it is damaged, from elsewhere where that is possible."""
    if descriptor.data is not None:
        return descriptor.data
    if descriptor.size > MAX_CONFIG_BYTES:
        raise UnsupportedArtifact(
            f"the configuration {descriptor.digest} has {descriptor.size} bytes; at most {MAX_CONFIG_BYTES} are read"
        )
    source = repository.blob(descriptor)
    while True:
        try:
            return _read(source, descriptor)
        except ContentMismatch as error:
            if not source.distrust(error):
                raise


def _read(source: BlobSource, descriptor: Descriptor) -> bytes:
    body = memoryview(bytearray(descriptor.size))
    held = 0
    with source.open(0, None) as answer:
        while held < len(body) and (count := answer.readinto(body[held:])):
            held += count
    actual = Digest.of(bytes(body[:held]), descriptor.digest.algorithm)
    if actual != descriptor.digest:
        raise ContentMismatch(f"the configuration {descriptor.digest} arrived as {actual}: the registry is at fault")
    return bytes(body[:held])
