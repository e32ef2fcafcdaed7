"""What the attributes of a volume ask for: which model, which part of it, and for whose pod."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from csi_driver.errors import InvalidRequest
from csi_driver.oci.policy import PullPolicy
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import BOOLEANS, ROLES, Selection
from csi_driver.volumes.volume import Pod

T = TypeVar("T")

# What kubelet itself adds, with CSIDriver.spec.podInfoOnMount and tokenRequests.
KUBELET_PREFIX = "csi.storage.k8s.io/"
POD_NAMESPACE = f"{KUBELET_PREFIX}pod.namespace"
POD_NAME = f"{KUBELET_PREFIX}pod.name"
POD_UID = f"{KUBELET_PREFIX}pod.uid"
SERVICE_ACCOUNT = f"{KUBELET_PREFIX}serviceAccount.name"

# What the Go driver and its provisioner wrote into PersistentVolumes; it says nothing here.
_OF_PROVISIONERS = frozenset({"volume.kubernetes.io/selected-node", "storage.kubernetes.io/csiProvisionerIdentity"})

MODEL_REF = "modelRef"
PULL_POLICY = "pullPolicy"


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of one volume, checked."""

    reference: Reference
    selection: Selection
    pull_policy: PullPolicy | None
    pod: Pod | None


def read(given: Mapping[str, str], service_name: str) -> Attributes:
    """The meaning of a volume's attributes; raises `InvalidRequest` naming the one that is wrong.

    A blank value is no value: templates often leave one. Attributes with the prefix `service_name` are those of the Go
    driver.
    """
    names = Names(service_name)
    _refuse_unknown(given, names)
    values = {key: value.strip() for key, value in given.items() if value.strip()}
    _check_compatible(values, names)
    return Attributes(
        reference=_reference(values, names),
        selection=_selection(values, names),
        pull_policy=_pull_policy(values),
        pod=_pod(values),
    )


class Names:
    """The names of all attributes."""

    def __init__(self, service_name: str) -> None:
        self.reference = f"{service_name}/reference"
        self.type = f"{service_name}/type"
        self.exclude_weights = f"{service_name}/exclude-model-weights"
        self.exclude_patterns = f"{service_name}/exclude-file-patterns"
        self.include_patterns = f"{service_name}/include-file-patterns"
        self.roles = f"{service_name}/layer-roles"
        self.check_disk_quota = f"{service_name}/check-disk-quota"
        self.mount_id = f"{service_name}/mount-id"
        self.node_ip = f"{service_name}/node-ip"
        self.useful = tuple(attribute.name for attribute in known(self))


@dataclass(frozen=True, slots=True)
class Attribute:
    """What users are told of one attribute: its name, what may be given, and what that means."""

    name: str
    value: str
    meaning: str


def known(names: Names) -> tuple[Attribute, ...]:
    """Every attribute that is of use, in the order in which users read them."""
    flag, patterns, compatible = "`true` or `false`", "a JSON array of text", "accepted for compatibility"
    same = "the same, by the Go driver's name; if both are given they must be equal"
    policies = ", ".join(f"`{policy}`" for policy in PullPolicy)
    roles = ", ".join(f"`{role}`" for role in ROLES)
    return (
        Attribute(MODEL_REF, "a reference", "the model; see below"),
        Attribute(names.reference, "a reference", same),
        Attribute(PULL_POLICY, policies, "when to ask the registry; see below"),
        Attribute(names.exclude_weights, flag, "leave the weights out"),
        Attribute(names.exclude_patterns, patterns, "leave out what matches these gitignore patterns"),
        Attribute(names.include_patterns, patterns, "take only what matches these gitignore patterns"),
        Attribute(names.roles, f"a JSON array of {roles}", "take only files of these roles"),
        Attribute(names.type, "`image`", compatible),
        Attribute(names.check_disk_quota, flag, f"{compatible}; space is always checked"),
    )


def pod_named(given: Mapping[str, str]) -> str:
    """The pod that attributes tell of, for logs; empty without one."""
    return f"{given.get(POD_NAMESPACE, '')}/{given[POD_NAME]}" if POD_NAME in given else ""


def shown(value: str) -> str:
    """A value as it may stand in a message: quoted, and cut where it is long."""
    return repr(value if len(value) <= 100 else f"{value[:100]}…")


def _refuse_unknown(given: Mapping[str, str], names: Names) -> None:
    accepted = {*names.useful, names.mount_id, names.node_ip, *_OF_PROVISIONERS}
    unknown = sorted(key for key in given if key not in accepted and not key.startswith(KUBELET_PREFIX))
    if unknown:
        raise InvalidRequest(
            f"volume attribute {', '.join(shown(key) for key in unknown[:5])} is unknown; "
            f"known are {', '.join(names.useful)}"
        )


def _check_compatible(values: Mapping[str, str], names: Names) -> None:
    """What the Go driver has attributes for and this driver does always, in one way only, or not at all."""
    if names.mount_id in values:
        raise InvalidRequest(
            f"volume attribute {names.mount_id} belongs to volumes whose pod mounts models by itself, which this "
            f"driver does not offer; remove it and name the model with {MODEL_REF}"
        )
    if values.get(names.type, "image") != "image":
        raise InvalidRequest(f"volume attribute {names.type} is {shown(values[names.type])}; the only type is image")
    # Space is checked for every pull, whatever this says.
    if values.get(names.check_disk_quota, "true") not in BOOLEANS:
        raise InvalidRequest(
            f"volume attribute {names.check_disk_quota} is {shown(values[names.check_disk_quota])}; use true or false"
        )


def _reference(values: Mapping[str, str], names: Names) -> Reference:
    named = {
        name: _parsed(name, values[name], Reference.parse) for name in (MODEL_REF, names.reference) if name in values
    }
    if not named:
        raise InvalidRequest(
            f"the volume names no model; set volume attribute {MODEL_REF} to its reference, such as "
            "registry.example.com/team/model:v1"
        )
    reference, *others = named.values()
    if any(other != reference for other in others):
        raise InvalidRequest(
            f"volume attributes {MODEL_REF} and {names.reference} name different models, "
            f"{shown(values[MODEL_REF])} and {shown(values[names.reference])}; keep one of them"
        )
    return reference


def _pull_policy(values: Mapping[str, str]) -> PullPolicy | None:
    return _parsed(PULL_POLICY, values[PULL_POLICY], PullPolicy.parse) if PULL_POLICY in values else None


def _parsed(name: str, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except InvalidRequest as error:
        raise InvalidRequest(f"volume attribute {name}: {error}") from error


def _selection(values: Mapping[str, str], names: Names) -> Selection:
    return Selection.parse(
        values.get(names.exclude_weights),
        values.get(names.exclude_patterns),
        values.get(names.include_patterns),
        values.get(names.roles),
        weights_name=f"volume attribute {names.exclude_weights}",
        patterns_name=f"volume attribute {names.exclude_patterns}",
        include_name=f"volume attribute {names.include_patterns}",
        roles_name=f"volume attribute {names.roles}",
    )


def _pod(values: Mapping[str, str]) -> Pod | None:
    if POD_NAME not in values:
        return None
    return Pod(
        namespace=values.get(POD_NAMESPACE, ""),
        name=values[POD_NAME],
        uid=values.get(POD_UID, ""),
        service_account=values.get(SERVICE_ACCOUNT, ""),
    )
