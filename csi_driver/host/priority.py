"""Work that may wait for everybody else's."""

import os
from contextlib import suppress

from csi_driver.host.kernel import Kernel

_LOWEST = 19  # sched(7): the nicest
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}  # asm/unistd.h
_WHO_PROCESS, _CLASS_IDLE = 1, 3 << 13  # ioprio_set(2)


def run_in_background() -> None:
    """The calling thread gets the disk when nobody else wants it, and the processor last; a wish, not a promise.

    Which schedulers of the disk heed it is their business; on an unknown machine only the processor is told.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _LOWEST)  # of this thread alone: setpriority(2), NOTES
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        with suppress(OSError):
            Kernel().call(number, _WHO_PROCESS, 0, _CLASS_IDLE)
