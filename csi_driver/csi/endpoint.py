"""Where the CSI services are found: a unix socket, and whose it is."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from csi_driver.errors import Conflict, InvalidRequest

# sockaddr_un.sun_path holds 108 bytes, one of them the terminating zero (unix(7)).
LONGEST_PATH = 107

_CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Inode:
    """Which file this is, whatever its name."""

    device: int
    number: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A unix socket on this machine; only who may open the file can speak to the driver."""

    path: Path

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """The socket that `unix:///path`, `unix://path`, `unix:path` or a bare path names; raises `InvalidRequest`."""
        scheme, separator, rest = text.strip().partition(":")
        if separator and "/" not in scheme:
            path = rest.removeprefix("//")
        else:
            scheme, path = "unix", text.strip()
        if scheme != "unix":
            raise InvalidRequest(
                f"endpoint {text!r} is not a unix socket: CSI has no authentication, so nothing else is served; "
                "use unix:///csi/csi.sock"
            )
        return cls(_checked(path, text))

    def __str__(self) -> str:
        return f"unix://{self.path}"

    def is_served(self) -> bool:
        """Whether somebody listens on the socket now. Raises `Conflict` when that cannot be told."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(_CONNECT_SECONDS)
            try:
                client.connect(os.fsencode(self.path))
            except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
                return False
            except PermissionError as error:
                raise Conflict(f"socket {self.path} cannot be opened: {error.strerror}; run as its owner") from error
            except OSError:
                return True  # a full backlog, a server that hangs or another kind of socket: somebody has it
            return True

    def make_room(self) -> None:
        """Let the socket be bound: make its directory, and remove a socket on which nobody listens.

        Raises `Conflict` when another process serves it, or when the file is not a socket.
        """
        self.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise Conflict(f"{self.path} exists and is not a socket; remove it or choose another endpoint")
        if self.is_served():
            raise Conflict(f"another driver already serves {self.path}; stop it first")
        self.path.unlink(missing_ok=True)

    @contextmanager
    def address(self) -> Iterator[str]:
        """The address to bind in gRPC's form; the socket that is bound within is for its owner alone.

        gRPC removes, when it stops, whatever socket then has the name that it bound, be it another driver's. So it is
        given a name that ends with this block, and `release` removes the socket. The umask leaves no moment at which
        others could connect.
        """
        directory = os.open(self.path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        umask = os.umask(0o177)
        try:
            yield f"unix:/proc/self/fd/{directory}/{self.path.name}"
        finally:
            os.umask(umask)
            os.close(directory)

    def inode(self) -> Inode | None:
        """Which file now has the socket's name, if any."""
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            return None
        return Inode(found.st_dev, found.st_ino)

    def release(self, ours: Inode | None) -> None:
        """Remove the socket if it still is `ours`, and not a successor's."""
        if ours is not None and self.inode() == ours:
            self.path.unlink(missing_ok=True)


def _checked(path: str, text: str) -> Path:
    if not path or path.endswith("/") or "\0" in path:
        raise InvalidRequest(f"endpoint {text!r} names no socket; use unix:///csi/csi.sock")
    absolute = Path(path).absolute()
    if len(os.fsencode(absolute)) > LONGEST_PATH:
        raise InvalidRequest(
            f"endpoint {text!r} is too long: the path of a unix socket has at most {LONGEST_PATH} bytes"
        )
    return absolute
