"""Whether a layer on this node is still what its digest names."""

from pathlib import Path

from isal.isal_zlib import crc32

from csi_driver.errors import ContentMismatch
from csi_driver.host.direct import page_aligned
from csi_driver.inflight import Stop
from csi_driver.oci.digest import Digest
from csi_driver.transfer.buffers import MIB
from csi_driver.transfer.replay import Replay
from csi_driver.transfer.skeleton import gives_back_the_blob

_PIECE = 1 * MIB


def prove_file(path: Path, digest: Digest, *, stop: Stop) -> None:
    """Return if the file has this digest. Raises `ContentMismatch`, `Stopping`, and `OSError` if it cannot be read."""
    room, hasher = page_aligned(_PIECE), digest.hasher()
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(room):
            hasher.update(room[:count])
            stop.check()
    if hasher.hexdigest() != digest.hex:
        raise ContentMismatch(f"layer {digest} has become {digest.algorithm}:{hasher.hexdigest()} on this node's disk")


def prove_tree(tree: Path, skeleton: Path, digest: Digest, *, stop: Stop) -> None:
    """Return if the archive that was unpacked to `tree` can be put together again just as it was.

    For a plain tar layer that is proved by its digest. The digest of a compressed layer is that of the compressed
    bytes, which no decompressor can bring back: there a CRC-32 of the archive, taken while the digest was verified,
    tells whether anything has changed since. For a part of a layer it is the CRC-32 of the files that were kept. Names,
    links and times are not looked at, only what is in the files.

    Raises `ContentMismatch`, and `Stopping`.
    """
    room, hasher, length, crc = page_aligned(_PIECE), digest.hasher(), 0, 0
    is_plain = gives_back_the_blob(skeleton)
    with Replay(tree, skeleton) as replay:
        while count := replay.readinto(room):
            if is_plain:
                hasher.update(room[:count])
            crc = crc32(room[:count], crc)
            length += count
            stop.check()
    end = replay.end
    if end is None or (end.length, end.crc) != (length, crc) or (is_plain and hasher.hexdigest() != digest.hex):
        raise ContentMismatch(f"layer {digest} has changed on this node's disk since it was unpacked")
