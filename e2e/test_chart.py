"""What Helm makes of the chart, and whether the driver can start from it."""

import json
import subprocess
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from csi_driver import config
from e2e.conftest import Program
from e2e.node import succeeded

CHART = Path(__file__).parents[1] / "deploy" / "helm" / "model-csi-driver"
Objects = dict[str, Any]
Render = Callable[..., Objects]

# The values that the Go driver's chart knows, each with something in it.
OF_THE_GO_CHART: Objects = {
    "config": {
        "serviceName": "model.csi.modelpack.org",
        "rootDir": "/mnt/nvme/model-csi",
        "registryAuths": {
            "registry.example.com": {"auth": "bmFtZTpwYXNzd29yZA==", "serverscheme": "https"},
            "registry.local:5000": {"auth": "bmFtZTpwYXNzd29yZA==", "serverscheme": "http"},
        },
        "pullConfig": {"proxy_url": "http://proxy.example.com:3128", "concurrency": 3},
    },
    "namespace": "model-csi",
    "image": {"repository": "registry.example.com/model-csi-driver", "pullPolicy": "Always", "tag": "latest"},
    "registrar": {"image": {"repository": "registry.example.com/registrar", "tag": "v2.17.0"}},
    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
    "imagePullSecrets": [{"name": "pull"}],
    "nameOverride": "models",
    "fullnameOverride": "our-models",
    "serviceAccount": {"create": True, "name": "models"},
    "podAnnotations": {"example.com/a": "b"},
    "podLabels": {"example.com/c": "d"},
    "nodeSelector": {"example.com/gpu": "true"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {},
    "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["registry.local"]}],
    "hostNetwork": True,
    "updateStrategy": {"type": "OnDelete"},
    "args": [],
    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}],
    "volumeMounts": [{"name": "extra", "mountPath": "/extra"}],
}


@pytest.fixture
def helm(program: Program) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str | Path, values: Objects | None = None) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [program("helm"), *arguments, CHART, "--values", "-"]
        return subprocess.run(
            command, input=json.dumps(values or {}), capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.fixture
def render(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    """Renders the chart; the objects by kind, of which there is one each."""

    def render(values: Objects | None = None) -> Objects:
        said = succeeded(helm("template", "models", "--namespace", "model-csi", values=values))
        objects = [item for item in yaml.safe_load_all(said) if item]
        assert len({item["kind"] for item in objects}) == len(objects)
        return {item["kind"]: item for item in objects}

    return render


@pytest.mark.parametrize("values", [{}, OF_THE_GO_CHART], ids=["defaults", "all values of the Go driver's chart"])
def test_the_driver_reads_the_configuration_that_the_chart_writes(
    render: Render, tmp_path: Path, values: Objects
) -> None:
    settings = loaded(render(values), tmp_path)

    asked = values.get("config", {})
    assert settings.service_name == "model.csi.modelpack.org"
    assert settings.csi_endpoint == "unix:///csi/csi.sock"
    assert str(settings.root_dir) == asked.get("rootDir", "/var/lib/model-csi")
    assert settings.pull_config.concurrency == asked.get("pullConfig", {}).get("concurrency", 5)
    assert settings.ignored == ()


def test_any_setting_of_the_driver_can_be_made(render: Render, tmp_path: Path) -> None:
    values = {"config": {"log_format": "json", "features": {"disk_usage_limit": "2TiB"}, "metrics_addr": ":9100"}}

    settings = loaded(render(values), tmp_path)

    assert settings.log_format == "json"
    assert settings.features.disk_usage_limit == 2 << 40
    assert settings.metrics_addr == ":9100"


def test_the_drivers_names_win_over_those_of_the_go_chart(render: Render, tmp_path: Path) -> None:
    values = {
        "config": {"pullConfig": {"concurrency": 3, "proxy_url": "http://a:1"}, "pull_config": {"concurrency": 7}}
    }

    pull = loaded(render(values), tmp_path).pull_config

    assert (pull.concurrency, pull.proxy_url) == (7, "http://a:1")


def test_credentials_are_in_a_secret_and_nowhere_else(render: Render) -> None:
    auths = OF_THE_GO_CHART["config"]["registryAuths"]

    objects = render(OF_THE_GO_CHART)

    secret = objects.pop("Secret")
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    assert json.loads(b64decode(secret["data"][".dockerconfigjson"])) == {"auths": auths}
    assert auths["registry.example.com"]["auth"] not in json.dumps(objects)
    driver = container(objects, "model-csi-driver")
    assert {"name": "registry-auths", "mountPath": "/root/.docker", "readOnly": True} in driver["volumeMounts"]
    assert volume(objects, "registry-auths")["secret"]["secretName"] == secret["metadata"]["name"]


def test_without_credentials_there_is_no_secret(render: Render) -> None:
    objects = render()

    assert "Secret" not in objects
    assert "registry-auths" not in json.dumps(objects)


def test_an_existing_secret_takes_the_place_of_the_charts(render: Render) -> None:
    objects = render({"config": {"registryAuthsSecret": "ours"}})

    assert "Secret" not in objects
    assert volume(objects, "registry-auths")["secret"]["secretName"] == "ours"


def test_kubelet_may_use_the_driver_for_inline_volumes_only(render: Render) -> None:
    described = render()["CSIDriver"]

    assert described["metadata"]["name"] == "model.csi.modelpack.org"
    assert described["spec"] == {
        "attachRequired": False,
        "podInfoOnMount": True,
        "volumeLifecycleModes": ["Ephemeral"],
        "fsGroupPolicy": "None",
        "storageCapacity": False,
        "requiresRepublish": False,
        "seLinuxMount": False,
    }


def test_only_the_driver_is_privileged_and_only_the_pods_directory_propagates(render: Render) -> None:
    objects = render()

    driver, *others = containers(objects)
    assert driver["securityContext"] == {
        "privileged": True,
        "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]},
        "readOnlyRootFilesystem": True,
    }
    assert [item["mountPath"] for item in driver["volumeMounts"] if "mountPropagation" in item] == [
        "/var/lib/kubelet/pods"
    ]
    for sidecar in others:
        assert sidecar["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
    assert pod(objects)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(objects)["automountServiceAccountToken"] is False


def test_the_driver_runs_on_tainted_nodes_and_is_not_evicted(render: Render) -> None:
    objects = render()

    assert pod(objects)["tolerations"] == [{"operator": "Exists"}]
    assert pod(objects)["priorityClassName"] == "system-node-critical"


def test_the_registrar_tells_kubelet_the_sockets_path_on_the_host(render: Render) -> None:
    objects = render({"kubeletDir": "/var/snap/kubelet"})

    registrar = container(objects, "node-driver-registrar")
    path = "/var/snap/kubelet/plugins/model.csi.modelpack.org"
    assert f"--kubelet-registration-path={path}/csi.sock" in registrar["args"]
    assert volume(objects, "plugin-dir")["hostPath"]["path"] == path
    assert volume(objects, "registration-dir")["hostPath"]["path"] == "/var/snap/kubelet/plugins_registry"


def test_only_a_setting_that_a_running_driver_does_not_follow_replaces_it(render: Render) -> None:
    def replaced_by(**settings: object) -> bool:
        return template(render({"config": settings})) != template(render())

    def template(objects: Objects) -> Objects:
        return dict(objects["DaemonSet"]["spec"]["template"])

    assert not replaced_by()
    assert not replaced_by(log_level="debug")
    assert replaced_by(noexec=True)
    assert replaced_by(pull_config={"proxy_url": "http://proxy.example.com:3128"})


def test_images_come_from_another_registry_where_none_else_is_reached(render: Render) -> None:
    digest = f"sha256:{'0' * 64}"
    values = {
        "global": {"imageRegistry": "registry.internal:5000"},
        "image": {"repository": "team/model-csi-driver", "tag": "v1"},
        "livenessProbe": {"image": {"digest": digest}},
    }

    assert [item["image"] for item in containers(render(values))] == [
        "registry.internal:5000/team/model-csi-driver:v1",
        "registry.internal:5000/sig-storage/csi-node-driver-registrar:v2.17.0",
        f"registry.internal:5000/sig-storage/livenessprobe@{digest}",
    ]


@pytest.mark.parametrize(
    "values",
    [
        {"tolerance": []},
        {"config": {"rootDirectory": "/models"}},
        {"config": {"rootDir": "models"}},
        {"config": {"root_dir": "/models"}},
        {"config": {"pull_config": {"concurency": 5}}},
        {"config": {"noexec": "yes"}},
        {"image": {"digest": "sha256:1"}},
        {"image": {"pullPolicy": "Sometimes"}},
    ],
)
def test_values_that_mean_nothing_are_refused(
    helm: Callable[..., subprocess.CompletedProcess[str]], values: Objects
) -> None:
    refused = helm("template", "models", values=values)

    assert refused.returncode != 0
    assert "values don't meet the specifications of the schema" in refused.stderr


def test_helm_finds_nothing_wrong(helm: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    for values in ({}, OF_THE_GO_CHART):
        succeeded(helm("lint", "--strict", values=values))


def loaded(objects: Objects, scratch: Path) -> config.Config:
    """The configuration as the driver reads it in its pod."""
    path = scratch / "config.yaml"
    path.write_text(objects["ConfigMap"]["data"]["config.yaml"], encoding="utf-8")
    return config.load(path, {"CSI_NODE_ID": "node", "POD_IP": "192.0.2.7"})


def containers(objects: Objects) -> list[Any]:
    found: list[Any] = pod(objects)["containers"]
    return found


def container(objects: Objects, name: str) -> Any:
    return next(item for item in containers(objects) if item["name"] == name)


def volume(objects: Objects, name: str) -> Any:
    return next(item for item in pod(objects)["volumes"] if item["name"] == name)


def pod(objects: Objects) -> Any:
    """The DaemonSet's pod."""
    return objects["DaemonSet"]["spec"]["template"]["spec"]
