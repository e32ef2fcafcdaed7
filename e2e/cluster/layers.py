"""How the layers of images are laid on top of one another, which is up to the filesystem below."""

import subprocess
from pathlib import Path

from e2e.node import succeeded


def can_be_overlaid(directory: Path) -> bool:
    """Whether overlayfs works there; it does not on overlayfs itself, such as the root of a container."""
    command: list[str | Path] = ["stat", "--file-system", "--format=%T", directory]
    return succeeded(subprocess.run(command, capture_output=True, text=True, check=False)).strip() != "overlayfs"
