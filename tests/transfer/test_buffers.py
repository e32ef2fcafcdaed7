"""Few buffers serve many transfers, and none of them ever waits for ever."""

import threading

import pytest

from csi_driver.transfer.buffers import Allowance, BufferPool, GivenUp


def never() -> bool:
    return False


def already() -> bool:
    return True


def test_a_buffer_goes_back_when_its_last_holder_releases_it() -> None:
    pool = BufferPool(count=2, size=4096)
    with pool.allowance(never) as allowance:
        buffer = allowance.take()
        buffer.share()
        buffer.release()
        assert pool.free == 1
        buffer.release()
        assert pool.free == 2


def test_a_buffer_comes_back_empty() -> None:
    pool = BufferPool(count=1, size=4096)
    with pool.allowance(never) as allowance:
        buffer = allowance.take()
        buffer.length, buffer.found = 10, True
        buffer.release()
        again = allowance.take()
        assert (again is buffer, again.length, again.found, len(again.payload)) == (True, 0, False, 0)
        again.release()


def test_a_payload_starts_at_a_page_and_has_margins() -> None:
    pool = BufferPool(count=1, size=8192)
    with pool.allowance(never) as allowance:
        buffer = allowance.take()
        buffer.room[:] = b"x" * 8192
        buffer.length = 3
        buffer.window(-2, 0)[:] = b"ab"
        assert bytes(buffer.window(-2, 3)) == b"abxxx"
        assert len(buffer.window(-4096, 8192 + 4096)) == 8192 + 2 * 4096
        assert bytes(buffer.payload) == b"xxx"
        buffer.release()


def test_every_allowance_is_good_for_one_buffer() -> None:
    pool = BufferPool(count=3, size=4096)
    with pool.allowance(never) as greedy, pool.allowance(never) as late:
        held = [greedy.take(), greedy.take()]
        done: list[Allowance] = []

        def take_another() -> None:
            greedy.take().release()
            done.append(greedy)

        thread = threading.Thread(target=take_another)
        thread.start()
        mine = late.take()
        assert pool.free == 0
        mine.release()
        assert done == []  # the last one is kept for whoever has none
        held.pop().release()
        thread.join()
        held.pop().release()


def test_no_more_allowances_are_given_than_there_are_buffers() -> None:
    pool = BufferPool(count=1, size=4096)
    opened = threading.Event()

    def second() -> None:
        with pool.allowance(never) as allowance:
            allowance.take().release()
            opened.set()

    with pool.allowance(never):
        thread = threading.Thread(target=second)
        thread.start()
        assert not opened.is_set()
    thread.join()
    assert opened.is_set()


def test_a_buffer_may_be_released_after_its_allowance_has_ended() -> None:
    pool = BufferPool(count=1, size=4096)
    with pool.allowance(never) as allowance:
        buffer = allowance.take()
    assert pool.free == 0
    buffer.release()
    assert pool.free == 1


def test_whoever_has_given_up_waits_no_longer() -> None:
    pool = BufferPool(count=1, size=4096)
    with pytest.raises(GivenUp), pool.allowance(already):
        pass
    given_up = threading.Event()
    with pool.allowance(given_up.is_set) as allowance:
        buffer = allowance.take()

        def give_up() -> None:
            given_up.set()
            pool.wake()

        thread = threading.Thread(target=give_up)
        thread.start()
        with pytest.raises(GivenUp):
            allowance.take()
        thread.join()
        buffer.release()


def test_a_buffer_is_given_back_when_filling_it_fails() -> None:
    pool = BufferPool(count=1, size=4096)
    with pool.allowance(never) as allowance, pytest.raises(ZeroDivisionError):
        allowance.filled(lambda buffer: 1 // buffer.length)
    assert pool.free == 1
