"""A thread that steps back lets everybody else pass, and takes no other thread with it."""

import ctypes
import os

import pytest

from csi_driver.host.priority import run_in_background
from csi_driver.inflight import spawn

IOPRIO_GET = {"x86_64": 252, "aarch64": 31}
CLASS_SHIFT, IDLE = 13, 3


def of_this_thread() -> tuple[int, int]:
    libc = ctypes.CDLL(None, use_errno=True)
    value = libc.syscall(ctypes.c_long(IOPRIO_GET[os.uname().machine]), ctypes.c_int(1), ctypes.c_int(0))
    return os.getpriority(os.PRIO_PROCESS, 0), value >> CLASS_SHIFT


@pytest.mark.skipif(os.uname().machine not in IOPRIO_GET, reason="the number of ioprio_get(2) is not known here")
def test_only_the_calling_thread_steps_back() -> None:
    def step_back() -> tuple[int, int]:
        run_in_background()
        return of_this_thread()

    before = of_this_thread()
    assert spawn("background", step_back).result(30.0) == (19, IDLE)
    assert of_this_thread() == before
