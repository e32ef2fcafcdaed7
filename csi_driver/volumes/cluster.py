"""What this node tells Kubernetes: events of its pods, which models it holds, and that it may be scheduled to."""

from csi_driver import log
from csi_driver.config import Kubernetes
from csi_driver.errors import DriverError
from csi_driver.inflight import Stop, every, spawn
from csi_driver.kube.events import Event, Events
from csi_driver.kube.node import KubeNode
from csi_driver.volumes.announcer import Announcement
from csi_driver.volumes.inventory import CachedModel, Inventory

_FLUSH = 1.0  # seconds between looks at the events that wait
_LABELS = 60.0


class Cluster:
    """Tells as much as `settings` say, in the background; with none of it on, the API server is never asked."""

    def __init__(
        self,
        *,
        settings: Kubernetes,
        events: Events,
        node: KubeNode,
        inventory: Inventory,
        stop: Stop,
        untaint_every: float = 2.0,
    ) -> None:
        self._settings = settings
        self._events = events
        self._node = node
        self._inventory = inventory
        self._stop = stop
        self._untaint_every = untaint_every

    def start(self) -> None:
        """Begin, as the driver serves from now on."""
        if self._settings.events:
            every("events", _FLUSH, self._events.flush, self._stop, failed=_tell)
        if self._settings.startup_taint:
            spawn("startup-taint", self._remove_taint)
        if self._settings.node_labels:
            spawn("node-labels", self._label)
            every("node-labels", _LABELS, self.label, self._stop, failed=_tell)

    def announce(self, announcement: Announcement) -> None:
        """Take an event of a pod."""
        if self._settings.events:
            pod = announcement.pod
            self._events.post(
                Event(
                    namespace=pod.namespace,
                    pod=pod.name,
                    uid=pod.uid,
                    volume=announcement.volume_id,
                    reason=announcement.reason,
                    message=announcement.message,
                    warning=announcement.warning,
                )
            )

    def label(self) -> None:
        """Let the node's labels name the whole models that were used last; one of which parts are left out is none."""
        whole = [model for model in self._inventory.models() if not model.selection]
        latest = sorted(whole, key=_last_used, reverse=True)
        references = list(dict.fromkeys(model.reference for model in latest))
        self._node.show_models(references[: self._settings.node_labels])

    def _label(self) -> None:
        """At once after a start, as models may have gone while no driver ran."""
        try:
            self.label()
        except DriverError as error:
            _tell(error)

    def _remove_taint(self) -> None:
        """Try until it is gone, as no pod comes before that; but not before kubelet would take its volumes.

        Of failures that are all the same only the first is told.
        """
        taint, told = self._settings.startup_taint, ""
        while True:
            try:
                if self._node.is_registered():
                    return self._node.remove_taint(taint)
            except DriverError as error:
                if str(error) != told:
                    log.warning(
                        "the startup taint could not be removed, which is tried again", taint=taint, reason=error
                    )
                    told = str(error)
            if self._stop.wait(self._untaint_every):
                return None


def _last_used(model: CachedModel) -> float:
    return model.last_used


def _tell(error: Exception) -> None:
    log.warning("the Kubernetes API could not be told, which is tried again", reason=error)
