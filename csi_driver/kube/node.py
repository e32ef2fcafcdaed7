"""What the driver says about its own node: that it is ready, and which models are cached there."""

import hashlib
import re
from collections.abc import Iterable

from csi_driver import log
from csi_driver.errors import Conflict, NotFound
from csi_driver.kube.api import Api, core, storage

_TRIES = 5  # a node is written by several; who writes at the same time as another reads again


class KubeNode:
    """The Node object `name`, changed by the driver `driver`."""

    def __init__(self, *, api: Api, name: str, driver: str) -> None:
        self._api = api
        self._path = core("nodes", name)
        self._csi_path = storage("csinodes", name)
        self._driver = driver
        self._shown: dict[str, str] | None = None

    def is_registered(self) -> bool:
        """Whether kubelet has made the driver known: before that it refuses every volume of it (CSINode)."""
        try:
            drivers = self._api.get(self._csi_path).get("spec", {}).get("drivers") or []
        except NotFound:  # kubelet makes the object with the first driver
            return False
        return any(driver.get("name") == self._driver for driver in drivers)

    def remove_taint(self, key: str) -> None:
        """Take the taint `key` off, which kept pods away until the driver served; without it nothing is done."""
        for _ in range(_TRIES):
            node = self._api.get(self._path)
            taints = node.get("spec", {}).get("taints") or []
            kept = [taint for taint in taints if taint.get("key") != key]
            if len(kept) == len(taints):
                return
            version = node.get("metadata", {}).get("resourceVersion")
            try:
                self._api.patch(self._path, {"metadata": {"resourceVersion": version}, "spec": {"taints": kept}})
            except Conflict:
                continue
            log.event("the startup taint is removed", taint=key)
            return
        raise Conflict(f"the taint {key} could not be removed: others keep writing to the node; it is tried again")

    def show_models(self, references: Iterable[str]) -> None:
        """Label the node with these cached models, and with no others."""
        wanted = dict(label_of(self._driver, reference) for reference in references)
        if wanted == self._shown:
            return
        prefix = label_prefix(self._driver)
        labels = self._api.get(self._path).get("metadata", {}).get("labels") or {}
        gone = [label for label in labels if label.startswith(prefix) and label not in wanted]
        changes: dict[str, str | None] = {**dict.fromkeys(gone), **wanted}
        if any(labels.get(label) != value for label, value in changes.items()):
            self._api.patch(self._path, {"metadata": {"labels": changes}})
        self._shown = wanted


def label_prefix(driver: str) -> str:
    """What the labels of all cached models begin with."""
    return f"{driver}/model-"


def label_of(driver: str, reference: str) -> tuple[str, str]:
    """Key and value of a model's label: a key that can be computed from the reference, and a value for people.

    A label's name has at most 63 characters of a small alphabet (Kubernetes, "Labels and Selectors"), a reference has
    more: the key holds the first 32 digits of its SHA-256, and the value its end.
    """
    digits = hashlib.sha256(reference.encode()).hexdigest()[:32]
    shown = re.sub(r"[^A-Za-z0-9_.-]+", "_", reference.rpartition("/")[2])[-63:]
    return f"{label_prefix(driver)}{digits}", re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9]+$", "", shown)
