"""Hosts that failed are left out for a while, and come back through one caller's trial."""

from csi_driver.errors import Unavailable
from csi_driver.registry.host import Host
from csi_driver.registry.outages import Outages
from csi_driver.registry.url import Url

HOST = Host(Url.parse("http://m/v2"), namespace="docker.io")
SAME = Host(Url.parse("http://m/v2/other"), namespace="docker.io")
FOR_ANOTHER = Host(Url.parse("http://m/v2"), namespace="ghcr.io")
OTHER = Host(Url.parse("http://n/v2"), namespace="docker.io")


def test_a_host_is_left_out_for_a_while_whatever_it_is_asked_for() -> None:
    now = [100.0]
    outages = Outages(seconds=30.0, clock=lambda: now[0])
    assert outages.reason(HOST, "m") is None
    outages.begin(HOST, "m", Unavailable("nobody listens"))
    now[0] += 29.9
    assert (outages.reason(HOST, "m"), outages.reason(SAME, "m"), outages.reason(OTHER, "m")) == (
        "nobody listens",
        "nobody listens",
        None,
    )


def test_what_a_host_failed_for_is_told_to_nobody_who_asks_for_something_else() -> None:
    outages = Outages()
    outages.begin(
        HOST, "docker.io/team/secret-project", Unavailable("503 for manifest v1 of docker.io/team/secret-project")
    )
    assert "secret-project" in (outages.reason(HOST, "docker.io/team/secret-project") or "")
    assert outages.reason(HOST, "docker.io/other/model") == "it has failed"


def test_that_a_mirror_fails_for_one_registry_says_nothing_of_the_others() -> None:
    """A pod may name a registry that does not exist; the mirror's 502 for it must not send everybody else past it."""
    outages = Outages()
    outages.begin(HOST, "m", Unavailable("502"))
    assert outages.reason(FOR_ANOTHER, "m") is None


def test_outages_of_registries_that_nobody_asks_for_any_more_are_forgotten() -> None:
    now = [0.0]
    outages = Outages(seconds=30.0, clock=lambda: now[0])
    for number in range(2000):
        outages.begin(Host(Url.parse("http://m/v2"), namespace=f"made.up.{number}"), "m", Unavailable("502"))
        now[0] += 10.0
    assert len(outages._outages) < 100


def test_then_one_caller_tries_it_while_the_others_go_on_without() -> None:
    now = [100.0]
    outages = Outages(seconds=30.0, clock=lambda: now[0])
    outages.begin(HOST, "m", Unavailable("nobody listens"))
    now[0] += 30.0
    assert [outages.reason(HOST, "m") for _ in range(3)] == [None, "nobody listens", "nobody listens"]
    outages.end(HOST)
    assert outages.reason(HOST, "m") is None


def test_a_trial_that_nobody_tells_the_end_of_is_followed_by_another() -> None:
    now = [100.0]
    outages = Outages(seconds=30.0, clock=lambda: now[0])
    outages.begin(HOST, "m", Unavailable("nobody listens"))
    now[0] += 30.0
    assert outages.reason(HOST, "m") is None
    now[0] += 15.0
    assert outages.reason(HOST, "m") is None
