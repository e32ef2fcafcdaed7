"""The API server is asked with the pod's own identity, and is never waited for without end."""

import subprocess
import sys
from pathlib import Path

import pytest

from csi_driver.errors import (
    AccessDenied,
    Conflict,
    DriverError,
    InvalidRequest,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from csi_driver.kube.api import Api, core
from tests.fixtures.certificates import Authority
from tests.fixtures.faults import Fault
from tests.fixtures.kubernetes import EmbeddedApi

POD = core("pods", "web-1", namespace="team")
EVENTS = core("events", namespace="team")


def test_paths_are_those_of_the_core_group_and_names_cannot_lead_elsewhere() -> None:
    assert core("nodes", "node-1") == "/api/v1/nodes/node-1"
    assert core("pods", "web-1", namespace="team") == "/api/v1/namespaces/team/pods/web-1"
    assert core("events", namespace="team") == "/api/v1/namespaces/team/events"
    assert core("secrets", "../a?b", namespace="x/y") == "/api/v1/namespaces/x%2Fy/secrets/..%2Fa%3Fb"


def test_an_object_is_what_the_server_holds(kubernetes: EmbeddedApi, api: Api) -> None:
    kubernetes.objects[POD] = {"metadata": {"name": "web-1", "uid": "u-1"}}
    assert api.get(POD) == {"metadata": {"name": "web-1", "uid": "u-1"}}
    assert kubernetes.requests[-1].headers["user-agent"].startswith("model-csi-driver/")


def test_objects_are_created_and_patched(kubernetes: EmbeddedApi, api: Api) -> None:
    event = {"metadata": {"name": "pulling.1", "labels": {"a": "1", "b": "2"}}, "message": "pulling: 40 %"}
    assert api.create(EVENTS, event) == event
    with pytest.raises(Conflict, match="already exists"):
        api.create(EVENTS, event)
    patched = api.patch(f"{EVENTS}/pulling.1", {"metadata": {"labels": {"a": None, "c": "3"}}})
    assert patched["metadata"]["labels"] == {"b": "2", "c": "3"}
    assert patched["message"] == "pulling: 40 %"


def test_a_rotated_token_is_read_again(kubernetes: EmbeddedApi, api: Api) -> None:
    kubernetes.objects[POD] = {}
    api.get(POD)
    kubernetes.rotate_token()
    assert api.get(POD) == {}
    assert len(kubernetes.requests) == 3


def test_a_token_that_is_refused_is_not_tried_for_ever(kubernetes: EmbeddedApi, api: Api) -> None:
    kubernetes.tokens.clear()
    with pytest.raises(Unauthenticated, match="service account"):
        api.get(POD)
    assert len(kubernetes.requests) == 2


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, NotFound), (403, AccessDenied), (401, Unauthenticated), (409, Conflict), (422, InvalidRequest),
     (408, Unavailable), (429, Unavailable), (500, Unavailable), (503, Unavailable)],
)  # fmt: skip
def test_a_refusal_is_told_in_the_server_s_words(
    kubernetes: EmbeddedApi, api: Api, status: int, error: type[DriverError]
) -> None:
    body = b'{"kind": "Status", "message": "the quick\\nbrown fox"}'
    kubernetes.faults.add(Fault(status=status, body=body), times=2)
    with pytest.raises(error, match=rf"answered {status} to GET {POD} \(the quick brown fox\)"):
        api.get(POD)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"", b"[" * 100_000, b"\xff"])
def test_an_answer_that_is_no_object_is_no_answer(kubernetes: EmbeddedApi, api: Api, body: bytes) -> None:
    kubernetes.faults.add(Fault(status=200, body=body))
    with pytest.raises(Unavailable, match="no JSON object"):
        api.get(POD)


def test_an_answer_beyond_measure_is_not_read(kubernetes: EmbeddedApi, api: Api) -> None:
    kubernetes.faults.add(Fault(status=200, body=b" " * (5 << 20)))
    with pytest.raises(Unavailable, match="more than 4 MiB"):
        api.get(POD)


def test_a_redirect_leads_nowhere(kubernetes: EmbeddedApi, api: Api) -> None:
    kubernetes.faults.add(Fault(status=307, headers={"Location": kubernetes.url + "/elsewhere"}))
    with pytest.raises(Unavailable):
        api.get(POD)
    assert [seen.path for seen in kubernetes.requests] == [POD]


def test_a_kept_connection_that_died_is_replaced(kubernetes: EmbeddedApi, api: Api) -> None:
    kubernetes.objects[POD] = {}
    api.get(POD)
    kubernetes.faults.add(Fault(refuse=True))
    assert api.get(POD) == {}


def test_what_changes_something_is_not_sent_twice(kubernetes: EmbeddedApi, api: Api) -> None:
    kubernetes.faults.add(Fault(refuse=True), method="POST")
    with pytest.raises(Unavailable, match=rf"POST {EVENTS}"):
        api.create(EVENTS, {"metadata": {"name": "a"}})
    assert len(kubernetes.requests) == 1


def test_a_server_that_does_not_answer_is_given_up(kubernetes: EmbeddedApi) -> None:
    api = Api(timeout=0.2, environ=kubernetes.environ, account=kubernetes.account)
    fault = kubernetes.faults.add(Fault(drip=60.0), times=2)
    with pytest.raises(Unavailable, match="cannot be asked"):
        api.get(POD)
    fault.resume.set()
    api.close()


def test_a_body_that_drips_is_given_up(kubernetes: EmbeddedApi) -> None:
    kubernetes.objects[POD] = {"filler": "x" * 10_000}
    api = Api(timeout=0.2, environ=kubernetes.environ, account=kubernetes.account)
    fault = kubernetes.faults.add(Fault(drip_body=0.01))
    with pytest.raises(Unavailable, match=r"longer than 0\.4 s|timed out"):
        api.get(POD)
    fault.resume.set()
    api.close()


def test_a_server_that_is_gone_is_named(kubernetes: EmbeddedApi, api: Api) -> None:
    kubernetes.close()
    with pytest.raises(Unavailable, match="refused"):
        api.get(POD)


def test_a_certificate_of_somebody_else_is_not_trusted(
    kubernetes: EmbeddedApi, api: Api, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Authority(tmp_path_factory.mktemp("other"))
    (kubernetes.account / "ca.crt").write_bytes(other.ca_file.read_bytes())
    with pytest.raises(Unavailable, match="certificate verify failed"):
        api.get(POD)
    assert kubernetes.requests == []


def test_outside_of_a_cluster_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"set kubernetes\.kubeconfig"):
        Api(timeout=1.0, environ={}, account=tmp_path).get(POD)
    with pytest.raises(Unavailable, match=r"missing.*set kubernetes\.kubeconfig"):
        Api(timeout=1.0, kubeconfig=tmp_path / "missing").get(POD)


def test_a_kubeconfig_leads_there_as_well(kubernetes: EmbeddedApi, tmp_path: Path) -> None:
    kubernetes.objects[POD] = {}
    api = Api(timeout=10.0, kubeconfig=kubernetes.kubeconfig(tmp_path / "config", "a-token-of-its-own"))
    assert api.get(POD) == {}
    assert kubernetes.requests[-1].headers["authorization"] == "Bearer a-token-of-its-own"
    api.close()


def test_a_damaged_kubeconfig_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config"
    for text in ("{", "[]", "a: b", "\0"):
        path.write_text(text)
        with pytest.raises(Unavailable, match="config"):
            Api(timeout=1.0, kubeconfig=path).get(POD)


def test_the_proxy_for_registries_is_not_asked_for_the_cluster(
    kubernetes: EmbeddedApi, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    kubernetes.objects[POD] = {}
    assert api.get(POD) == {}


def test_the_token_shows_nowhere(kubernetes: EmbeddedApi, api: Api) -> None:
    [token] = kubernetes.tokens
    kubernetes.faults.add(Fault(refuse=True), times=4)
    with pytest.raises(Unavailable) as caught:
        api.get(POD)
    assert token not in f"{caught.value} {api!r} {vars(api)!r}"


def test_a_token_that_is_no_header_is_not_quoted(kubernetes: EmbeddedApi, api: Api) -> None:
    (kubernetes.account / "token").write_text("hunter2\n")
    with pytest.raises(Unavailable, match="no header") as caught:
        api.get(POD)
    assert "hunter2" not in str(caught.value)


def test_nothing_is_imported_before_the_first_request() -> None:
    program = (
        "import sys, csi_driver.app; from csi_driver.kube.api import Api; Api(timeout=1.0); "
        "sys.exit(bool({'kubernetes', 'csi_driver.kube.connection'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_only_the_low_level_client_is_imported() -> None:
    program = (
        "import sys, csi_driver.kube.connection; "
        "sys.exit(', '.join(name for name in sys.modules if name.startswith(('kubernetes.client.models.', "
        "'kubernetes.client.api.', 'kubernetes.aio', 'aiohttp'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
