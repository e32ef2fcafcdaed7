"""What can go wrong, in the driver's own words.

Every message names the value that was wrong and what to do about it, and never holds a secret: it is shown to users
in the events of their pods. Each class stands for one answer that a caller can act on; csi/status.py maps it to a gRPC
code and cli/ to an exit code.
"""


class DriverError(Exception):
    """Anything that the driver itself found to be wrong."""


class InvalidRequest(DriverError):
    """A request, attribute or setting is malformed: the same request will never succeed."""


class NotFound(DriverError):
    """The registry, cache or node knows no such manifest, blob or volume."""


class Unauthenticated(DriverError):
    """The registry accepts none of the credentials that were tried (HTTP 401)."""


class AccessDenied(DriverError):
    """The credentials are known but may not read this (HTTP 403), or a policy forbids it."""


class NoSpace(DriverError):
    """The disk, its inodes or the cache's quota cannot hold what was asked for."""


class Unavailable(DriverError):
    """The registry cannot be reached or cannot answer now; the same request may succeed later.

    `retry_after` is the server's own wish in seconds (RFC 9110, section 10.2.3), where it expressed one.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RangeIgnored(Unavailable):
    """The server answered a request for part of a blob with something else: only whole blobs can be had from it."""


class LayerGone(Unavailable):
    """The cache does not hold a layer any more: it was found damaged and given up, and must be fetched again."""


class StillPulling(DriverError):
    """The model is not there yet; the pull goes on and the next call joins it.

    `fetched` and `total` are bytes, `rate` is bytes per second; `total` is 0 while the size is not known.
    `manifest_digest` is what the reference was found to mean; empty while that is not known.
    """

    def __init__(
        self, message: str, *, fetched: int = 0, total: int = 0, rate: float = 0.0, manifest_digest: str = ""
    ) -> None:
        super().__init__(message)
        self.manifest_digest = manifest_digest
        self.fetched = fetched
        self.total = total
        self.rate = rate


class Busy(DriverError):
    """Another call is at work on the same volume."""


class Conflict(DriverError):
    """The target or the volume is taken by something that was asked for differently."""


class UnsupportedArtifact(DriverError):
    """What the registry holds is not a model this driver can lay out safely."""


class ContentMismatch(DriverError):
    """Bytes differ from the digest or size that names them."""


class Stopping(DriverError):
    """The driver is shutting down; what was fetched is kept and the next driver goes on from there."""
