"""The key of the credentials' fingerprints: made once, and never leaving this node."""

import secrets
from pathlib import Path

from csi_driver.host import faults, files

_BYTES = 32


def secret(path: Path) -> bytes:
    """The key that is kept at `path`; a new one where there is none, or it cannot be read."""
    try:
        known = faults.read(path)
    except (FileNotFoundError, faults.Unreadable):
        known = b""
    if len(known) == _BYTES:
        return known
    fresh = secrets.token_bytes(_BYTES)
    files.write_atomically(path, fresh)
    return fresh
