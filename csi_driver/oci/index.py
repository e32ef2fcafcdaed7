"""Which artifact of an index a node takes."""

from collections.abc import Callable, Sequence

from csi_driver.errors import UnsupportedArtifact
from csi_driver.oci.descriptor import Descriptor, Platform
from csi_driver.oci.digest import Digest
from csi_driver.oci.manifest import INDEX_TYPES, MANIFEST_TYPES, Index, Manifest
from csi_driver.oci.media import essence, is_model_type
from csi_driver.oci.producers.recognition import Producer, recognise

MAX_DEPTH = 3
"""Indexes within each other, the outermost included."""

MAX_FETCHES = 32

_ATTESTATION = ("vnd.docker.reference.type", "attestation-manifest")
_OLOT_MODELPACK = ("io.opendatahub.modelcar.manifest.type", "modelpack")
"""What BuildKit says of an attestation, and olot of the ModelPack manifest that it adds beside the platforms."""

Fetch = Callable[[Descriptor], Manifest | Index]


def choose(index: Index, platform: Platform, fetch: Fetch) -> tuple[Descriptor, Manifest]:
    """The one entry of `index` for a node of `platform`, and its manifest as `fetch` reads it.

    A ModelPack artifact is preferred to what fits the platform, and that to the only entry there is; nested indexes are
    followed. UnsupportedArtifact lists the candidates where these rules do not leave one.
    """
    return _Choice(platform, fetch).of(index, depth=1)


class _Choice:
    """One choice, with what it has fetched so far."""

    def __init__(self, platform: Platform, fetch: Fetch) -> None:
        self._platform = platform
        self._fetch = fetch
        self._fetched: dict[Digest, Manifest | Index] = {}

    def of(self, index: Index, *, depth: int) -> tuple[Descriptor, Manifest]:
        entry = self._entry(index)
        content = self._read(entry)
        if isinstance(content, Manifest):
            return entry, content
        if depth >= MAX_DEPTH:
            raise UnsupportedArtifact(f"indexes are nested more than {MAX_DEPTH} deep: {entry.digest} is one more")
        return self.of(content, depth=depth + 1)

    def _entry(self, index: Index) -> Descriptor:
        entries = list({entry.digest: entry for entry in index.manifests if _is_candidate(entry)}.values())
        for narrowed in (self._modelpack(entries), self._fitting(entries), entries):
            best = narrowed if len(narrowed) == 1 else self._fitting(narrowed)
            if len(best) == 1:
                return best[0]
            if narrowed:
                raise _undecided(narrowed, self._platform)
        raise UnsupportedArtifact("the index is empty: none of its entries is an artifact")

    def _modelpack(self, entries: Sequence[Descriptor]) -> list[Descriptor]:
        """The entries that say that they are ModelPack; else, of those without a platform, the ones that are."""
        declared = [entry for entry in entries if _declares_modelpack(entry)]
        if declared or len(entries) == 1:
            return declared
        return [entry for entry in entries if _has_no_platform(entry) and self._is_modelpack(entry)]

    def _is_modelpack(self, entry: Descriptor) -> bool:
        content = self._read(entry)
        return isinstance(content, Manifest) and recognise(content) is Producer.MODELPACK

    def _fitting(self, entries: Sequence[Descriptor]) -> list[Descriptor]:
        """The entries for the node's platform; if some are for exactly its variant, only these."""
        fitting = [entry for entry in entries if entry.platform and self._platform.accepts(entry.platform)]
        wanted = self._platform.full_variant
        exact = [entry for entry in fitting if entry.platform and entry.platform.full_variant == wanted]
        return exact or fitting

    def _read(self, entry: Descriptor) -> Manifest | Index:
        if entry.digest not in self._fetched:
            if len(self._fetched) >= MAX_FETCHES:
                raise UnsupportedArtifact(f"the index needs more than {MAX_FETCHES} manifests to be read: use a digest")
            self._fetched[entry.digest] = self._fetch(entry)
        return self._fetched[entry.digest]


def _is_candidate(entry: Descriptor) -> bool:
    name, value = _ATTESTATION
    return essence(entry.media_type) in MANIFEST_TYPES | INDEX_TYPES and entry.annotations.get(name) != value


def _declares_modelpack(entry: Descriptor) -> bool:
    name, value = _OLOT_MODELPACK
    return is_model_type(entry.artifact_type) or entry.annotations.get(name) == value


def _has_no_platform(entry: Descriptor) -> bool:
    return entry.platform is None or entry.platform.unknown


def _undecided(entries: Sequence[Descriptor], platform: Platform) -> UnsupportedArtifact:
    listed = "; ".join(_describe(entry) for entry in entries[:10])
    more = f"; and {len(entries) - 10} more" if len(entries) > 10 else ""
    return UnsupportedArtifact(
        f"the index has {len(entries)} candidates and none is the one for {platform}: "
        f"refer to one by its digest: {listed}{more}"
    )


def _describe(entry: Descriptor) -> str:
    parts = [str(entry.digest)]
    if entry.platform is not None and not entry.platform.unknown:
        parts.append(str(entry.platform))
    parts += [f"{name[:60]}={value[:60]!r}" for name, value in list(entry.annotations.items())[:4]]
    return " ".join(parts)
