"""The Secrets of a pod's images are read for the very pod that they are for, and a failure is told and no more."""

import base64
from typing import Any

import pytest

from csi_driver.errors import AccessDenied, NotFound
from csi_driver.kube.api import Api, core
from csi_driver.kube.pods import Pods, PullSecret
from tests.fixtures.faults import Fault
from tests.fixtures.kubernetes import EmbeddedApi

POD = core("pods", "web-1", namespace="team")
ACCOUNT = core("serviceaccounts", "runner", namespace="team")


def secret_at(name: str) -> str:
    return core("secrets", name, namespace="team")


def secret(name: str, **data: str) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"metadata": {"name": name, "uid": f"uid of {name}"}, "data": encoded}


def pull_secrets(*names: str) -> dict[str, Any]:
    return {"imagePullSecrets": [{"name": name} for name in names]}


@pytest.fixture
def cluster(kubernetes: EmbeddedApi) -> EmbeddedApi:
    kubernetes.objects |= {
        POD: {"metadata": {"uid": "u-1"}, "spec": {"serviceAccountName": "runner", **pull_secrets("own", "both")}},
        ACCOUNT: {"metadata": {"annotations": {"role": "reader", "odd": 5}}, **pull_secrets("both", "shared")},
    } | {secret_at(name): secret(name, key=f"hunter2 of {name}") for name in ("own", "both", "shared", "other")}
    return kubernetes


@pytest.fixture
def pods(api: Api) -> Pods:
    return Pods(api)


def test_the_pod_s_secrets_come_before_those_of_its_service_account(cluster: EmbeddedApi, pods: Pods) -> None:
    found = pods.pull_secrets("team", "web-1", "u-1")
    assert found.secrets == tuple(
        PullSecret("team", name, f"uid of {name}", {"key": f"hunter2 of {name}"}) for name in ("own", "both", "shared")
    )
    assert found.troubles == ()
    assert {seen.method for seen in cluster.requests} == {"GET"}
    assert len(cluster.requests) == 5


def test_a_pod_of_the_same_name_is_another_one(cluster: EmbeddedApi, pods: Pods) -> None:
    for uid in ("u-2", ""):
        found = pods.pull_secrets("team", "web-1", uid)
        assert found.secrets == ()
        assert "has the uid u-1, and the volume is for a pod with the uid" in found.troubles[0]
    assert [seen.path for seen in cluster.requests] == [POD, POD]


def test_a_secret_that_is_missing_does_not_take_the_others_along(cluster: EmbeddedApi, pods: Pods) -> None:
    del cluster.objects[secret_at("own")]
    cluster.forbidden.add(("GET", secret_at("shared")))
    found = pods.pull_secrets("team", "web-1", "u-1")
    assert [one.name for one in found.secrets] == ["both"]
    first, second = found.troubles
    assert first.startswith("imagePullSecret team/own: the Kubernetes API answered 404")
    assert second.startswith("imagePullSecret team/shared: the Kubernetes API answered 403")
    assert "check the roles of the driver's service account" in second


def test_a_service_account_that_cannot_be_read_does_not_take_the_pod_s_own_along(
    cluster: EmbeddedApi, pods: Pods
) -> None:
    cluster.forbidden.add(("GET", ACCOUNT))
    found = pods.pull_secrets("team", "web-1", "u-1")
    assert [one.name for one in found.secrets] == ["own", "both"]
    assert found.troubles[0].startswith("the imagePullSecrets of service account team/runner cannot be read: ")


@pytest.mark.parametrize("path", [POD, ACCOUNT, secret_at("own")])
def test_a_server_that_does_not_answer_is_not_asked_for_the_rest(cluster: EmbeddedApi, pods: Pods, path: str) -> None:
    cluster.faults.add(Fault(status=503), path=path)
    found = pods.pull_secrets("team", "web-1", "u-1")
    assert found.secrets == ()
    assert found.troubles[0].startswith("the imagePullSecrets of pod team/web-1 cannot be read: ")
    assert cluster.requests[-1].path == path


def test_a_server_that_is_slow_is_not_asked_for_the_rest(cluster: EmbeddedApi, api: Api) -> None:
    found = Pods(api, seconds=0.0).pull_secrets("team", "web-1", "u-1")
    assert found.secrets == ()
    (trouble,) = found.troubles
    assert trouble.endswith("cannot be read: the Kubernetes API has not given all that was asked for in 0 s")
    assert [seen.path for seen in cluster.requests] == [POD, ACCOUNT]


@pytest.mark.parametrize(
    "pod",
    [
        {"metadata": {"uid": "u-1"}},
        {"metadata": {"uid": "u-1"}, "spec": None},
        {"metadata": {"uid": "u-1"}, "spec": {"imagePullSecrets": None, "serviceAccountName": 5}},
        {"metadata": {"uid": "u-1"}, "spec": {"imagePullSecrets": ["x", {"name": 5}, {"name": ""}, {}]}},
        {"metadata": {"uid": "u-1"}, "spec": {"imagePullSecrets": {"name": "own"}}},
    ],
)
def test_a_pod_without_secrets_has_none(cluster: EmbeddedApi, pods: Pods, pod: dict[str, Any]) -> None:
    cluster.objects[POD] = pod
    assert (pods.pull_secrets("team", "web-1", "u-1").secrets, len(cluster.requests)) == ((), 1)


def test_what_is_no_text_in_a_secret_is_left_out(cluster: EmbeddedApi, pods: Pods) -> None:
    cluster.objects[secret_at("own")] = {
        "metadata": {"uid": "u"}, "data": {"a": "!", "b": base64.b64encode(b"\xff").decode(), "c": "Yw==", "d": 5},
    }  # fmt: skip
    assert pods.pull_secrets("team", "web-1", "u-1").secrets[0].data == {"c": "c"}


def test_a_secret_without_a_uid_could_not_be_told_from_the_next(cluster: EmbeddedApi, pods: Pods) -> None:
    cluster.objects[secret_at("own")] = {"metadata": {}, "data": {}}
    found = pods.pull_secrets("team", "web-1", "u-1")
    assert [one.name for one in found.secrets] == ["both", "shared"]
    assert found.troubles == ("imagePullSecret team/own: it has no uid",)


def test_no_pod_makes_the_driver_read_without_end(cluster: EmbeddedApi, pods: Pods) -> None:
    cluster.objects[POD] = {"metadata": {"uid": "u-1"}, "spec": pull_secrets(*(f"s{n}" for n in range(1000)))}
    pods.pull_secrets("team", "web-1", "u-1")
    assert len(cluster.requests) == 1 + 32


def test_annotations_are_those_of_the_service_account(cluster: EmbeddedApi, pods: Pods) -> None:
    assert pods.annotations("team", "runner") == {"role": "reader"}
    with pytest.raises(NotFound):
        pods.annotations("team", "other")
    cluster.forbidden.add(("GET", ACCOUNT))
    with pytest.raises(AccessDenied):
        pods.annotations("team", "runner")


def test_nothing_of_a_secret_shows(cluster: EmbeddedApi, pods: Pods) -> None:
    assert "hunter2" not in repr(pods.pull_secrets("team", "web-1", "u-1"))
