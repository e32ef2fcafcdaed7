"""What a CSI request asks for, checked whole before anything is done.

Every `InvalidRequest` names the field, its value and what to do. Secrets are never shown.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from csi_driver.cache.layout import LayerId
from csi_driver.csi import attributes
from csi_driver.csi.attributes import shown
from csi_driver.csi.pb import csi_pb2, model_csi_pb2
from csi_driver.csi.tokens import SERVICE_ACCOUNT_TOKENS, read_tokens
from csi_driver.errors import InvalidRequest
from csi_driver.oci.policy import PullPolicy
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import Selection
from csi_driver.puller.request import PullRequest
from csi_driver.registry.keychain import Keychain
from csi_driver.verifier.report import Scope
from csi_driver.volumes.volume import PublishSpec

# CSI spec, Size Limits: the general limit of a string.
LONGEST_ID = 128
# limits.h: PATH_MAX counts the terminating zero.
LONGEST_PATH = 4095

# Every mount has these, whether asked for or not. There is no other option that a bind mount of the cache could honour.
_ALWAYS_ON = frozenset({"ro", "nosuid", "nodev"})


def publish_spec(request: csi_pb2.NodePublishVolumeRequest, service_name: str) -> PublishSpec:
    """What a NodePublishVolume request asks for; raises `InvalidRequest`."""
    volume_id = _volume_id(request.volume_id)
    target = _path("target_path", request.target_path)
    capability = request.volume_capability if request.HasField("volume_capability") else None
    _check_capability(capability)
    asked = attributes.read(request.volume_context, service_name)
    return PublishSpec(
        volume_id=volume_id,
        target_path=target,
        reference=asked.reference,
        selection=asked.selection,
        pull_policy=asked.pull_policy,
        keychain=_keychain(request.secrets, asked.reference),
        pod=asked.pod,
        tokens=read_tokens(request.volume_context, request.secrets),
    )


def volume_at(request: csi_pb2.NodePublishVolumeRequest | csi_pb2.NodeUnpublishVolumeRequest) -> tuple[str, Path]:
    """The volume and the path of a request to publish or to unpublish it; raises `InvalidRequest`.

    The id may be of any length: whatever was published must be able to go.
    """
    return _required("volume_id", request.volume_id), _path("target_path", request.target_path)


def volume_seen(request: csi_pb2.NodeGetVolumeStatsRequest) -> tuple[str, Path]:
    """The volume and the path of a NodeGetVolumeStats request; raises `InvalidRequest`.

    Whatever the path is, nothing is done there: a path at which the volume is not published is simply not found.
    """
    return _required("volume_id", request.volume_id), Path(_required("volume_path", request.volume_path))


def volume_examined(request: csi_pb2.NodeGetVolumeHealthRequest) -> tuple[str, Path | None]:
    """The volume of a NodeGetVolumeHealth request and its path, where one is given; raises `InvalidRequest`."""
    path = request.volume_publish_path
    return _required("volume_id", request.volume_id), Path(path) if path else None


def pull_request(request: model_csi_pb2.PullRequest) -> PullRequest:
    """What a Models.Pull request asks for; raises `InvalidRequest`."""
    reference = Reference.parse(request.reference.strip())
    asked = request.pull_policy.strip()
    return PullRequest(
        reference=reference,
        selection=Selection(
            request.exclude_model_weights,
            tuple(request.exclude_file_patterns),
            tuple(request.include_file_patterns),
            tuple(request.layer_roles),
        ),
        policy=PullPolicy.parse(asked) if asked else PullPolicy.default_for(reference),
        keychain=_keychain(request.secrets, reference),
        urgent=False,  # no pod waits for it
    )


def layers(request: model_csi_pb2.HeldRequest) -> list[LayerId]:
    """The layers that a Models.Held request asks about; raises `InvalidRequest`."""
    try:
        return [LayerId.from_name(name) for name in request.layers]
    except ValueError as error:
        raise InvalidRequest(f"layers has a name that is none of a layer: {error}") from error


def scope(request: model_csi_pb2.VerifyRequest) -> Scope:
    """What a Models.Verify request wants proved; raises `InvalidRequest`."""
    return Scope(references=tuple(str(Reference.parse(reference.strip())) for reference in request.references))


def _required(field: str, value: str) -> str:
    if not value:
        raise InvalidRequest(f"{field} is missing; it is required")
    return value


def _volume_id(value: str) -> str:
    if len(_required("volume_id", value).encode()) > LONGEST_ID:
        raise InvalidRequest(f"volume_id {shown(value)} is longer than {LONGEST_ID} bytes, the limit of CSI")
    if not value.isprintable():
        raise InvalidRequest(f"volume_id {shown(value)} has control characters; use printable ones")
    return value


def _path(field: str, value: str) -> Path:
    """The absolute path that `value` spells, without doubled or trailing slashes."""
    components = [component for component in _required(field, value).split("/") if component]
    if not value.startswith("/") or not components:
        raise InvalidRequest(f"{field} {shown(value)} is not the absolute path of a directory")
    if "\0" in value or {".", ".."} & set(components):
        raise InvalidRequest(f"{field} {shown(value)} has a '.', '..' or NUL component; give the path itself")
    path = "/" + "/".join(components)
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise InvalidRequest(f"{field} {shown(value)} is longer than {LONGEST_PATH} bytes, the limit of Linux")
    return Path(path)


def _check_capability(capability: csi_pb2.VolumeCapability | None) -> None:
    """Any way of reading a mounted directory will do.

    kubelet sends SINGLE_NODE_WRITER for inline volumes, so the modes of writers are accepted; the mount is read-only
    all the same. `fs_type` says nothing here, as no filesystem is made, and `volume_mount_group` is only for drivers
    that advertise it: model files are readable by everybody.
    """
    if capability is None:
        raise InvalidRequest("volume_capability is missing; it is required")
    access = capability.WhichOneof("access_type")
    if access != "mount":
        wrong = "is missing" if access is None else f"is {access}"
        raise InvalidRequest(
            f"access type of volume_capability {wrong}; models are directories: use volumeMode Filesystem"
        )
    mode = capability.access_mode.mode
    modes = csi_pb2.VolumeCapability.AccessMode.Mode
    if mode == modes.UNKNOWN or mode not in modes.values():
        raise InvalidRequest(f"access mode {mode} of volume_capability is unknown; use MULTI_NODE_READER_ONLY")
    refused = sorted(set(capability.mount.mount_flags) - _ALWAYS_ON)
    if refused:
        raise InvalidRequest(
            f"mount option {shown(refused[0])} cannot be honoured: models are mounted ro,nosuid,nodev; "
            "remove it from mountOptions"
        )


def _keychain(secrets: Mapping[str, str], reference: Reference) -> Keychain | None:
    """The credentials that come with a request; none means the node's own."""
    own = {key: value for key, value in secrets.items() if key != SERVICE_ACCOUNT_TOKENS}
    return Keychain.from_secrets(own, reference.host) if own else None
