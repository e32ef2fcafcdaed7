"""Where the socket is, whose it is, and what becomes of it."""

import os
import socket
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from csi_driver.csi.client import Client
from csi_driver.csi.endpoint import LONGEST_PATH, Endpoint
from csi_driver.errors import Conflict, InvalidRequest, Unavailable
from tests.csi.conftest import Driver

Serve = Callable[..., Driver]


def bound(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A socket of somebody else; closing it leaves the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    other = socket.socket(socket.AF_UNIX, kind)
    other.bind(str(path))
    return other


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("unix:///csi/csi.sock", "/csi/csi.sock"),
        ("unix:/csi/csi.sock", "/csi/csi.sock"),
        ("/csi/csi.sock", "/csi/csi.sock"),
        (" unix:///csi/csi.sock\n", "/csi/csi.sock"),
        ("/odd:name/csi.sock", "/odd:name/csi.sock"),
        ("unix://run/csi.sock", f"{Path.cwd()}/run/csi.sock"),
    ],
)
def test_an_endpoint_is_a_unix_socket_however_it_is_spelled(text: str, path: str) -> None:
    assert Endpoint.parse(text) == Endpoint(Path(path))
    assert Endpoint.parse(str(Endpoint(Path(path)))) == Endpoint(Path(path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tcp://0.0.0.0:10000", "is not a unix socket: CSI has no authentication"),
        ("0.0.0.0:10000", "is not a unix socket"),
        ("unix-abstract:csi", "is not a unix socket"),
        ("unix://", "names no socket"),
        ("", "names no socket"),
        ("unix:///csi/", "names no socket"),
        ("unix:///c\0si", "names no socket"),
        ("unix:///" + "x" * LONGEST_PATH, "at most 107 bytes"),
        ("/" + "ü" * 54, "at most 107 bytes"),
    ],
)
def test_any_other_endpoint_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        Endpoint.parse(text)


def test_the_longest_path_that_linux_takes_is_accepted() -> None:
    assert Endpoint.parse("/" + "x" * (LONGEST_PATH - 1))


def test_only_its_owner_may_open_the_socket(endpoint: Endpoint, serve: Serve) -> None:
    umask = os.umask(0o022)
    try:
        serve()
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(umask)
    assert stat.S_IMODE(endpoint.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(endpoint.path.parent.stat().st_mode) == 0o755
    assert os.listdir(endpoint.path.parent) == [endpoint.path.name]


def test_a_second_driver_leaves_the_socket_of_a_live_one_alone(endpoint: Endpoint, serve: Serve) -> None:
    serve()
    second = Driver(endpoint)
    with pytest.raises(Conflict, match=f"another driver already serves {endpoint.path}"):
        second.server.start()
    second.server.stop(0)
    with Client(endpoint) as client:
        assert client.probe()


def test_a_driver_that_hangs_is_alive_all_the_same(endpoint: Endpoint) -> None:
    with closing(bound(endpoint.path)) as hanging:
        hanging.listen(0)
        assert endpoint.is_served()
        with pytest.raises(Conflict):
            endpoint.make_room()


def test_a_socket_of_another_kind_is_somebodys(endpoint: Endpoint) -> None:
    with closing(bound(endpoint.path, socket.SOCK_DGRAM)):
        assert endpoint.is_served()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every socket")
def test_a_socket_of_another_owner_is_not_taken_for_dead(endpoint: Endpoint) -> None:
    with closing(bound(endpoint.path)):
        endpoint.path.chmod(0)
        with pytest.raises(Conflict, match="cannot be opened: Permission denied"):
            endpoint.make_room()


def test_the_socket_of_a_dead_driver_is_replaced(endpoint: Endpoint, serve: Serve) -> None:
    bound(endpoint.path).close()
    assert not endpoint.is_served()
    serve()
    with Client(endpoint) as client:
        assert client.probe()


def test_a_file_that_is_not_a_socket_is_kept(endpoint: Endpoint) -> None:
    endpoint.path.parent.mkdir()
    endpoint.path.write_text("precious")
    with pytest.raises(Conflict, match="is not a socket"):
        Driver(endpoint).server.start()
    assert endpoint.path.read_text() == "precious"


def test_a_socket_goes_with_its_driver(endpoint: Endpoint, serve: Serve) -> None:
    serve().server.stop(0)
    assert not endpoint.path.exists()
    with pytest.raises(Unavailable, match=f"no driver answers at {endpoint}"), Client(endpoint):
        pass


def test_the_socket_of_a_successor_stays(endpoint: Endpoint, serve: Serve) -> None:
    driver = serve()
    endpoint.path.unlink()
    with closing(bound(endpoint.path)) as successor:
        successor.listen()
        driver.server.stop(0)
        assert endpoint.is_served()


def test_a_driver_that_never_started_removes_nothing(endpoint: Endpoint) -> None:
    with closing(bound(endpoint.path)):
        Driver(endpoint).server.stop(0)
        assert endpoint.path.exists()


def test_a_socket_that_cannot_be_bound_is_said_so(endpoint: Endpoint) -> None:
    unbindable = Endpoint(endpoint.path.with_name("x" * LONGEST_PATH))
    with pytest.raises(Conflict, match=f"cannot listen on {unbindable}"):
        Driver(unbindable).server.start()
