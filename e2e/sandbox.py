"""A place for a program to mount and to leave behind whatever it likes: all of it is gone afterwards."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

OWN_MOUNTS = ("unshare", "--mount")
OWN_MOUNTS_AND_USERS = ("unshare", "--user", "--map-root-user", "--mount")

_PATIENCE = 20.0  # seconds for a program that was told to stop


def run(program: Sequence[str | Path], prefix: str) -> int:
    """Run `program`, with a new directory as its last argument, in a mount namespace of its own; its exit code.

    SIGINT and SIGTERM are passed on, and whatever is left of it then is killed. Raises `OSError` where the kernel
    gives nobody a mount namespace.
    """
    namespace = own_namespace()
    with workspace(prefix) as directory:
        child = subprocess.Popen([*namespace, *program, directory], start_new_session=True)
        with passing_signals_to(child):
            try:
                code = child.wait()
            finally:
                end_group(child)
    return code if code >= 0 else 128 - code  # as a shell tells of a signal


def own_namespace() -> Sequence[str]:
    """The command that runs another one in a mount namespace of its own: as root, or as one of its own."""
    reasons = []
    for command in (OWN_MOUNTS, OWN_MOUNTS_AND_USERS):
        attempt = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if attempt.returncode == 0:
            return command
        reasons.append(attempt.stderr.strip())
    raise OSError(f"this machine allows no mount namespaces: {'; '.join(reasons)}")


@contextmanager
def workspace(prefix: str) -> Iterator[Path]:
    """A directory that is removed in the end, with everything in it."""
    directory = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield directory
    finally:
        remove(directory)


def remove(directory: Path) -> None:
    """Remove a tree, also one with read-only directories, and not as root."""
    for parent, _, _ in os.walk(directory):
        os.chmod(parent, 0o700)
    shutil.rmtree(directory)


@contextmanager
def passing_signals_to(child: "subprocess.Popen[bytes]") -> Iterator[None]:
    """The child has a session of its own, so that Ctrl-C reaches it once, by us, and it can clean up in its order."""

    def forward(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            child.send_signal(number)

    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, forward) for number in wanted]
    try:
        yield
    finally:
        for number, handler in zip(wanted, before, strict=True):
            signal.signal(number, handler)


def end_group(child: "subprocess.Popen[bytes]") -> None:
    """See to it that no process of the child's session goes on."""
    with suppress(subprocess.TimeoutExpired):
        child.wait(_PATIENCE)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
