"""What tests of every room share: a mount namespace of their own."""

import ctypes
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")  # how fast examples come says more of the machine's load than of the test

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
CAPABILITY_VERSION_3 = 0x20080522
MNT_DETACH = 2
MAY_IGNORE_MODES = 1 << 1 | 1 << 2 | 1 << 3  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER

NewFilesystem = Callable[..., Path]
refusal = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Leave the machine's mounts alone: a user namespace can only be entered before the first thread starts.

    And let programs that tests start be interrupted, though these may run in a shell's background, where none can.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        enter_mount_namespace()
    except OSError as error:
        config.stash[refusal] = f"no mount namespace of its own: {error}"
    else:
        config.stash[refusal] = ""


@pytest.fixture(scope="session")
def mount_namespace(pytestconfig: pytest.Config) -> None:
    """The test may mount what it likes; nothing of it is seen outside, and all of it ends with the tests."""
    if reason := pytestconfig.stash[refusal]:
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A driver that a test configures writes its log for that test, not to what standard error was then for good."""
    logger = logging.getLogger("model-csi")
    before = (logger.level, logger.handlers[:], logger.propagate)
    yield
    logger.setLevel(before[0])
    logger.handlers[:], logger.propagate = before[1:]


@pytest.fixture
def new_filesystem(mount_namespace: None, tmp_path: Path) -> Iterator[NewFilesystem]:
    """Makes empty filesystems in memory, of a type and with options of the test's choice."""
    libc = ctypes.CDLL(None, use_errno=True)
    places: list[Path] = []

    def make(kind: str, options: str = "") -> Path:
        place = tmp_path / f"filesystem-{len(places)}"
        place.mkdir()
        if libc.mount(b"none", os.fsencode(place), kind.encode(), ctypes.c_ulong(0), options.encode()):
            pytest.skip(f"no {kind}: {os.strerror(ctypes.get_errno())}")
        places.append(place)
        return place

    yield make
    for place in places:
        check(libc.umount2(os.fsencode(place), MNT_DETACH))


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Modes of files and directories bind the test, as they bind everybody but root."""
    with without_capabilities(MAY_IGNORE_MODES):
        yield


def enter_mount_namespace() -> None:
    """Give this process mounts of its own; who is not root becomes the root of a user namespace first."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if user == 0:
        check(libc.unshare(CLONE_NEWNS))
    else:
        check(libc.unshare(CLONE_NEWNS | CLONE_NEWUSER))
        # user_namespaces(7): a process without privileges must give up setgroups(2) before it maps its group
        for name, line in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(line)
    check(libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))


@contextmanager
def without_capabilities(mask: int) -> Iterator[None]:
    """Do without some of the effective capabilities of this thread for a while."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same for capabilities 32 to 63
    check(libc.capget(header, sets))
    effective = sets[0]
    sets[0] = effective & ~mask
    check(libc.capset(header, sets))
    try:
        yield
    finally:
        sets[0] = effective
        check(libc.capset(header, sets))


def check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
