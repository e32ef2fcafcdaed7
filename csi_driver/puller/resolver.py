"""Which manifest a reference means now, and whether the caller may have it.

Credentials decide access, also to what the node already holds: a model is given only to a caller whose credentials (or
the node's) can read its manifest at the registry, or could within the configured time. What one of them could read is
remembered under keyed hashes of that one and of its holder: a copy pulled with one pod's secret opens no door to
another, and a new password of the same Secret or service account closes none.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from csi_driver import log
from csi_driver.cache.references import References, Remembered
from csi_driver.cache.store import Cache
from csi_driver.config import Policy
from csi_driver.errors import AccessDenied, NotFound, StillPulling, Unauthenticated, Unavailable
from csi_driver.inflight import Deadline, Flights, Lock, Pool, Wait
from csi_driver.oci.descriptor import Descriptor, Platform
from csi_driver.oci.digest import Digest
from csi_driver.oci.index import choose
from csi_driver.oci.manifest import Index, Manifest, parse_manifest
from csi_driver.oci.policy import PullPolicy
from csi_driver.oci.reference import Reference
from csi_driver.puller.policy import check
from csi_driver.puller.request import PullRequest, snapshot_key
from csi_driver.registry.client import FetchedManifest, Registry, Repository
from csi_driver.registry.keychain import NODE, is_everybodys, owners

_SECONDS_TRUSTED = (
    30 * 24 * 3600.0
)  # since the registry gave it to somebody's credentials; longer for what all may have
_SECONDS_TO_FIND = 120.0  # what a registry gets for a reference, all indexes, redirects and tries together


@dataclass(frozen=True, slots=True)
class _Told:
    """What the registry named, and who may have it: those that hold the credential which it was told to."""

    digest: Digest
    owners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked for whom. An error may name Secrets of the pod, so it is not told in another namespace."""

    reference: str
    namespace: str
    owners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """What the reference was last known to mean, when (seconds since the epoch), and for whom."""

    digest: Digest
    seen_at: float
    owner: str


class Resolver:
    """Turns references into manifests, asking the registry when the policy or the caller's rights demand it.

    `access_ttl` is in seconds. `secret` keys the names under which credentials are remembered; it stays on this node.
    `policy` is what the operator allows now.
    """

    def __init__(self, *, registry: Registry, cache: Cache, references: References, platform: Platform,
                 access_ttl: float, secret: bytes, policy: Callable[[], Policy]) -> None:  # fmt: skip
        self._registry = registry
        self._cache = cache
        self._references = references
        self._flights: Flights[_Question, _Told] = Flights(
            Pool("resolve", 32), outlives_callers=True, keeps_answers=True
        )
        self._lock = Lock()
        self._asked: set[_Question] = set()
        self._platform = platform
        self._access_ttl = access_ttl
        self._secret = secret
        self._policy = policy

    def permit(self, request: PullRequest, reference: Reference) -> None:
        """Raise `AccessDenied` unless the operator's policy lets the caller have `reference`."""
        check(self._policy(), reference, request.namespace)

    def resolve(self, request: PullRequest, wait: Wait) -> Digest:
        """The digest of the manifest that `request` means for this caller.

        Raises `StillPulling` at the deadline and, as the registry answers, `NotFound`, `Unauthenticated`,
        `AccessDenied`, `Unavailable`, `UnsupportedArtifact` or `ContentMismatch`.
        """
        self.permit(request, request.reference)
        known, own = self._remembered(request)
        if known and (request.policy is PullPolicy.NEVER or self._is_fresh(known, request)):
            return known.digest
        if request.policy is PullPolicy.NEVER:
            raise NotFound(
                f"{request.reference} is not on this node, or not for these credentials, and pullPolicy is Never: "
                "pull it first, or use IfNotPresent"
            )
        try:
            told = self._ask(request, own, wait)
        except Unavailable as error:
            if known is None or request.policy is PullPolicy.ALWAYS:
                raise
            log.warning(
                "the registry cannot be asked; the model on this node is used",
                reference=request.reference,
                reason=error,
            )
            return known.digest
        if known and known.digest != told.digest:
            for owner in told.owners:
                if known.owner in (owner, NODE):  # whoever may have the one may have had the other
                    self._references.remember(str(request.reference), _before(owner), known.digest)
        return known.digest if known and request.policy is PullPolicy.IF_NOT_PRESENT else told.digest

    def _is_fresh(self, known: _Known, request: PullRequest) -> bool:
        """Whether what is remembered is young enough not to ask the registry, where the pull policy lets that be."""
        age = time.time() - known.seen_at
        return request.policy is PullPolicy.IF_NOT_PRESENT and 0 <= age <= self._access_ttl

    def _remembered(self, request: PullRequest) -> tuple[_Known | None, tuple[str, ...]]:
        """What is remembered for this caller, the latest of it, and under which names.

        Who the caller is may take the Kubernetes API to find out: no further than to what is fresh.
        """
        own: list[str] = []
        known: _Known | None = None
        for owner in self._owners(request):
            own.append(owner)
            known = max(filter(None, (known, self._recall(request, owner))), key=lambda one: one.seen_at, default=None)
            if known and self._is_fresh(known, request):
                break
        return known, tuple(own)

    def _owners(self, request: PullRequest) -> Iterator[str]:
        """Whom the caller's credentials make it: one of all on the node, and whom those that it brings itself do."""
        yield NODE
        reference, keychain = request.reference, request.keychain
        if keychain:
            yield from keychain.owners(reference.host, reference.repository, self._secret)

    def _recall(self, request: PullRequest, owner: str) -> _Known | None:
        """What this one was last given for the reference and is still here.

        A reference that has moved to what nobody has pulled yet still means what it meant before. What a pinned
        reference meant is not forgotten, but for whom is.
        """
        for name in (owner, _before(owner)):
            found = self._references.recall(str(request.reference), name)
            if found is None or (owner != NODE and time.time() - found.seen_at > _SECONDS_TRUSTED):
                continue
            if self._is_here(found, request):
                return _Known(found.digest, found.seen_at, owner)
        return None

    def _is_here(self, known: Remembered, request: PullRequest) -> bool:
        if request.is_parent:
            return True
        return self._cache.snapshot(snapshot_key(request.reference.host, known.digest, request.selection)) is not None

    def _ask(self, request: PullRequest, own: tuple[str, ...], wait: Wait) -> _Told:
        name = str(request.reference)
        question = _Question(name, request.namespace, own)
        try:
            return self._flights.join(question, lambda _: self._fetch(request, question), wait)
        except TimeoutError:
            with self._lock:
                is_asked = question in self._asked
            if is_asked:
                raise StillPulling(f"pulling {name}: the registry has not answered yet") from None
            raise StillPulling(f"pulling {name}: credentials are being looked for") from None

    @contextmanager
    def _asking(self, question: _Question) -> Iterator[None]:
        with self._lock:
            self._asked.add(question)
        try:
            yield
        finally:
            with self._lock:
                self._asked.discard(question)

    def _fetch(self, request: PullRequest, question: _Question) -> _Told:
        name = str(request.reference)
        repository = self._registry.repository(request.reference, request.keychain)
        try:
            with self._asking(question):
                fetched, _ = find(repository, request.reference.selector, self._platform)
        except (NotFound, Unauthenticated, AccessDenied):
            for owner in self._refused(repository):
                self._references.forget(name, owner)
                self._references.forget(name, _before(owner))
            raise
        self._cache.put_manifest(fetched.digest, fetched.body)
        told = _Told(fetched.digest, owners(fetched.reader, self._secret))
        for owner in told.owners:
            self._references.remember(name, owner, fetched.digest)
        return told

    def _refused(self, repository: Repository) -> set[str]:
        """Whom a refusal of this repository is meant for: those whose credentials were tried, as all of them were.

        The node itself only if none of its credentials could not be had.
        """
        tried = repository.credentials
        refused = {owner for one in tried if not is_everybodys(one) for owner in owners(one, self._secret)}
        return refused if repository.troubles else refused | {NODE}


def find(repository: Repository, selector: str, platform: Platform) -> tuple[FetchedManifest, Manifest]:
    """The manifest under a tag or digest, or of an index the one that it offers this platform.

    The reader of what an index offers is whoever could read both: it may come from where everybody can read it.
    """
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
    chosen = offered[entry.digest]
    return replace(chosen, reader=named.reader if is_everybodys(chosen.reader) else chosen.reader), manifest


def _before(owner: str) -> str:
    """Under whom is remembered what a reference meant to `owner` before it moved."""
    return f"{owner} before"
