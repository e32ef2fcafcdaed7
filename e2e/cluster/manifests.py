"""What users apply: a pod with a model, and the examples of deploy/, for the images that the node has."""

from typing import Any

import yaml

from e2e.chart import ROOT
from e2e.cluster.images import BUSYBOX
from e2e.cluster.kubernetes import Object

NAME = "model.csi.modelpack.org"
LABEL, PART = "app.kubernetes.io/part-of", "e2e"

# What an example's own image would need.
OF_THE_IMAGE = ("command", "args", "startupProbe", "readinessProbe", "resources")


def pod(
    name: str,
    reference: str,
    *,
    namespace: str = "default",
    secret: str | None = None,
    image_secret: str | None = None,
    attributes: dict[str, str] | None = None,
    restricted: bool = False,
    read_only: bool = True,
) -> Object:
    """A pod that has the model at /model and sleeps; `restricted` is the Pod Security Standard of that name."""
    csi: Object = {
        "driver": NAME,
        "readOnly": read_only,
        "volumeAttributes": {f"{NAME}/reference": reference, **(attributes or {})},
    }
    if secret is not None:
        csi["nodePublishSecretRef"] = {"name": secret}
    container: Object = {
        "name": "reader",
        "image": BUSYBOX,
        "volumeMounts": [{"name": "model", "mountPath": "/model"}],
    }
    if restricted:
        container["securityContext"] = {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {LABEL: PART}},
        "spec": {
            # With 0 the API server would forget the pod before kubelet has cleaned up.
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "containers": [container],
            "volumes": [{"name": "model", "csi": csi}],
            "imagePullSecrets": [{"name": image_secret}] if image_secret else [],
        },
    }


def example(name: str, reference: str, *, namespace: str = "default") -> list[Object]:
    """The objects of deploy/examples/`name`.yaml with another model, and with busybox for the images that they name."""
    text = (ROOT / "deploy" / "examples" / f"{name}.yaml").read_text(encoding="utf-8")
    objects: list[Object] = [item for item in yaml.safe_load_all(text) if item]
    for item in objects:
        if item["kind"] != "PersistentVolume":
            item["metadata"]["namespace"] = namespace
        for template in (
            [item] if item["kind"] == "Pod" else [item["spec"][key] for key in ("template",) if key in item["spec"]]
        ):
            _run_busybox(template)
        for volume in _volumes_in(item):
            volume["volumeAttributes"]["modelRef"] = reference
    return objects


def _run_busybox(template: Object) -> None:
    template["metadata"].setdefault("labels", {})[LABEL] = PART
    template["spec"]["terminationGracePeriodSeconds"] = 1
    for container in template["spec"]["containers"]:
        if not container["image"].startswith("busybox:"):
            for key in OF_THE_IMAGE:
                container.pop(key, None)
        container["image"] = BUSYBOX


def _volumes_in(tree: Any) -> list[Any]:
    """All descriptions of volumes of the driver, wherever they are."""
    if isinstance(tree, list):
        return [found for item in tree for found in _volumes_in(item)]
    if not isinstance(tree, dict):
        return []
    here = [tree["csi"]] if isinstance(tree.get("csi"), dict) else []
    return here + [found for item in tree.values() for found in _volumes_in(item)]
