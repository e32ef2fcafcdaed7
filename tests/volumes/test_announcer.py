"""What is remembered of the volumes that pods wait for."""

from csi_driver.volumes.announcer import Announcer


def test_volumes_that_nobody_comes_back_for_are_forgotten_at_last() -> None:
    announcer = Announcer(post=lambda _: None)
    for number in range(10_001):
        announcer.waiting(str(number))
    assert announcer.forget("0") is None
    assert announcer.forget("10000") is not None
