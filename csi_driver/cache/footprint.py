"""What directories take of the disk that nothing else shares."""

import stat
from collections.abc import Sequence
from pathlib import Path

from csi_driver.cache.room import Room
from csi_driver.host.directories import Directories, walk
from csi_driver.host.faults import is_lost
from csi_driver.host.files import BLOCK


def room_of(roots: Sequence[Path]) -> Room:
    """The room that would be had by removing them all: a file counts if every name it has lies below one of them.

    What the disk gives no answer about counts as nothing.
    """
    inodes = blocks = 0
    names: dict[int, int] = {}  # of files with several: those that were not met yet
    for root in roots:
        try:
            with Directories(root) as directories:
                for listing in walk(directories):
                    inodes += 1
                    for entry in listing.others:
                        try:
                            status = entry.stat(follow_symlinks=False)
                        except OSError as error:
                            if not is_lost(error):
                                raise
                            continue
                        left = names.get(status.st_ino, status.st_nlink) - 1 if stat.S_ISREG(status.st_mode) else 0
                        names[status.st_ino] = left
                        if left == 0:
                            del names[status.st_ino]
                            inodes, blocks = inodes + 1, blocks + status.st_blocks
        except OSError as error:
            if not is_lost(error):  # as it is if removed while it was looked at
                raise
    return Room(blocks * BLOCK, inodes)
