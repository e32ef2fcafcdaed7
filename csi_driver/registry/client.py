"""A registry, and one repository of it as one caller sees it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from csi_driver.errors import ContentMismatch, UnsupportedArtifact
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.digest import Digest
from csi_driver.oci.manifest import ACCEPT, MAX_MANIFEST_BYTES
from csi_driver.oci.reference import Reference
from csi_driver.registry import push
from csi_driver.registry.access import Access
from csi_driver.registry.blob import BlobSource
from csi_driver.registry.keychain import Keychain
from csi_driver.registry.message import Answer, Request
from csi_driver.registry.retry import Retry
from csi_driver.registry.session import Session
from csi_driver.registry.tokens import Tokens
from csi_driver.registry.transport import Transport
from csi_driver.registry.url import Url


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A manifest as the registry sent it: `digest` is that of `body`, `media_type` is without parameters."""

    digest: Digest
    media_type: str
    body: bytes = field(repr=False)


class Registry:
    """All registries that references can name.

    A registry is spoken to in TLS, except those on this machine (if `loopback_plain_http`), those in
    `plain_http_hosts` (`host`, or `host:port`), and those that the node's docker config says so of.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        node_keychain: Keychain,
        retry: Retry | None = None,
        plain_http_hosts: Collection[str] = (),
        loopback_plain_http: bool = True,
    ) -> None:
        self._transport = transport
        self._node_keychain = node_keychain
        self._retry = retry or Retry()
        self._plain_http_hosts = frozenset(host.lower() for host in plain_http_hosts)
        self._loopback_plain_http = loopback_plain_http
        self._tokens = Tokens(send=transport.send, retry=self._retry)

    def repository(self, reference: Reference, keychain: Keychain | None = None) -> "Repository":
        """The repository of `reference`, asked with the credentials of `keychain` and then with the node's.

        Nothing is sent yet. Raises `Unavailable` when the node's docker config is damaged.
        """
        keys = keychain.then(self._node_keychain) if keychain else self._node_keychain
        credentials = keys.credentials(reference.host, reference.repository)
        base = self._base(reference)

        def session(actions: str) -> Session:
            access = Access(
                registry=base,
                repository=reference.repository,
                actions=actions,
                credentials=credentials,
                tokens=self._tokens,
            )
            return Session(
                send=self._transport.send, retry=self._retry, access=access, base=base, repository=reference.repository
            )

        return Repository(pulls=session("pull"), pushes=session("pull,push"))

    def _base(self, reference: Reference) -> Url:
        url = Url.parse(f"https://{reference.api_host}")
        names = {reference.host.lower(), url.host, f"{url.host}:{url.port}"}
        plain = (
            not names.isdisjoint(self._plain_http_hosts)
            or (self._loopback_plain_http and url.is_loopback)
            or self._node_keychain.plain_http(reference.host)
        )
        return Url.parse(f"http://{reference.api_host}") if plain else url


class Repository:
    """What one caller can read from, and write to, one repository. Safe to use from several threads.

    Every call raises `Unauthenticated`, `AccessDenied`, `NotFound` or `Unavailable` as the registry answers, and
    `UnsupportedArtifact` for an answer that means none of these.
    """

    def __init__(self, *, pulls: Session, pushes: Session) -> None:
        self._pulls = pulls
        self._pushes = pushes

    def manifest(self, selector: str) -> FetchedManifest:
        """The manifest or index under a tag or digest, in one GET.

        Raises `ContentMismatch` when what comes is not what a digest names, and `UnsupportedArtifact` when it is too
        large to be a manifest.
        """
        what = f"manifest {selector} of {self._pulls.name}"
        request = Request("GET", self._pulls.url(f"manifests/{selector}"), {"Accept": ACCEPT}, most=MAX_MANIFEST_BYTES)
        return self._pulls.ask(request, what, lambda answer: _manifest(answer, selector, what))

    def blob(self, descriptor: Descriptor) -> BlobSource:
        """The blob that `descriptor` describes; nothing is sent yet."""
        return BlobSource(self._pulls, descriptor)

    def has_blob(self, digest: Digest) -> bool:
        """Whether the blob is here."""
        return push.has_blob(self._pulls, digest)

    def push_blob(
        self,
        digest: Digest,
        size: int,
        open_: Callable[[], push.Readable],
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Make the repository hold a blob, see `push.push_blob`."""
        push.push_blob(self._pushes, digest, size, open_, progress)

    def push_manifest(self, selector: str, body: bytes, media_type: str) -> Digest:
        """Store a manifest under a tag or its digest, see `push.push_manifest`."""
        return push.push_manifest(self._pushes, selector, body, media_type)


def _manifest(answer: Answer, selector: str, what: str) -> FetchedManifest:
    if len(answer.body) > MAX_MANIFEST_BYTES:
        raise UnsupportedArtifact(f"{what} has more than {MAX_MANIFEST_BYTES >> 20} MiB: it is no manifest of a model")
    media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
    if ":" not in selector:
        return FetchedManifest(Digest.of(answer.body), media_type, answer.body)
    wanted = Digest.parse(selector)
    digest = Digest.of(answer.body, wanted.algorithm)
    if digest != wanted:
        raise ContentMismatch(f"{answer.url.authority} sent something with the digest {digest} for {what}")
    return FetchedManifest(digest, media_type, answer.body)
