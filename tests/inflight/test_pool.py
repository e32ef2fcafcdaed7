"""How many tasks run at once, and whose turn it is."""

import threading
from functools import partial

import pytest

from csi_driver.inflight import Pool

SOON = 30.0


def test_a_pool_runs_at_most_its_size_at_once() -> None:
    pool, gate, most = Pool("test", 2), threading.Semaphore(0), []
    running = threading.Semaphore(0)
    count, lock = [0], threading.Lock()

    def work() -> None:
        with lock:
            count[0] += 1
            most.append(count[0])
        running.release()
        assert gate.acquire(timeout=SOON)
        with lock:
            count[0] -= 1

    futures = [pool.submit(work) for _ in range(6)]
    assert running.acquire(timeout=SOON)
    assert running.acquire(timeout=SOON)
    for _ in futures:
        gate.release()
    for future in futures:
        future.result(SOON)
    assert max(most) == 2


def test_a_pool_that_can_have_no_more_threads_does_with_those_it_has() -> None:
    pool, gate = Pool("test", 2), threading.Event()
    first = pool.submit(lambda: gate.wait(SOON))
    usual = threading.stack_size(1 << 46)  # bytes of address space that no thread can have
    try:
        second = pool.submit(threading.get_ident)
    finally:
        threading.stack_size(usual)
    gate.set()
    assert first.result(SOON)
    assert second.result(SOON) != threading.get_ident()


def test_a_task_that_fails_leaves_its_thread_for_the_next() -> None:
    pool = Pool("test", 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 // 0).result(SOON)
    assert pool.submit(lambda: 1).result(SOON) == 1


def test_owners_take_turns() -> None:
    pool, begun, gate, done = Pool("test", 1), threading.Event(), threading.Event(), list[str]()

    def hold() -> bool:
        begun.set()
        return gate.wait(SOON)

    first = pool.submit(hold, owner="large")
    assert begun.wait(SOON)
    tasks = [("large", "a"), ("large", "b"), ("small", "c"), ("large", "d"), ("other", "e"), ("small", "f")]
    futures = [pool.submit(partial(done.append, name), owner=owner) for owner, name in tasks]
    gate.set()
    assert first.result(SOON)
    for future in futures:
        future.result(SOON)
    assert "".join(done) == "acebfd"


def test_the_owner_with_the_fewest_tasks_under_way_comes_next() -> None:
    pool, gates = Pool("test", 2), {name: threading.Event() for name in "abcd"}
    begun: dict[str, threading.Event] = {name: threading.Event() for name in "abcd"}

    def work(name: str) -> bool:
        begun[name].set()
        return gates[name].wait(SOON)

    futures = [pool.submit(partial(work, name), owner="large") for name in "abc"]
    assert begun["a"].wait(SOON)
    assert begun["b"].wait(SOON)
    futures.append(pool.submit(lambda: work("d"), owner="small"))
    gates["a"].set()
    assert begun["d"].wait(SOON)
    assert not begun["c"].is_set()
    for gate in gates.values():
        gate.set()
    assert all(future.result(SOON) for future in futures)


def test_a_task_that_lets_others_pass_does_not_count() -> None:
    pool, gate, lets_pass, begun = Pool("test", 1, most=2), threading.Event(), threading.Event(), threading.Event()

    def slow() -> bool:
        with pool.letting_pass(lets_pass.is_set):
            begun.set()
            return gate.wait(SOON)

    held = pool.submit(slow)
    assert begun.wait(SOON)
    next_one, last = pool.submit(threading.get_ident), pool.submit(lambda: "last")
    assert not next_one.done()
    lets_pass.set()
    next_one.result(SOON)
    assert last.result(SOON) == "last"
    gate.set()
    assert held.result(SOON)


def test_there_are_never_more_than_the_most_under_way() -> None:
    pool, gate, begun, lock, most = (
        Pool("test", 1, most=3),
        threading.Event(),
        threading.Semaphore(0),
        threading.Lock(),
        [0],
    )
    running = [0]

    def slow() -> None:
        with pool.letting_pass(lambda: True):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            begun.release()
            assert gate.wait(SOON)
            with lock:
                running[0] -= 1

    futures = [pool.submit(slow) for _ in range(6)]
    for _ in range(3):
        assert begun.acquire(timeout=SOON)
    gate.set()
    for future in futures:
        future.result(SOON)
    assert most[0] == 3
