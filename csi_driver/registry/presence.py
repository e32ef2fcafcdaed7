"""Whether a repository holds a blob for the caller, without fetching it (distribution-spec "Pulling blobs")."""

from csi_driver.errors import AccessDenied, NotFound, Unauthenticated, UnsupportedArtifact
from csi_driver.oci.digest import Digest
from csi_driver.registry.message import Answer, Request
from csi_driver.registry.session import Session


def expect_blob(session: Session, digest: Digest) -> None:
    """Raise `NotFound` unless the repository holds it, and otherwise as `holds_blob` does."""
    if not holds_blob(session, digest):
        raise NotFound(f"{session.host.root.authority} has no blob {digest} in {session.name}")


def holds_blob(session: Session, digest: Digest) -> bool:
    """One try, in HEAD; registries that refuse HEAD, as some do, are asked with GET. Raises as `Session.send` does."""
    url, what = session.url(f"blobs/{digest}"), f"blob {digest} of {session.name}"
    try:
        answer = session.send(Request("HEAD", url), what, also=(404,))
    except (UnsupportedArtifact, Unauthenticated, AccessDenied):
        answer = session.send(Request("GET", url, bulk=True), what, also=(404,))
    return _is_there(answer)


def _is_there(answer: Answer) -> bool:
    if answer.stream is not None:
        answer.stream.close()
    return answer.status != 404
