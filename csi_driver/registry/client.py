"""A registry, and one repository of it as one caller sees it."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from csi_driver.errors import AccessDenied, ContentMismatch, NotFound, Unauthenticated, UnsupportedArtifact
from csi_driver.inflight import Deadline
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.digest import Digest
from csi_driver.oci.manifest import ACCEPT, MAX_MANIFEST_BYTES, parse_manifest
from csi_driver.oci.reference import Reference
from csi_driver.registry import push
from csi_driver.registry.access import Access
from csi_driver.registry.blob import BlobSource
from csi_driver.registry.credential import Credential
from csi_driver.registry.host import Capability, Host
from csi_driver.registry.hostsdir import HostsDirectory
from csi_driver.registry.keychain import Found, Keychain
from csi_driver.registry.message import Answer, Request
from csi_driver.registry.outages import Outages
from csi_driver.registry.presence import expect_blob
from csi_driver.registry.retry import Retry
from csi_driver.registry.route import Route
from csi_driver.registry.session import Session
from csi_driver.registry.tokens import Tokens
from csi_driver.registry.transport import Transport
from csi_driver.registry.url import Url


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A manifest as the registry sent it: `digest` is that of `body`, `media_type` is without parameters.

    `reader` is the credential that it was given to; None if it would have been given to nobody in particular, too.
    """

    digest: Digest
    media_type: str
    body: bytes = field(repr=False)
    reader: Credential | None = None


class Registry:
    """All registries that references can name.

    A registry is spoken to in TLS, except those on this machine (if `loopback_plain_http`), those in
    `plain_http_hosts` (`host`, or `host:port`), those that the node's docker config says so of, and hosts whose URL in
    the `hosts` directory does.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        node_keychain: Keychain,
        retry: Retry | None = None,
        plain_http_hosts: Collection[str] = (),
        loopback_plain_http: bool = True,
        hosts: HostsDirectory | None = None,
    ) -> None:
        self._transport = transport
        self._node_keychain = node_keychain
        self._retry = retry or Retry()
        self._plain_http_hosts = frozenset(host.lower() for host in plain_http_hosts)
        self._loopback_plain_http = loopback_plain_http
        self._tokens = Tokens(send=transport.send)
        self._hosts = hosts or HostsDirectory()
        self._outages = Outages()

    def repository(self, reference: Reference, keychain: Keychain | None = None) -> "Repository":
        """The repository of `reference`, asked with the credentials of `keychain` and then with the node's.

        A mirror gets those credentials of the node that are for the mirror's own name, and no others. Nothing is sent
        yet. Raises `Unavailable` when the node's docker config or the registry's hosts.toml is damaged.
        """
        keys = keychain.then(self._node_keychain) if keychain else self._node_keychain
        name, repository = f"{reference.host}/{reference.repository}", reference.repository
        found = keys.find(reference.host, repository)

        def session(host: Host, actions: str) -> Session:
            own = partial(keys.credentials, reference.host, repository)
            of_mirror = partial(self._node_keychain.credentials, host.root.authority, repository)
            access = Access(
                host=host,
                repository=repository,
                actions=actions,
                credentials=of_mirror() if host.is_mirror else found.credentials,
                renewed=of_mirror if host.is_mirror else own,
                tokens=self._tokens,
            )
            send, retry = self._transport.send, self._retry
            return Session(send=send, retry=retry, access=access, host=host, repository=repository, name=name)

        def route(actions: str) -> Route:
            sessions = [session(host, actions) for host in hosts]
            return Route(sessions=sessions, outages=self._outages, retry=self._retry, name=name)

        hosts = self._hosts.hosts(reference.host, self._base(reference).below("v2"))
        return Repository(pulls=route("pull"), pushes=route("pull,push"), found=found)

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

    def __init__(self, *, pulls: Route, pushes: Route, found: Found) -> None:
        self._pulls = pulls
        self._pushes = pushes
        self._found = found

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """All that a registry is shown before it may refuse."""
        return self._found.credentials

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why there are fewer credentials than there should be, for those who are refused."""
        return self._found.troubles

    def manifest(self, selector: str, deadline: Deadline | None = None) -> FetchedManifest:
        """The manifest or index under a tag or digest, in one GET to each host that is asked.

        Only hosts that are trusted to resolve are: who is given a manifest may have the model. After the `deadline`
        nobody is asked any more. Raises `ContentMismatch` when what comes is not what a digest names, and
        `UnsupportedArtifact` when it is too large to be a manifest.
        """
        what = f"manifest {selector} of {self._pulls.name}"

        def ask(session: Session) -> FetchedManifest:
            url = session.url(f"manifests/{selector}")
            until = deadline or Deadline.never()
            request = Request("GET", url, {"Accept": ACCEPT}, most=MAX_MANIFEST_BYTES, deadline=until)
            found = _manifest(session.send(request, what), selector, what)
            if session.host.is_mirror:
                parse_manifest(found.body, found.media_type)  # what makes no sense is asked of the next host
            return replace(found, reader=session.reader)

        with self._troubles_told():
            return self._pulls.ask(Capability.RESOLVE, ask)

    def blob(self, descriptor: Descriptor) -> BlobSource:
        """The blob that `descriptor` describes; nothing is sent yet."""
        return BlobSource(self._pulls, descriptor)

    def has_blob(self, digest: Digest) -> bool:
        """Whether the blob is here."""
        try:
            self._pulls.ask(Capability.RESOLVE, lambda session: expect_blob(session, digest))
        except NotFound:
            return False
        return True

    def push_blob(
        self,
        digest: Digest,
        size: int,
        open_: Callable[[], push.Readable],
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Make the repository hold a blob, see `push.push_blob`."""
        push.push_blob(self._pushes.first(Capability.PUSH), digest, size, open_, progress)

    def push_manifest(self, selector: str, body: bytes, media_type: str) -> Digest:
        """Store a manifest under a tag or its digest, see `push.push_manifest`."""
        return push.push_manifest(self._pushes.first(Capability.PUSH), selector, body, media_type)

    @contextmanager
    def _troubles_told(self) -> Iterator[None]:
        """Let a refusal say which credentials could not be had."""
        try:
            yield
        except (Unauthenticated, AccessDenied, NotFound) as error:
            if not self.troubles:
                raise
            raise type(error)("; ".join((str(error), *self.troubles))) from error


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
