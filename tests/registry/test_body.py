"""How bodies come out of sockets: whole, in pieces of any size, and with the socket left as it was."""

import http.client
import os
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from csi_driver.registry.transport.body import Body

DATA = os.urandom(100_000)
LOW_WATER = 4096


@pytest.fixture
def wires() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection: the server's and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        with closing(client), listener.accept()[0] as server:
            yield server, client


def answer(server: socket.socket, client: socket.socket, data: bytes, *, silence: float = 10.0) -> Body:
    """A body whose bytes are all in the client's socket already."""
    server.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA) + data)
    client.settimeout(10.0)
    response = http.client.HTTPResponse(client)
    response.begin()
    return Body(response, client, silence, low_water=LOW_WATER)


@pytest.mark.parametrize("step", [1000, LOW_WATER, 3 * LOW_WATER, len(DATA), 2 * len(DATA)])
def test_a_body_is_read_to_its_end_and_the_next_answer_wakes_its_reader(
    wires: tuple[socket.socket, socket.socket], step: int
) -> None:
    server, client = wires
    body, read = answer(server, client, DATA), b""
    view = memoryview(bytearray(step))
    while len(read) < len(DATA):
        read += view[: body.readinto(view)]
    assert read == DATA
    assert client.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
    again = memoryview(bytearray(len(DATA)))
    assert answer(server, client, DATA).readinto(again) == len(DATA)
    assert again == DATA


def test_what_came_before_a_silence_is_handed_over_first(wires: tuple[socket.socket, socket.socket]) -> None:
    server, client = wires
    body = answer(server, client, DATA[:70_000], silence=0.05)
    view, read = memoryview(bytearray(len(DATA))), 0
    while read < 70_000:
        read += body.readinto(view[read:])
    assert view[:read] == DATA[:70_000]
    with pytest.raises(TimeoutError):
        body.readinto(view[read:])


def test_a_body_that_ends_early_ends(wires: tuple[socket.socket, socket.socket]) -> None:
    server, client = wires
    body = answer(server, client, DATA[:70_000])
    server.shutdown(socket.SHUT_WR)
    view = memoryview(bytearray(len(DATA)))
    assert body.readinto(view) == 70_000
    assert body.readinto(view) == 0
