"""What ext4 does better when it is told."""

import fcntl
import os
import struct
from pathlib import Path

from csi_driver.host.directories import DIRECTORY

_FS_IOC_GETFLAGS = 2 << 30 | struct.calcsize("l") << 16 | 0x6601  # _IOR("f", 1, long) of linux/fs.h
_FS_IOC_SETFLAGS = 1 << 30 | struct.calcsize("l") << 16 | 0x6602  # _IOW("f", 2, long)
_FS_TOPDIR_FL = 0x00020000


def spread(directory: Path) -> bool:
    """Have ext4 choose by its name where on the disk each directory goes that is made in this one; whether it will.

    Else it chooses the place where others were removed a moment ago. It does not use their inodes again for minutes,
    and passes over them one by one for each new file: a model of many files then takes four times as long
    (`recently_deleted` in fs/ext4/ialloc.c; chattr(1), attribute T). Other filesystems have no use for this.
    """
    descriptor = os.open(directory, DIRECTORY)
    try:
        (flags,) = struct.unpack("i", fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(4)))
        fcntl.ioctl(descriptor, _FS_IOC_SETFLAGS, struct.pack("i", flags | _FS_TOPDIR_FL))
    except OSError:
        return False  # it is a hint: without it everything works, though slower
    finally:
        os.close(descriptor)
    return True
