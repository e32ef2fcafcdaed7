"""Names with several addresses, of which some are dead: whoever answers first is spoken to."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from csi_driver.registry.transport.dialling import dial
from tests.fixtures.hosts import black_hole, nobody

Address = tuple[int, int, int, str, Any]


def at(authority: str) -> Address:
    host, _, port = authority.rpartition(":")
    return (socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, int(port)))


@contextmanager
def listener() -> Iterator[tuple[socket.socket, Address]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server, at(f"127.0.0.1:{server.getsockname()[1]}")


def connect(addresses: Sequence[Address], timeout: float = 30.0) -> socket.socket:
    return dial("registry.test", 443, timeout, resolve=lambda *_, **__: addresses)


def test_the_only_address_is_connected_to() -> None:
    with listener() as (server, address), connect([address], timeout=7.0) as wire:
        peer, _ = server.accept()
        with peer:
            wire.sendall(b"x")
            assert peer.recv(1) == b"x"
        assert wire.gettimeout() == 7.0
        assert wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_addresses_that_refuse_are_passed_over_at_once() -> None:
    with nobody() as dead, listener() as (server, address), connect([at(dead)] * 20 + [address]) as wire:
        assert wire.getpeername() == server.getsockname()


def test_many_addresses_that_do_not_answer_cost_a_moment_each_and_not_a_timeout() -> None:
    """With a timeout for each this would take four minutes."""
    with black_hole() as dead, listener() as (server, address), connect([at(dead)] * 4 + [address], 60.0) as wire:
        assert wire.getpeername() == server.getsockname()


def test_the_timeout_is_for_all_addresses_together() -> None:
    with black_hole() as dead, pytest.raises(TimeoutError, match="none of its 40 addresses answered in time"):
        connect([at(dead)] * 40, timeout=0.05)


def test_who_is_refused_everywhere_is_told_so() -> None:
    with nobody() as dead, pytest.raises(ConnectionRefusedError):
        connect([at(dead)] * 3)


def test_a_family_that_this_node_does_not_have_is_passed_over() -> None:
    with listener() as (server, address):
        unknown: Address = (socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("not an address", 1, 0, 0))
        with connect([unknown, address]) as wire:
            assert wire.getpeername() == server.getsockname()


def test_the_families_take_turns() -> None:
    """A node without a way out over IPv6 meets the IPv4 address second, however many the others are."""
    with black_hole() as dead, ExitStack() as stack:
        tried: list[Any] = []
        server, address = stack.enter_context(listener())
        sixes: list[Address] = [(socket.AF_INET6, socket.SOCK_STREAM, 0, "", ("::1", 1, 0, 0))] * 200
        with connect([at(dead), *sixes, address]) as wire:
            tried.append(wire.getpeername())
        assert tried == [server.getsockname()]


def test_a_name_without_addresses_is_an_error_and_not_a_crash() -> None:
    with pytest.raises(OSError, match="it has no address"):
        connect([])
