"""The wish to stop reaches those who wait for something else."""

from csi_driver.inflight import Stop


def test_the_wish_calls_whoever_asked_for_it_once() -> None:
    stop, calls = Stop(), list[str]()
    with stop.calling(lambda: calls.append("a")), stop.calling(lambda: calls.append("b")):
        assert calls == []
        stop.set()
        stop.set()
    assert calls == ["a", "b"]


def test_whoever_has_left_is_not_called() -> None:
    stop, calls = Stop(), list[str]()
    with stop.calling(lambda: calls.append("a")):
        pass
    stop.set()
    assert calls == []


def test_whoever_comes_late_is_called_at_once() -> None:
    stop, calls = Stop(), list[str]()
    stop.set()
    with stop.calling(lambda: calls.append("a")):
        assert calls == ["a"]
    assert calls == ["a"]
