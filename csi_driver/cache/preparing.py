"""A data root that a driver may use: its directories, and the number of the form that everything in it has."""

from csi_driver.cache.layout import VERSION, Places
from csi_driver.errors import DriverError
from csi_driver.host import faults, files
from csi_driver.host.ext4 import spread


def prepare(places: Places) -> None:
    """All directories are there. Raises `DriverError` for what another version of the driver wrote in another form.

    A number that the disk does not give back is written anew: it must keep no driver from serving.
    """
    places.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        found = faults.read(places.version).decode("ascii", errors="replace").strip()
    except (FileNotFoundError, faults.Unreadable):
        files.write_atomically(places.version, f"{VERSION}\n".encode())
    else:
        if found != str(VERSION):
            raise DriverError(
                f"{places.root} has layout {found[:20]!r}, and this driver knows layout {VERSION}: "
                "use the driver that wrote it, or another data root"
            )
    for directory in places.directories:
        files.make_directory(directory, 0o700)
    spread(places.ingests)  # best effort
