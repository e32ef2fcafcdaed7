"""Which manifest a reference means now, and whether the caller may have it.

Credentials decide access, also to what the node already holds: a model is given only to a caller whose credentials (or
the node's) can read its manifest at the registry, or could within the configured time. What they could read is
remembered under a keyed hash of the credentials, so that a copy pulled with one pod's secret opens no door to another.
"""

import time

from csi_driver import log
from csi_driver.cache.references import References, Remembered
from csi_driver.cache.store import Cache
from csi_driver.errors import AccessDenied, NotFound, StillPulling, Unauthenticated, Unavailable
from csi_driver.inflight import Deadline, Flights, Pool, Wait
from csi_driver.oci.descriptor import Descriptor, Platform
from csi_driver.oci.digest import Digest
from csi_driver.oci.index import choose
from csi_driver.oci.manifest import Index, Manifest, parse_manifest
from csi_driver.oci.policy import PullPolicy
from csi_driver.puller.request import PullRequest, snapshot_key
from csi_driver.registry.client import FetchedManifest, Registry, Repository

_SECONDS_TO_FIND = 120.0  # what a registry gets for a reference, all indexes, redirects and tries together

NODE = "node"  # the fingerprint of whoever brings no credentials of its own, and so uses the node's


class Resolver:
    """Turns references into manifests, asking the registry when the policy or the caller's rights demand it.

    `access_ttl` is in seconds. `secret` keys the fingerprints of credentials; it stays on this node.
    """

    def __init__(self, *, registry: Registry, cache: Cache, references: References, platform: Platform,
                 access_ttl: float, secret: bytes) -> None:  # fmt: skip
        self._registry = registry
        self._cache = cache
        self._references = references
        self._flights: Flights[tuple[str, str], Digest] = Flights(Pool("resolve", 32), outlives_callers=True)
        self._platform = platform
        self._access_ttl = access_ttl
        self._secret = secret

    def resolve(self, request: PullRequest, wait: Wait) -> Digest:
        """The digest of the manifest that `request` means for this caller.

        Raises `StillPulling` at the deadline and, as the registry answers, `NotFound`, `Unauthenticated`,
        `AccessDenied`, `Unavailable`, `UnsupportedArtifact` or `ContentMismatch`.
        """
        fingerprint = self._fingerprint(request)
        known = self._recall(request, fingerprint)
        if known and self._suffices(known, request):
            return known.digest
        if request.policy is PullPolicy.NEVER:
            raise NotFound(
                f"{request.reference} is not on this node, or not for these credentials, and pullPolicy is Never: "
                "pull it first, or use IfNotPresent"
            )
        try:
            current = self._ask(request, fingerprint, wait)
        except Unavailable as error:
            if known is None or request.policy is PullPolicy.ALWAYS:
                raise
            log.warning(
                "the registry cannot be asked; the model on this node is used",
                reference=request.reference,
                reason=error,
            )
            return known.digest
        if known and known.digest != current:
            self._references.remember(str(request.reference), _before(fingerprint), known.digest)
        return known.digest if known and request.policy is PullPolicy.IF_NOT_PRESENT else current

    def _suffices(self, known: Remembered, request: PullRequest) -> bool:
        """Whether what is remembered answers the request without asking the registry."""
        if request.policy is PullPolicy.NEVER:
            return True
        age = time.time() - known.seen_at
        return request.policy is PullPolicy.IF_NOT_PRESENT and 0 <= age <= self._access_ttl

    def _fingerprint(self, request: PullRequest) -> str:
        reference, keychain = request.reference, request.keychain
        if keychain is None or not keychain.credentials(reference.host, reference.repository):
            return NODE
        return keychain.fingerprint(reference.host, reference.repository, self._secret)

    def _recall(self, request: PullRequest, fingerprint: str) -> Remembered | None:
        """What these credentials, or else the node's, were last given for the reference and is still here.

        A reference that has moved to what nobody has pulled yet still means what it meant before.
        """
        for owner in dict.fromkeys((fingerprint, _before(fingerprint), NODE, _before(NODE))):
            known = self._references.recall(str(request.reference), owner)
            if known and (
                request.is_parent
                or self._cache.snapshot(snapshot_key(request.reference.host, known.digest, request.selection))
            ):
                return known
        return None

    def _ask(self, request: PullRequest, fingerprint: str, wait: Wait) -> Digest:
        name = str(request.reference)
        try:
            return self._flights.join((name, fingerprint), lambda _: self._fetch(request, fingerprint), wait)
        except TimeoutError:
            raise StillPulling(f"pulling {name}: the registry has not answered yet") from None

    def _fetch(self, request: PullRequest, fingerprint: str) -> Digest:
        name = str(request.reference)
        repository = self._registry.repository(request.reference, request.keychain)
        try:
            fetched, _ = find(repository, request.reference.selector, self._platform)
        except (NotFound, Unauthenticated, AccessDenied):
            self._references.forget(name, fingerprint)
            self._references.forget(name, _before(fingerprint))
            raise
        self._cache.put_manifest(fetched.digest, fetched.body)
        self._references.remember(name, fingerprint, fetched.digest)
        return fetched.digest


def find(repository: Repository, selector: str, platform: Platform) -> tuple[FetchedManifest, Manifest]:
    """The manifest under a tag or digest, or of an index the one that it offers this platform."""
    deadline = Deadline.after(_SECONDS_TO_FIND)
    named = repository.manifest(selector, deadline)
    found = parse_manifest(named.body, named.media_type)
    if isinstance(found, Manifest):
        return named, found
    offered: dict[Digest, FetchedManifest] = {}

    def fetch(entry: Descriptor) -> Manifest | Index:
        offered[entry.digest] = fetched = repository.manifest(str(entry.digest), deadline)
        return parse_manifest(fetched.body, fetched.media_type)

    entry, manifest = choose(found, platform, fetch)
    return offered[entry.digest], manifest


def _before(owner: str) -> str:
    """Under whom is remembered what a reference meant to `owner` before it moved."""
    return f"{owner} before"
