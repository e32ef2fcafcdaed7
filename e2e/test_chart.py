"""Whether the driver can start from what Helm makes of the chart, and with how little it makes do."""

import json
import tarfile
from base64 import b64decode
from pathlib import Path

import pytest

from e2e.chart import CASES, Helm, Values, case
from e2e.conftest import Program
from e2e.node import succeeded

GO_CHART = case("go-chart")


@pytest.fixture
def helm(program: Program) -> Helm:
    return Helm(program("helm"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_driver_reads_the_configuration_that_the_chart_writes(helm: Helm, tmp_path: Path, path: Path) -> None:
    values = case(path.name.removesuffix("-values.yaml"))

    settings = helm.render(values).config(tmp_path)

    asked = values.get("config", {})
    assert settings.service_name == "model.csi.modelpack.org"
    assert settings.csi_endpoint == "unix:///csi/csi.sock"
    assert str(settings.root_dir) == asked.get("rootDir", "/var/lib/model-csi")
    assert settings.pull_config.concurrency == asked.get("pullConfig", {}).get("concurrency", 5)
    assert settings.metrics_addr == "tcp://192.0.2.7:5244"
    assert settings.ignored == ()


def test_any_setting_of_the_driver_can_be_made(helm: Helm, tmp_path: Path) -> None:
    values = {"config": {"log_format": "json", "features": {"disk_usage_limit": "2TiB"}, "metrics_addr": ":9100"}}

    settings = helm.render(values).config(tmp_path)

    assert settings.log_format == "json"
    assert settings.features.disk_usage_limit == 2 << 40
    assert settings.metrics_addr == ":9100"


def test_a_policy_may_speak_of_namespaces(helm: Helm, tmp_path: Path) -> None:
    policy = {"allow": ["registry.example.com"], "namespaces": {"team-*": {"deny": ["*/secret"]}}}

    settings = helm.render({"config": {"policy": policy}}).config(tmp_path).policy

    assert settings.allow == ("registry.example.com",)
    assert [(each.namespace, each.deny) for each in settings.namespaces] == [("team-*", ("*/secret",))]


def test_the_drivers_names_win_over_those_of_the_go_chart(helm: Helm, tmp_path: Path) -> None:
    values = {
        "config": {"pullConfig": {"concurrency": 3, "proxy_url": "http://a:1"}, "pull_config": {"concurrency": 7}}
    }

    pull = helm.render(values).config(tmp_path).pull_config

    assert (pull.concurrency, pull.proxy_url) == (7, "http://a:1")


def test_only_a_setting_that_a_running_driver_does_not_follow_replaces_it(helm: Helm) -> None:
    def template(**settings: object) -> object:
        return helm.render({"config": settings}).one("DaemonSet")["spec"]["template"]

    assert template(log_level="debug") == template()
    assert template(features={"disk_usage_limit": "2TiB"}) == template()
    assert template(cache={"high_water": "90%", "low_water": "70%"}) == template()
    assert template(noexec=True) != template()
    assert template(pull_config={"proxy_url": "http://proxy.example.com:3128"}) != template()


def test_credentials_are_in_a_secret_and_nowhere_else(helm: Helm) -> None:
    auths = GO_CHART["config"]["registryAuths"]

    objects = helm.render(GO_CHART)

    secret = objects.one("Secret")
    objects.remove(secret)
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    assert json.loads(b64decode(secret["data"][".dockerconfigjson"])) == {"auths": auths}
    assert auths["registry.example.com"]["auth"] not in json.dumps(objects)
    mounts = objects.container("model-csi-driver")["volumeMounts"]
    assert {"name": "registry-auths", "mountPath": "/root/.docker", "readOnly": True} in mounts
    assert objects.volume("registry-auths")["secret"]["secretName"] == secret["metadata"]["name"]


def test_without_credentials_there_is_no_secret(helm: Helm) -> None:
    objects = helm.render()

    assert "Secret" not in objects.kinds
    assert "registry-auths" not in json.dumps(objects)


def test_an_existing_secret_takes_the_place_of_the_charts(helm: Helm) -> None:
    objects = helm.render({"config": {"registryAuthsSecret": "ours"}})

    assert "Secret" not in objects.kinds
    assert objects.volume("registry-auths")["secret"]["secretName"] == "ours"


def test_the_drivers_directory_of_credentials_is_where_the_secret_is_mounted(helm: Helm) -> None:
    config = {"registryAuthsSecret": "ours", "pull_config": {"docker_config_dir": "/etc/credentials"}}

    mounts = helm.render({"config": config}).container("model-csi-driver")["volumeMounts"]

    assert {"name": "registry-auths", "mountPath": "/etc/credentials", "readOnly": True} in mounts


def test_files_for_registries_are_in_a_secret_and_where_the_driver_looks(helm: Helm, tmp_path: Path) -> None:
    files = {"registry.example.com:5000/hosts.toml": "[host]\n", "registry.example.com:5000/ca.crt": "certificate\n"}

    objects = helm.render({"registryHosts": files})

    secret = objects.one("Secret")
    items = {item["key"]: item["path"] for item in objects.volume("registry-hosts")["secret"]["items"]}
    assert objects.volume("registry-hosts")["secret"]["secretName"] == secret["metadata"]["name"]
    assert {items[key]: b64decode(text).decode() for key, text in secret["data"].items()} == files
    mount = {"name": "registry-hosts", "mountPath": "/etc/registry-hosts", "readOnly": True}
    assert mount in objects.container("model-csi-driver")["volumeMounts"]
    assert objects.config(tmp_path).pull_config.hosts_dir == "/etc/registry-hosts"


def test_directories_of_the_node_are_read_where_they_are(helm: Helm) -> None:
    objects = helm.render({"hostPaths": ["/etc/containerd/certs.d"]})

    [mount] = [
        item
        for item in objects.container("model-csi-driver")["volumeMounts"]
        if item["mountPath"] == "/etc/containerd/certs.d"
    ]
    assert mount["readOnly"] is True
    assert objects.volume(mount["name"])["hostPath"]["path"] == "/etc/containerd/certs.d"


def test_only_the_driver_is_privileged_and_only_the_pods_directory_propagates(helm: Helm) -> None:
    pod = helm.render().pod

    driver, *others = pod["containers"]
    assert driver["securityContext"] == {
        "privileged": True,
        "capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN", "DAC_OVERRIDE", "FOWNER"]},
        "readOnlyRootFilesystem": True,
    }
    assert [item["mountPath"] for item in driver["volumeMounts"] if "mountPropagation" in item] == [
        "/var/lib/kubelet/pods"
    ]
    assert [item["name"] for item in others] == ["node-driver-registrar", "liveness-probe"]
    for sidecar in others:
        assert sidecar["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        assert not [item for item in sidecar["volumeMounts"] if "mountPropagation" in item]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostPID", "hostIPC"} & pod.keys()
    assert pod["hostNetwork"] is False


def test_the_driver_runs_on_tainted_nodes_and_is_not_evicted(helm: Helm) -> None:
    pod = helm.render().pod

    assert pod["tolerations"] == [{"operator": "Exists"}]
    assert pod["priorityClassName"] == "system-node-critical"
    assert "limits" not in pod["containers"][0]["resources"]


@pytest.mark.parametrize("directory", ["/var/snap/kubelet", "/var/snap/kubelet/"])
def test_everything_of_kubelet_is_found_in_its_directory(helm: Helm, directory: str) -> None:
    objects = helm.render({"kubeletDir": directory})

    plugin = "/var/snap/kubelet/plugins/model.csi.modelpack.org"
    assert f"--kubelet-registration-path={plugin}/csi.sock" in objects.container("node-driver-registrar")["args"]
    assert objects.volume("plugin-dir")["hostPath"]["path"] == plugin
    assert objects.volume("registration-dir")["hostPath"]["path"] == "/var/snap/kubelet/plugins_registry"
    # kubelet and the driver must call a volume's target by the same name.
    assert objects.volume("pods-dir")["hostPath"]["path"] == "/var/snap/kubelet/pods"
    assert "/var/snap/kubelet/pods" in [
        item["mountPath"] for item in objects.container("model-csi-driver")["volumeMounts"]
    ]


def test_a_data_root_may_end_with_a_slash_as_in_the_go_chart(helm: Helm, tmp_path: Path) -> None:
    objects = helm.render({"config": {"rootDir": "/mnt/models/"}})

    [mount] = [each for each in objects.container("model-csi-driver")["volumeMounts"] if each["name"] == "root-dir"]
    assert objects.volume("root-dir")["hostPath"]["path"] == mount["mountPath"] == "/mnt/models"
    assert objects.config(tmp_path).root_dir == Path("/mnt/models")


def test_images_come_from_another_registry_where_none_else_is_reached(helm: Helm) -> None:
    digest = f"sha256:{'0' * 64}"
    values = {
        "global": {"imageRegistry": "registry.internal:5000"},
        "image": {"repository": "team/model-csi-driver", "tag": "v1"},
        "livenessProbe": {"image": {"digest": digest}},
    }

    assert [item["image"] for item in helm.render(values).pod["containers"]] == [
        "registry.internal:5000/team/model-csi-driver:v1",
        "registry.internal:5000/sig-storage/csi-node-driver-registrar:v2.17.0",
        f"registry.internal:5000/sig-storage/livenessprobe@{digest}",
    ]


def test_what_an_operator_adds_is_added(helm: Helm) -> None:
    extra = {"name": "extra", "image": "registry.example.com/extra:1"}
    values: Values = {
        "args": ["--more"],
        "env": [{"name": "A", "value": "b"}],
        "envFrom": [{"configMapRef": {"name": "c"}}],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        "sidecars": [extra],
        "initContainers": [extra],
    }

    objects = helm.render(values)

    driver = objects.container("model-csi-driver")
    assert driver["args"] == ["serve", "--config=/etc/model-csi-driver/config.yaml", "--more"]
    assert values["env"][0] in driver["env"]
    assert driver["envFrom"] == values["envFrom"]
    assert values["volumeMounts"][0] in driver["volumeMounts"]
    assert values["volumes"][0] in objects.pod["volumes"]
    assert objects.pod["containers"][-1] == extra
    assert objects.pod["initContainers"] == [extra]


def test_the_packed_chart_is_the_chart(helm: Helm, tmp_path: Path) -> None:
    """What .helmignore leaves out is needed by nobody."""
    succeeded(helm.run("package", "--destination", str(tmp_path)))
    [archive] = tmp_path.iterdir()
    values = {**case("everything"), "metrics": {**case("everything")["metrics"], "dashboard": {"enabled": True}}}

    packed = Helm(helm.program, archive).render(values)

    assert packed == helm.render(values)
    with tarfile.open(archive) as content:
        assert not [name for name in content.getnames() if "/ci/" in name]


@pytest.mark.parametrize(
    "values",
    [
        {"tolerance": []},
        {"config": None},  # as in a file with a section of which all is commented out
        {"kubeletDir": None},
        {"metrics": {"port": None}},
        {"config": {"rootDirectory": "/models"}},
        {"config": {"rootDir": "models"}},
        {"config": {"root_dir": "/models"}},
        {"config": {"pull_config": {"concurency": 5}}},
        {"config": {"noexec": "yes"}},
        {"config": {"log_level": "loud"}},
        {"config": {"pull_config": {"concurrency": -1}}},
        {"image": {"pullPolicy": "Sometimes"}},
        {"image": {"digest": "sha256:1"}},
        {"image": {"repository": "registry.example.com/model-csi-driver:v1"}},  # whose tag is a value of its own
        {"registrar": {"image": {"tag": ""}}},  # the driver's version is none of a sidecar's
        {"storageClass": {"create": True, "name": ""}},
        {"dnsPolicy": "None"},  # which wants more than there are values for
        {"registryHosts": {"../config.yaml": ""}},
        {"hostPaths": ["etc"]},
        {"admissionPolicy": {"enabled": True}},
        {"admissionPolicy": {"allowedRegistries": ["https://registry.example.com"]}},
        {"admissionPolicy": {"allowedRegistries": ["team"]}},  # which is no registry
        {"updateStrategy": {"type": "Recreate"}},
        {"updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}},  # one node has room for one driver
        {"rbac": {"secretNamespaces": ["team", "team"]}},
        {"rbac": {"secretNamespaces": [""]}},
        {"metrics": {"podMonitor": {"interval": "often"}}},
        {"csiDriver": {"tokenRequests": [{"expirationSeconds": 3600}]}},
        {"podLabels": {"app.kubernetes.io/name": "ours"}},  # by which the DaemonSet knows its pods
        {"podLabels": {"app.kubernetes.io/instance": "ours"}},
    ],
)
def test_values_that_mean_nothing_are_refused(helm: Helm, values: Values) -> None:
    refused = helm.run("template", "models", values=values)

    assert refused.returncode != 0
    assert "values don't meet the specifications of the schema" in refused.stderr


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_helm_finds_nothing_wrong(helm: Helm, path: Path) -> None:
    succeeded(helm.run("lint", "--strict", values=case(path.name.removesuffix("-values.yaml"))))
