"""Events reach the pod they are about, one for each thing that happens to it, and never get in the way."""

from dataclasses import replace

import pytest

from csi_driver.kube.api import Api, core
from csi_driver.kube.events import Event, Events
from tests.fixtures.faults import Fault
from tests.fixtures.kubernetes import EmbeddedApi

EVENTS = core("events", namespace="team")
PULLING = Event("team", "web-1", "u-1", "csi-1", "PullingModel", "pulling r/m:v1: 10 %")


def new_events(api: Api) -> Events:
    return Events(api=api, component="model.csi.modelpack.org", node="node-1")


@pytest.fixture
def events(api: Api) -> Events:
    return new_events(api)


def written(kubernetes: EmbeddedApi) -> dict[str, dict[str, object]]:
    """What `kubectl get events` shows, by reason."""
    return {one["reason"]: one for path, one in kubernetes.objects.items() if path.startswith(EVENTS)}


def test_an_event_is_about_its_pod_and_says_who_tells_it(kubernetes: EmbeddedApi, events: Events) -> None:
    events.post(PULLING)
    events.flush()
    event = written(kubernetes)["PullingModel"]
    assert event["involvedObject"] == {
        "apiVersion": "v1", "kind": "Pod", "namespace": "team", "name": "web-1", "uid": "u-1"
    }  # fmt: skip
    assert event["source"] == {"component": "model.csi.modelpack.org", "host": "node-1"}
    assert (event["type"], event["message"], event["count"]) == ("Normal", "pulling r/m:v1: 10 %", 1)


def test_the_same_again_counts_the_event_up_and_says_the_latest(kubernetes: EmbeddedApi, events: Events) -> None:
    for percent in (10, 40, 90):
        events.post(replace(PULLING, message=f"{percent} %"))
        events.flush()
    events.post(replace(PULLING, reason="FailedModel", message="no", warning=True))
    events.flush()
    assert (written(kubernetes)["PullingModel"]["message"], written(kubernetes)["PullingModel"]["count"]) == ("90 %", 3)
    assert written(kubernetes)["FailedModel"]["type"] == "Warning"


def test_of_events_that_wait_only_the_latest_is_sent(kubernetes: EmbeddedApi, events: Events) -> None:
    for percent in range(100):
        events.post(replace(PULLING, message=f"{percent} %"))
    events.flush()
    assert written(kubernetes)["PullingModel"]["message"] == "99 %"
    assert len(kubernetes.bodies) == 1


def test_the_next_driver_goes_on_counting(kubernetes: EmbeddedApi, api: Api) -> None:
    for _ in range(2):
        events = new_events(api)
        events.post(PULLING)
        events.flush()
    assert written(kubernetes)["PullingModel"]["count"] == 2


def test_an_event_that_has_expired_is_written_anew(kubernetes: EmbeddedApi, events: Events) -> None:
    events.post(PULLING)
    events.flush()
    kubernetes.objects.clear()
    events.post(PULLING)
    events.flush()
    assert written(kubernetes)["PullingModel"]["count"] == 1


def test_an_api_server_that_is_away_is_left_alone_and_the_latest_is_kept(
    kubernetes: EmbeddedApi, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubernetes.faults.add(Fault(status=503), method="POST", times=1)
    events.post(PULLING)
    events.flush()
    events.flush()
    assert len(kubernetes.requests) == 1
    events.post(replace(PULLING, message="done"))
    events._not_before = 0.0  # half a minute later
    events.flush()
    assert written(kubernetes)["PullingModel"]["message"] == "done"


def test_where_no_events_may_be_written_that_is_said_and_not_asked_again_and_again(
    kubernetes: EmbeddedApi, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    kubernetes.forbidden.add(("POST", EVENTS))
    for _ in range(3):
        events.post(PULLING)
        events.flush()
    assert len(kubernetes.requests) == 1
    assert [record.message for record in caplog.records] == [
        "no events can be written, which is tried again in ten minutes"
    ]


def test_a_namespace_in_which_no_events_may_be_written_does_not_silence_the_others(
    kubernetes: EmbeddedApi, events: Events, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that is being deleted, or whose quota of events is full: the API server answers 403 there alone."""
    kubernetes.forbidden.add(("POST", core("events", namespace="going")))
    for number in range(3):
        events.post(replace(PULLING, namespace="going", uid=f"u-{number}"))
    events.post(PULLING)
    events.flush()
    assert written(kubernetes).keys() == {"PullingModel"}
    assert [seen.path for seen in kubernetes.requests] == [core("events", namespace="going"), EVENTS]
    assert [record.fields["namespace"] for record in caplog.records] == ["going"]  # type: ignore[attr-defined]


def test_what_is_refused_for_one_pod_does_not_hold_up_the_others(kubernetes: EmbeddedApi, events: Events) -> None:
    kubernetes.faults.add(Fault(status=422, body=b"{}"), method="POST", times=1)
    events.post(replace(PULLING, pod="gone", uid="u-0"))
    events.post(PULLING)
    events.flush()
    assert [one["involvedObject"]["name"] for one in kubernetes.objects.values()] == ["web-1"]


def test_names_and_messages_keep_kubernetes_limits(kubernetes: EmbeddedApi, events: Events) -> None:
    events.post(replace(PULLING, pod="a" * 253, message="x" * 5000))
    events.flush()
    (event,) = written(kubernetes).values()
    assert len(event["metadata"]["name"]) <= 253  # type: ignore[index]
    assert len(str(event["message"])) == 1024


def test_too_many_that_wait_cost_the_oldest(kubernetes: EmbeddedApi, events: Events) -> None:
    for number in range(1010):
        events.post(replace(PULLING, pod=f"web-{number}", uid=f"u-{number}"))
    events.flush()
    assert kubernetes.bodies[0][2]["involvedObject"]["name"] == "web-10"
    assert len(kubernetes.bodies) == 20
