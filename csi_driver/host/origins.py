"""Which directories below a given one are mounted, and where: the mount table read from its other end."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from csi_driver.host.mounts import Mount


def mounted_below(table: Iterable[Mount], directory: Path) -> dict[Path, Path]:
    """Mount points by the path, relative to `directory`, of what they show.

    A mount names its filesystem and the path within it (proc_pid_mountinfo(5), fields 3 and 4), and that path is
    another one than `directory` wherever the data root is itself a mount, as it is in a container. What was removed
    since is marked by the kernel and has no path any more.
    """
    mounts = list(table)
    home = _nearest(mounts, directory)
    if home is None:
        return {}
    place = PurePosixPath(home.root) / directory.relative_to(home.point)
    below: dict[Path, Path] = {}
    for mount in mounts:
        root = PurePosixPath(mount.root)
        if mount.device == home.device and root != place and root.is_relative_to(place):
            below[Path(mount.point)] = Path(root.relative_to(place))
    return below


def _nearest(mounts: list[Mount], directory: Path) -> Mount | None:
    """The mount that `directory` lies on: the last of those with the longest point, as later ones cover earlier."""
    around = [mount for mount in mounts if directory.is_relative_to(mount.point)]
    longest = max((len(Path(mount.point).parts) for mount in around), default=0)
    return next((mount for mount in reversed(around) if len(Path(mount.point).parts) == longest), None)
