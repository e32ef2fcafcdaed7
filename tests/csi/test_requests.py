"""What requests are taken to mean, and which are refused before anything is done."""

from collections.abc import Callable
from pathlib import Path

import pytest

from csi_driver.csi import requests
from csi_driver.csi.pb import csi_pb2, model_csi_pb2
from csi_driver.errors import InvalidRequest
from csi_driver.oci.policy import PullPolicy
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import Selection
from csi_driver.volumes.volume import Pod, PublishSpec
from tests.csi.valid import PREFIX, REFERENCE, publish_request

Mode = csi_pb2.VolumeCapability.AccessMode
Change = Callable[[csi_pb2.NodePublishVolumeRequest], object]


def spec_of(change: Change = lambda request: None) -> PublishSpec:
    request = publish_request()
    change(request)
    return requests.publish_spec(request, PREFIX)


def attributes(**given: str) -> Change:
    """Sets attributes; `__` stands for the prefix of the driver."""
    named = {key.replace("__", f"{PREFIX}/").replace("_", "-"): value for key, value in given.items()}
    return lambda request: request.volume_context.update(named)


def only(**given: str) -> Change:
    def change(request: csi_pb2.NodePublishVolumeRequest) -> None:
        request.volume_context.clear()
        attributes(**given)(request)

    return change


def test_a_request_of_kubelet_becomes_a_spec() -> None:
    assert spec_of() == PublishSpec(
        volume_id="csi-1f0c",
        target_path=Path("/var/lib/kubelet/pods/9a7d/volumes/kubernetes.io~csi/model/mount"),
        reference=Reference.parse(REFERENCE),
        selection=Selection(),
        pull_policy=None,
        keychain=None,
        pod=Pod("team-a", "server-0", "9a7d", "default"),
    )


def test_without_pod_information_there_is_no_pod() -> None:
    assert spec_of(only(modelRef=REFERENCE)).pod is None


def set_flags(*flags: str) -> Change:
    return lambda request: request.volume_capability.mount.mount_flags.extend(flags)


def set_mode(mode: int) -> Change:
    return lambda request: setattr(request.volume_capability.access_mode, "mode", mode)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(only(modelRef=f" {REFERENCE}\n"), id="white space around a value"),
        pytest.param(only(__reference=REFERENCE), id="the attribute of the Go driver"),
        pytest.param(attributes(__reference=REFERENCE), id="both attributes with one meaning"),
        pytest.param(attributes(__reference=""), id="a blank attribute"),
        pytest.param(attributes(__type="image"), id="the only type"),
        pytest.param(attributes(__check_disk_quota="false"), id="a quota that is always checked"),
        pytest.param(attributes(__exclude_file_patterns="null"), id="no patterns"),
        pytest.param(
            lambda r: r.volume_context.update({"csi.storage.k8s.io/serviceAccount.tokens": "{}"}), id="tokens"
        ),
        pytest.param(lambda r: setattr(r, "target_path", f"/{r.target_path}//"), id="doubled and trailing slashes"),
        pytest.param(lambda r: setattr(r, "staging_target_path", "/anywhere"), id="a staging path"),
        pytest.param(lambda r: setattr(r.volume_capability.mount, "fs_type", "ext4"), id="a filesystem type"),
        pytest.param(lambda r: setattr(r.volume_capability.mount, "volume_mount_group", "1000"), id="a mount group"),
        pytest.param(set_flags("ro", "nosuid", "nodev"), id="mount options that hold anyway"),
        *(pytest.param(set_mode(mode), id=Mode.Mode.Name(mode)) for mode in Mode.Mode.values() if mode),
    ],
)
def test_what_changes_nothing_is_accepted(change: Change) -> None:
    spec = spec_of(change)
    assert (spec.reference, spec.target_path) == (Reference.parse(REFERENCE), spec_of().target_path)
    assert spec.selection == Selection()


def test_attributes_select_a_part_of_the_model_and_a_pull_policy() -> None:
    patterns = '["*.gguf", "!keep.gguf"]'
    included = {"__include_file_patterns": '["*.gguf"]', "__layer_roles": '["weights"]'}
    chosen = attributes(pullPolicy="Never", __exclude_model_weights="T", __exclude_file_patterns=patterns, **included)
    assert spec_of(chosen).selection == Selection(True, ("*.gguf", "!keep.gguf"), ("*.gguf",), ("weights",))
    assert spec_of(chosen).pull_policy is PullPolicy.NEVER


def test_secrets_become_a_keychain_that_is_not_shown() -> None:
    spec = spec_of(lambda request: request.secrets.update({"username": "ann", "password": "hunter2"}))
    assert spec.keychain is not None
    assert "hunter2" not in repr(spec)
    (credential,) = spec.keychain.credentials("registry.example.com", "team/model")
    assert (credential.username, credential.password) == ("ann", "hunter2")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda r: setattr(r, "volume_id", ""), "volume_id is missing"),
        (lambda r: setattr(r, "volume_id", "x" * 129), "longer than 128 bytes"),
        (lambda r: setattr(r, "volume_id", "ü" * 65), "longer than 128 bytes"),
        (lambda r: setattr(r, "volume_id", "a\nb"), r"volume_id 'a\\nb'"),
        (lambda r: setattr(r, "target_path", ""), "target_path is missing"),
        (lambda r: setattr(r, "target_path", "pods/mount"), "target_path 'pods/mount' is not the absolute path"),
        (lambda r: setattr(r, "target_path", "/"), "target_path '/' is not"),
        (lambda r: setattr(r, "target_path", "/pods/../etc"), r"'\.\.' or NUL component"),
        (lambda r: setattr(r, "target_path", "/pods/./x"), "'/pods/./x'"),
        (lambda r: setattr(r, "target_path", "/pods/a\0b"), r"'/pods/a\\x00b'"),
        (lambda r: setattr(r, "target_path", "/x" * 2100), "longer than 4095 bytes"),
        (lambda r: r.ClearField("volume_capability"), "volume_capability is missing"),
        (lambda r: r.volume_capability.ClearField("mount"), "access type of volume_capability is missing"),
        (lambda r: r.volume_capability.block.SetInParent(), "is block; models are directories"),
        (set_mode(0), "access mode 0"),
        (set_mode(99), "access mode 99"),
        (lambda r: r.volume_capability.ClearField("access_mode"), "access mode 0"),
        (set_flags("ro", "rw"), "mount option 'rw'"),
        (only(), "names no model; set volume attribute modelRef"),
        (only(modelRef="  "), "names no model"),
        (only(modelRef="registry.example.com/Team/model"), "volume attribute modelRef: .*lower case"),
        (only(__reference="no reference"), f"volume attribute {PREFIX}/reference: "),
        (attributes(__reference="registry.example.com/team/other"), "name different models"),
        (attributes(pullPolicy="always"), "volume attribute pullPolicy: .*'always'.*Always, IfNotPresent, Never"),
        (attributes(__type="dataset"), "type is 'dataset'; the only type is image"),
        (attributes(__mount_id="m1"), "mount-id belongs to volumes whose pod mounts models by itself"),
        (attributes(__check_disk_quota="maybe"), "check-disk-quota is 'maybe'"),
        (attributes(__exclude_model_weights="yes"), "exclude-model-weights must be true or false, not 'yes'"),
        (attributes(__exclude_file_patterns="*.bin"), "exclude-file-patterns must be a JSON array"),
        (attributes(__include_file_patterns="*.bin"), "include-file-patterns must be a JSON array"),
        (attributes(__layer_roles='["weight"]'), "layer-roles must be .*'weight' is not a role"),
        (attributes(__exclude_file_patterns='["[a"]'), r"exclude-file-patterns .*'\[a'"),
        (attributes(modelref=REFERENCE), "'modelref' is unknown; known are modelRef, "),
        (attributes(__status="x"), f"'{PREFIX}/status' is unknown"),
        (lambda r: r.secrets.update({"token": "hunter2"}), "ecret"),
        (lambda r: r.secrets.update({".dockerconfigjson": "{hunter2"}), r"\.dockerconfigjson"),
    ],
)
def test_a_request_that_can_never_succeed_is_refused_by_name(change: Change, named: str) -> None:
    with pytest.raises(InvalidRequest, match=named) as refused:
        spec_of(change)
    assert "hunter2" not in str(refused.value)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(InvalidRequest) as refused:
        spec_of(attributes(__type="x" * 4000))
    assert len(str(refused.value)) < 300


def test_a_volume_is_let_go_whatever_its_id() -> None:
    request = csi_pb2.NodeUnpublishVolumeRequest(volume_id="x" * 300, target_path="/pods/a/")
    assert requests.volume_at(request) == ("x" * 300, Path("/pods/a"))


def test_a_volume_is_looked_for_at_any_path() -> None:
    request = csi_pb2.NodeGetVolumeStatsRequest(volume_id="v", volume_path="some//path/")
    assert requests.volume_seen(request) == ("v", Path("some/path"))


@pytest.mark.parametrize(
    ("request_", "read", "named"),
    [
        (csi_pb2.NodeUnpublishVolumeRequest(target_path="/a"), requests.volume_at, "volume_id"),
        (csi_pb2.NodeUnpublishVolumeRequest(volume_id="v"), requests.volume_at, "target_path"),
        (csi_pb2.NodeUnpublishVolumeRequest(volume_id="v", target_path="/a/.."), requests.volume_at, "target_path"),
        (csi_pb2.NodeGetVolumeStatsRequest(volume_path="/a"), requests.volume_seen, "volume_id"),
        (csi_pb2.NodeGetVolumeStatsRequest(volume_id="v"), requests.volume_seen, "volume_path"),
        (csi_pb2.NodeGetVolumeHealthRequest(volume_publish_path="/a"), requests.volume_examined, "volume_id"),
    ],
)
def test_a_volume_without_id_or_path_is_refused(request_: object, read: Callable[..., object], named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        read(request_)


def test_a_pull_asks_for_what_a_volume_could_ask_for() -> None:
    asked = requests.pull_request(
        model_csi_pb2.PullRequest(
            reference=REFERENCE,
            exclude_model_weights=True,
            exclude_file_patterns=["*.md"],
            include_file_patterns=["*"],
            layer_roles=["docs"],
            pull_policy="Always",
            secrets={"username": "ann", "password": "hunter2"},
        )
    )
    assert (asked.reference, asked.policy) == (Reference.parse(REFERENCE), PullPolicy.ALWAYS)
    assert asked.selection == Selection(True, ("*.md",), ("*",), ("docs",))
    assert asked.keychain is not None
    assert "hunter2" not in repr(asked)


def test_a_pull_without_a_policy_has_that_of_a_pod() -> None:
    asked = requests.pull_request(model_csi_pb2.PullRequest(reference="registry.example.com/team/model"))
    assert asked.policy is PullPolicy.ALWAYS
    assert asked.keychain is None


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (model_csi_pb2.PullRequest(), "the reference is empty"),
        (model_csi_pb2.PullRequest(reference=REFERENCE, pull_policy="sometimes"), "'sometimes'"),
        (model_csi_pb2.PullRequest(reference=REFERENCE, exclude_file_patterns=["[a"]), r"\[a"),
    ],
)
def test_a_pull_that_can_never_succeed_is_refused(request_: model_csi_pb2.PullRequest, named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        requests.pull_request(request_)


@pytest.mark.parametrize("name", ["", "../../etc", f"sha256-{'0' * 63}.raw"])
def test_a_question_about_what_is_no_layer_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest, match="layers has a name"):
        requests.layers(model_csi_pb2.HeldRequest(layers=[name]))
