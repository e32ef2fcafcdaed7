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


class Slow:
    """A task that has begun when it says so, lets others pass when it is told to, and ends when it may."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.begun = threading.Event()
        self.lets_pass = threading.Event()
        self.may_end = threading.Event()

    def __call__(self) -> bool:
        with self._pool.letting_pass(self.lets_pass.is_set):
            self.begun.set()
            return self.may_end.wait(SOON)


def test_a_task_that_lets_others_pass_holds_up_no_other_owner() -> None:
    pool = Pool("test", 1, most=2)
    slow = Slow(pool)
    held = pool.submit(slow, owner="slow")
    assert slow.begun.wait(SOON)
    first = pool.submit(lambda: "first", owner="other")
    second = pool.submit(lambda: "second", owner="other")
    assert not first.done()
    slow.lets_pass.set()
    assert (first.result(SOON), second.result(SOON)) == ("first", "second")
    slow.may_end.set()
    assert held.result(SOON)


def test_an_owner_gains_nothing_by_tasks_that_let_others_pass() -> None:
    pool = Pool("test", 1, most=3)
    tasks = [Slow(pool) for _ in range(3)]
    for task in tasks:
        task.lets_pass.set()
    held = [pool.submit(task, owner="slow") for task in tasks]
    assert tasks[0].begun.wait(SOON)
    assert pool.submit(lambda: "other", owner="other").result(SOON) == "other"
    assert not tasks[1].begun.is_set()
    for task in tasks:
        task.may_end.set()
    assert all(future.result(SOON) for future in held)


def test_there_are_never_more_than_the_most_under_way() -> None:
    pool = Pool("test", 1, most=3)
    tasks = [Slow(pool) for _ in range(4)]
    for task in tasks:
        task.lets_pass.set()
    held = [pool.submit(task, owner=number) for number, task in enumerate(tasks)]
    for task in tasks[:3]:
        assert task.begun.wait(SOON)
    assert not tasks[3].begun.is_set()
    tasks[0].may_end.set()
    assert tasks[3].begun.wait(SOON)
    for task in tasks:
        task.may_end.set()
    assert all(future.result(SOON) for future in held)


def test_a_thread_that_cannot_be_had_for_want_of_memory_harms_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, gate = Pool("test", 1, most=2), threading.Event()
    first = pool.submit(lambda: gate.wait(SOON))

    def exhausted(_: threading.Thread) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", exhausted)
        second = pool.submit(lambda: "second")
    gate.set()
    assert first.result(SOON)
    assert second.result(SOON) == "second"
