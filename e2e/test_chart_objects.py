"""The objects beside the DaemonSet: whether Kubernetes knows them, and that each is there only when it is wanted."""

import json
import re
from pathlib import Path

import pytest
import yaml

from docs.generate import files, manifests
from e2e.chart import CASES, ROOT, Helm, Values, case
from e2e.conftest import Program

OLDEST, NEWEST = "1.25", "1.37"


@pytest.fixture
def helm(program: Program) -> Helm:
    return Helm(program("helm"))


def test_golden_files_and_manifests_for_kubectl_are_what_the_chart_says(helm: Helm) -> None:
    stale = [str(path.relative_to(ROOT)) for path in files.stale_of_helm(helm.program, ROOT)]

    assert not stale, f"not current: {', '.join(stale)}; run make docs, and look at what it changes"


@pytest.mark.parametrize("version", [OLDEST, "1.30", "1.34", NEWEST])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_kubernetes_knows_every_field_of_every_object(helm: Helm, path: Path, version: str) -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="make e2e installs kubernetes-validate")
    values = case(path.name.removesuffix("-values.yaml"))
    if version == OLDEST:  # which has no ValidatingAdmissionPolicy
        values = {**values, "admissionPolicy": {}}

    for item in helm.render(values, kubernetes=f"{version}.0"):
        if not item["apiVersion"].startswith("monitoring.coreos.com/"):
            kubernetes.validate(item, f"{version}.0", strict=True)


def test_names_that_look_like_numbers_or_truth_stay_names(helm: Helm) -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="make e2e installs kubernetes-validate")
    values: Values = {
        **case("everything"),
        "nameOverride": "on",
        "fullnameOverride": "1e3",
        "rbac": {"secretNamespaces": ["42"]},
        "storageClass": {"create": True, "name": "null"},
        "priorityClassName": "true",
        "config": {**case("everything")["config"], "serviceName": "1234"},
    }

    for item in helm.render(values, release="0x1", namespace="1234"):
        if not item["apiVersion"].startswith("monitoring.coreos.com/"):
            kubernetes.validate(item, f"{NEWEST}.0", strict=True)
        assert item["metadata"]["labels"]["app.kubernetes.io/instance"] == "0x1"
        assert all(isinstance(value, str) for key, value in item["metadata"].items() if key != "labels"), item


def test_a_service_has_a_name_as_short_as_kubernetes_wants_it(helm: Helm) -> None:
    objects = helm.render({"metrics": {"serviceMonitor": {"enabled": True}}}, release="the.release-" + "a" * 40)

    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", objects.one("Service")["metadata"]["name"])  # RFC 1035


def test_the_operators_labels_and_annotations_win_over_the_charts(helm: Helm) -> None:
    profile = {"security.openshift.io/csi-ephemeral-volume-profile": "privileged"}
    annotation = {"kubectl.kubernetes.io/default-container": "extra"}
    version = {"app.kubernetes.io/version": "ours"}
    kinds = {"podMonitor": "PodMonitor", "serviceMonitor": "ServiceMonitor", "prometheusRule": "PrometheusRule"}
    metrics = {name: {"enabled": True, "labels": version} for name in kinds}
    values: Values = {"csiDriver": {"labels": profile}, "podAnnotations": annotation, "podLabels": version}

    objects = helm.render({**values, "metrics": metrics})

    pod = objects.one("DaemonSet")["spec"]["template"]["metadata"]
    assert profile.items() <= objects.one("CSIDriver")["metadata"]["labels"].items()
    assert annotation.items() <= pod["annotations"].items()
    for labels in [pod["labels"], *(objects.one(kind)["metadata"]["labels"] for kind in kinds.values())]:
        assert labels.items() >= {**version, "app.kubernetes.io/name": "model-csi-driver"}.items()


def test_kubectl_gets_a_namespace_and_objects_that_kubernetes_knows() -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="make e2e installs kubernetes-validate")
    text = (ROOT / "deploy" / "kubernetes" / "model-csi-driver.yaml").read_text(encoding="utf-8")
    items = [item for item in yaml.safe_load_all(text) if item]

    assert [item["kind"] for item in items] == ["Namespace", "ServiceAccount", "ConfigMap", "DaemonSet", "CSIDriver"]
    for item in items:
        kubernetes.validate(item, f"{NEWEST}.0", strict=True)
    assert "Helm" not in text


@pytest.mark.parametrize("path", sorted((ROOT / "deploy" / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_are_what_kubernetes_knows(path: Path) -> None:
    kubernetes = pytest.importorskip("kubernetes_validate", reason="make e2e installs kubernetes-validate")

    for item in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        kubernetes.validate(item, f"{NEWEST}.0", strict=True)


def test_by_default_there_is_nothing_that_is_not_needed(helm: Helm) -> None:
    assert helm.render().kinds == {"ServiceAccount", "ConfigMap", "DaemonSet", "CSIDriver"}


def test_kubelet_may_use_the_driver_for_inline_volumes_only(helm: Helm) -> None:
    described = helm.render().one("CSIDriver")

    assert described["metadata"]["name"] == "model.csi.modelpack.org"
    assert described["metadata"]["labels"]["security.openshift.io/csi-ephemeral-volume-profile"] == "restricted"
    assert described["spec"] == {
        "attachRequired": False,
        "podInfoOnMount": True,
        "volumeLifecycleModes": ["Ephemeral"],
        "fsGroupPolicy": "None",
        "storageCapacity": False,
        "requiresRepublish": False,
        "seLinuxMount": False,
    }


def test_tokens_are_asked_for_as_secrets_where_kubelet_can_do_that(helm: Helm) -> None:
    values = {"csiDriver": {"tokenRequests": [{"audience": "registry.example.com"}]}}

    old, new = (helm.render(values, kubernetes=version).one("CSIDriver")["spec"] for version in ("1.34.9", "1.35.0"))

    assert old["tokenRequests"] == new["tokenRequests"] == [{"audience": "registry.example.com"}]
    assert "serviceAccountTokenInSecrets" not in old
    assert new["serviceAccountTokenInSecrets"] is True


EVENTS = {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "get", "patch"]}
NODES = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "patch"]}
CSI_NODES = {"apiGroups": ["storage.k8s.io"], "resources": ["csinodes"], "verbs": ["get"]}
PULL_SECRETS = {"pod_image_pull_secrets": True}
PROVIDERS = {"image_credential_provider_config": "/etc/providers.yaml", "image_credential_provider_bin_dir": "/opt/bin"}
ACCOUNTS = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"]}
CREDENTIALS = {"apiGroups": [""], "resources": ["pods", "serviceaccounts", "secrets"], "verbs": ["get"]}
NODE_LABELS: Values = {"config": {"kubernetes": {"node_labels": 5}}}


@pytest.mark.parametrize(
    ("values", "rules"),
    [
        ({"config": {"kubernetes": {"events": True}}}, [EVENTS]),
        (NODE_LABELS, [NODES]),
        ({"config": {"kubernetes": {"startup_taint": "example.com/not-ready"}}}, [NODES, CSI_NODES]),
        ({"config": {"credentials": PULL_SECRETS}}, [CREDENTIALS]),
        ({"config": {"credentials": PROVIDERS}, "csiDriver": {"tokenRequests": [{"audience": "a"}]}}, [ACCOUNTS]),
    ],
    ids=["events", "labels", "taint", "pull secrets", "annotations for credential providers"],
)
def test_a_feature_brings_the_permissions_that_it_needs_and_no_more(
    helm: Helm, values: Values, rules: list[object]
) -> None:
    objects = helm.render(values)

    role, binding = objects.one("ClusterRole"), objects.one("ClusterRoleBinding")
    assert role["rules"] == rules
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": objects.pod["serviceAccountName"], "namespace": "model-csi"}
    ]
    assert objects.pod["automountServiceAccountToken"] is True


def test_without_such_a_feature_the_driver_has_no_token(helm: Helm) -> None:
    off = {"events": False, "node_labels": 0, "startup_taint": "", "timeout_in_seconds": 3}
    config = {"kubernetes": off, "credentials": {**PROVIDERS, "pod_image_pull_secrets": False}}

    objects = helm.render({"config": config})

    assert objects.pod["automountServiceAccountToken"] is False
    assert not {kind for kind in objects.kinds if "Role" in kind}


def test_secrets_may_be_read_in_the_named_namespaces_only(helm: Helm) -> None:
    objects = helm.render({"config": {"credentials": PULL_SECRETS}, "rbac": {"secretNamespaces": ["a", "b"]}})

    assert "ClusterRole" not in objects.kinds
    assert [role["metadata"]["namespace"] for role in objects.of("Role")] == ["a", "b"]
    assert [role["rules"] for role in objects.of("Role")] == [[CREDENTIALS], [CREDENTIALS]]
    assert [item["metadata"]["namespace"] for item in objects.of("RoleBinding")] == ["a", "b"]
    assert {item["subjects"][0]["namespace"] for item in objects.of("RoleBinding")} == {"model-csi"}
    assert objects.pod["automountServiceAccountToken"] is True


def test_a_driver_that_may_change_nodes_may_change_its_own_only(helm: Helm) -> None:
    objects = helm.render(NODE_LABELS)

    policy = objects.one("ValidatingAdmissionPolicy")["spec"]
    assert f"system:serviceaccount:model-csi:{objects.pod['serviceAccountName']}" in json.dumps(policy)
    assert policy["matchConstraints"]["resourceRules"][0]["resources"] == ["nodes"]
    assert objects.one("ValidatingAdmissionPolicyBinding")["spec"]["validationActions"] == ["Deny"]


def test_a_cluster_without_admission_policies_is_not_given_any(helm: Helm) -> None:
    assert not {kind for kind in helm.render(NODE_LABELS, kubernetes="1.29.9").kinds if "Admission" in kind}

    refused = helm.run("template", "models", "--kube-version", "1.29.9", values=case("everything"))

    assert refused.returncode != 0
    assert "admissionPolicy needs Kubernetes 1.30, and this cluster has v1.29.9" in refused.stderr


def test_roles_are_left_to_an_operator_who_makes_them(helm: Helm) -> None:
    values = {**case("everything"), "admissionPolicy": {}, "rbac": {"create": False}}

    assert not {kind for kind in helm.render(values).kinds if "Role" in kind or "Admission" in kind}


def test_monitors_scrape_the_port_that_the_driver_serves(helm: Helm) -> None:
    objects = helm.render(case("everything"))

    ports = {item["name"]: item["containerPort"] for item in objects.container("model-csi-driver")["ports"]}
    [service_port] = objects.one("Service")["spec"]["ports"]
    pod_labels = objects.one("DaemonSet")["spec"]["template"]["metadata"]["labels"]
    assert ports["metrics"] == service_port["port"] == 5244
    assert (
        service_port["targetPort"] == objects.one("PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"] == "metrics"
    )
    assert objects.one("ServiceMonitor")["spec"]["endpoints"][0]["port"] == service_port["name"]
    assert objects.one("Service")["spec"]["selector"].items() <= pod_labels.items()
    assert objects.one("PodMonitor")["spec"]["selector"]["matchLabels"].items() <= pod_labels.items()
    labels = objects.one("Service")["metadata"]["labels"]
    assert objects.one("ServiceMonitor")["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_the_port_is_where_the_driver_is_told_to_serve(helm: Helm, tmp_path: Path) -> None:
    values = {"config": {"metrics_addr": "tcp://[::]:9100"}, "metrics": {"serviceMonitor": {"enabled": True}}}

    objects = helm.render(values)

    ports = {item["name"]: item["containerPort"] for item in objects.container("model-csi-driver")["ports"]}
    assert objects.config(tmp_path).metrics_addr == "tcp://[::]:9100"
    assert ports["metrics"] == objects.one("Service")["spec"]["ports"][0]["port"] == 9100


@pytest.mark.parametrize(
    "off", [{"metrics": {"enabled": False}}, {"config": {"metrics_addr": ""}}], ids=["by the chart", "by the setting"]
)
def test_without_metrics_nothing_is_served_or_scraped(helm: Helm, tmp_path: Path, off: Values) -> None:
    metrics = {**case("everything")["metrics"], **off.get("metrics", {})}

    objects = helm.render({**off, "metrics": metrics, "networkPolicy": {"enabled": True}})

    assert objects.config(tmp_path).metrics_addr == ""
    assert [item["name"] for item in objects.container("model-csi-driver")["ports"]] == ["healthz"]
    assert not objects.kinds & {"Service", "ServiceMonitor", "PodMonitor"}
    assert objects.one("NetworkPolicy")["spec"]["ingress"] == []


def test_the_charts_alerts_and_dashboard_are_those_of_its_files(helm: Helm) -> None:
    values = {"metrics": {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}}
    monitoring = ROOT / manifests.CHART / "monitoring"

    objects = helm.render(values)

    rules = yaml.safe_load((monitoring / "rules.yaml").read_text(encoding="utf-8"))
    [dashboard] = [item for item in objects.of("ConfigMap") if "grafana_dashboard" in item["metadata"]["labels"]]
    assert objects.one("PrometheusRule")["spec"] == rules
    assert [json.loads(text) for text in dashboard["data"].values()] == [
        json.loads((monitoring / "dashboard.json").read_text(encoding="utf-8"))
    ]
