"""What the operator decided, read once and checked whole."""

import re
from pathlib import Path

import pytest

from csi_driver.config import DEFAULT_NAME, Config, load
from csi_driver.errors import InvalidRequest

# A complete configuration of the Go driver, as its documentation and its chart write it.
GO_DRIVER = """
service_name: model.csi.modelpack.org
root_dir: /var/lib/model-csi
csi_endpoint: unix:///csi/csi.sock
external_csi_endpoint: tcp://0.0.0.0:5243
external_csi_authorization: token
dynamic_csi_endpoint: ""
metrics_addr: tcp://$POD_IP:5244
trace_endpoint: http://collector:4318/v1/traces
pprof_addr: tcp://localhost:5245
pull_config:
  docker_config_dir: /root/.docker
  proxy_url: http://proxy:3128
  dragonfly_endpoint: unix:///var/run/dragonfly/dfdaemon.sock
  concurrency: 5
  pull_layer_timeout_in_seconds: 300
features:
  check_disk_quota: true
  disk_usage_limit: 10TiB
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def test_without_a_file_every_setting_has_its_default() -> None:
    config = load(None, {})
    assert config.service_name == DEFAULT_NAME
    assert config.root_dir == Path("/var/lib/model-csi")
    assert config.pull_config.publish_hold_in_seconds == 110
    assert config.node_id


def test_a_configuration_of_the_go_driver_is_read_and_what_has_no_effect_is_named(tmp_path: Path) -> None:
    config = load(written(tmp_path, GO_DRIVER), {"POD_IP": "10.0.0.7", "CSI_NODE_ID": "node-1"})
    assert config.metrics_addr == "tcp://10.0.0.7:5244"
    assert config.features.disk_usage_limit == 10 * 1024**4
    assert config.pull_config.proxy_url == "http://proxy:3128"
    assert "dynamic_csi_endpoint" not in config.ignored
    assert set(config.ignored) == {
        "external_csi_endpoint",
        "external_csi_authorization",
        "pprof_addr",
        "pull_config.dragonfly_endpoint",
        "pull_config.pull_layer_timeout_in_seconds",
        "features.check_disk_quota",
    }


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "node_id: from-file\ncsi_endpoint: unix:///from-file.sock\n")
    config = load(path, {"CSI_NODE_ID": "from-environment", "CSI_ENDPOINT": "unix:///run/csi.sock"})
    assert (config.node_id, config.csi_endpoint) == ("from-environment", "unix:///run/csi.sock")


def test_docker_config_names_the_directory_unless_the_file_does(tmp_path: Path) -> None:
    environ = {"DOCKER_CONFIG": "/etc/docker"}
    assert load(None, environ).pull_config.docker_config_dir == Path("/etc/docker")
    assert load(None, {"HOME": "/home/me"}).pull_config.docker_config_dir == Path("/home/me/.docker")
    assert load(None, {}).pull_config.docker_config_dir == Path("/root/.docker")
    path = written(tmp_path, "pull_config: {docker_config_dir: /root/.docker}")
    assert load(path, environ).pull_config.docker_config_dir == Path("/root/.docker")


def test_an_empty_file_or_section_means_the_defaults(tmp_path: Path) -> None:
    expected = load(None, {"CSI_NODE_ID": "n"})
    assert load(written(tmp_path, ""), {"CSI_NODE_ID": "n"}) == expected
    assert load(written(tmp_path, "pull_config:\nfeatures: {}\n"), {"CSI_NODE_ID": "n"}) == expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("service_nam: x", "service_nam"),
        ("pull_config: {conurrency: 3}", "pull_config.conurrency"),
        ("pull_config: {concurrency: many}", "pull_config.concurrency"),
        ("pull_config: {concurrency: 65}", "pull_config.concurrency"),
        ("pull_config: {concurrency: true}", "pull_config.concurrency"),
        ("pull_config: 7", "pull_config"),
        ("pull_config: {plain_http_hosts: registry:5000}", "pull_config.plain_http_hosts"),
        ("pull_config: {publish_hold_in_seconds: 0}", "pull_config.publish_hold_in_seconds"),
        ("pull_config: {publish_hold_in_seconds: .nan}", "pull_config.publish_hold_in_seconds"),
        ("root_dir: var/lib", "root_dir"),
        ("noexec: 1", "noexec"),
        ("log_format: xml", "log_format"),
        ("features: {disk_usage_limit: plenty}", "features.disk_usage_limit"),
        ("features: {disk_usage_limit: -1}", "features.disk_usage_limit"),
        ("prefetch: registry.local/model", "prefetch"),
        ("prefetch: [{exclude_model_weights: true}]", "prefetch"),
        ("prefetch: [{reference: a, roles: [config]}]", "prefetch.*knows no roles; an entry may have reference"),
        ("prefetch: [{reference: a, layer_roles: config}]", "prefetch"),
        ("cache: {high_water: 101%}", "cache.high_water"),
        ("cache: {keep_free: some}", "cache.keep_free"),
        ("cache: {pins: registry.local/model}", "cache.pins"),
        ("cache: {low_water: 90%}", "cache.low_water is 90% and cache.high_water 85%"),
        ("cache: {low_water: 1GiB}", "both must be shares or both sizes"),
        ("kubernetes: {startup_taint: 'example.com/not-ready=:NoExecute'}", "kubernetes.startup_taint.*key of a taint"),
        ("service_name: a name", "service_name"),
        (f"service_name: {'a' * 64}", "service_name"),
        ("node_id: " + "n" * 257, "node_id"),
        ("[1, 2]", "mapping"),
        ("a: b: c", "cannot be read"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        load(written(tmp_path, text), {})


def test_a_taint_is_named_by_its_key(tmp_path: Path) -> None:
    for key in ("", "not-ready", "model.csi.modelpack.org/agent-not-ready"):
        assert load(written(tmp_path, f"kubernetes: {{startup_taint: '{key}'}}"), {}).kubernetes.startup_taint == key


def test_a_missing_file_is_refused_by_path(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"absent\.yaml"):
        load(tmp_path / "absent.yaml", {})


def test_controller_mode_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="X_CSI_MODE"):
        load(None, {"X_CSI_MODE": "controller"})


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("1024", 1024), ("'500GB'", 500 * 10**9), ("10TiB", 10 * 2**40), ("1.5 GiB", 3 * 2**29), ("7 kb", 7000)],
)
def test_sizes_are_read_as_people_write_them(tmp_path: Path, text: str, size: int) -> None:
    config: Config = load(written(tmp_path, f"features: {{disk_usage_limit: {text}}}"), {})
    assert config.features.disk_usage_limit == size


def test_water_marks_are_shares_of_the_filesystem_or_sizes_of_the_cache(tmp_path: Path) -> None:
    shares = load(written(tmp_path, "cache: {high_water: 90 %, low_water: 12.5%}"), {}).cache
    assert (shares.high_water.of(1000), shares.low_water.of(1000)) == (900, 125)
    sizes = load(written(tmp_path, "cache: {high_water: 2TiB, low_water: 1TiB, keep_free: 10%}"), {}).cache
    assert (sizes.high_water.bytes, sizes.low_water.bytes) == (2 << 40, 1 << 40)
    assert sizes.keep_free is not None
    assert sizes.keep_free.of(50) == 5


def test_models_to_prefetch_are_references_or_parts_of_models(tmp_path: Path) -> None:
    text = "prefetch:\n- registry.local/a:v1\n- {reference: registry.local/b, layer_roles: [config, docs]}\n"
    one, other = load(written(tmp_path, text), {}).prefetch
    assert (one.reference, one.layer_roles) == ("registry.local/a:v1", ())
    assert (other.reference, other.layer_roles) == ("registry.local/b", ("config", "docs"))


def test_a_policy_is_lists_of_patterns(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "policy:\n  allow: [registry.example.com, '*.io/team', 'localhost:5000', '*']\n  deny:\n"
        "  namespaces:\n    team-*: {deny: ['*/x/**']}\n    b: {allow: [docker.io/library]}\n"
    )
    policy = load(path, {}).policy
    assert policy.allow == ("registry.example.com", "*.io/team", "localhost:5000", "*")
    assert [(each.namespace, each.allow, each.deny) for each in policy.namespaces] == [
        ("team-*", (), ("*/x/**",)),
        ("b", ("docker.io/library",), ()),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("allow: registry.example.com", "must be a list of patterns"),
        ("allow: ['https://r.io']", "'https://r.io', which is not of the form"),
        ("allow: [r.io/m:v1]", "without a scheme, a tag or a digest"),
        ("allow: [team/model]", "not of the form registry"),
        ("deny: ['r.io/UPPER']", "not of the form"),
        ("deny: ['']", "not of the form"),
        ("deny: [5]", "not of the form"),
        ("deny: ['r.io/a b']", "not of the form"),
        ("namespaces: [a]", "must be a mapping from namespaces"),
        ("namespaces: {a: [r.io]}", "'a' that is not a mapping of allow and deny"),
        ("namespaces: {a: {permit: [r.io]}}", "'a' that is not a mapping of allow and deny"),
        ("namespaces: {a: {deny: r.io}}", "must be a list of patterns"),
        ("other: x", "unknown setting policy.other"),
    ],
)
def test_a_policy_that_would_not_do_what_it_says_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"policy:\n  {text}\n")
    with pytest.raises(InvalidRequest, match=re.escape(told)):
        load(path, {})
