"""Events on pods, sent in the background: never a reason for anything else to wait or to fail."""

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

from csi_driver import log
from csi_driver.errors import AccessDenied, Conflict, DriverError, NotFound, Unauthenticated, Unavailable
from csi_driver.inflight import Lock
from csi_driver.kube.api import Api, Object, core

_MOST_PENDING = 1000  # more than kubelet allows pods on a node, with a few reasons each
_MOST_KNOWN = 5000
_AT_ONCE = 20  # requests in one flush; the API server is everybody's
_LONGEST_MESSAGE = 1024  # events.k8s.io/v1, Event.note
_PAUSE = 30.0  # seconds without requests after the API server could not be reached
_LONG_PAUSE = 600.0  # and after it refused, which only a person can mend: all, or those of one namespace


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a pod's volume. One with the name of an earlier one counts that up and takes its place."""

    namespace: str
    pod: str
    uid: str
    volume: str
    reason: str
    message: str
    warning: bool = False

    @property
    def name(self) -> str:
        key = "\0".join((self.uid, self.volume, self.reason))
        # A name is a DNS subdomain of at most 253 characters, as the pod's is.
        return f"{self.pod[:230]}.{hashlib.sha256(key.encode()).hexdigest()[:16]}"


class Events:
    """Events of the driver `component` on the node `node`, sent by whoever calls `flush` now and then.

    Of those that wait with the same name only the latest is sent; when too many wait the oldest are dropped.
    """

    def __init__(self, *, api: Api, component: str, node: str) -> None:
        self._api = api
        self._component = component
        self._node = node
        self._lock = Lock()
        self._pending: OrderedDict[str, Event] = OrderedDict()
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._not_before = 0.0
        self._refused: dict[str, float] = {}

    def post(self, event: Event) -> None:
        """Take the event, to be sent soon."""
        with self._lock:
            self._pending[event.name] = event
            while len(self._pending) > _MOST_PENDING:
                self._pending.popitem(last=False)

    def flush(self) -> None:
        """Send what waits, oldest first, as far as the API server takes it."""
        if time.monotonic() < self._not_before:
            return
        for _ in range(_AT_ONCE):
            with self._lock:
                if not self._pending:
                    return
                name, event = self._pending.popitem(last=False)
            if time.monotonic() < self._refused.get(event.namespace, 0.0):
                continue
            try:
                self._send(name, event)
            except Unavailable:
                self._keep(name, event)
                self._not_before = time.monotonic() + _PAUSE
                return
            except Unauthenticated as error:
                self._not_before = time.monotonic() + _LONG_PAUSE
                log.warning("no events can be written, which is tried again in ten minutes", reason=error)
                return
            except AccessDenied as error:  # also of a namespace that is being deleted, or has a quota of events
                self._leave_alone(event.namespace)
                log.warning(
                    "no events can be written, which is tried again in ten minutes",
                    namespace=event.namespace,
                    reason=error,
                )
            except DriverError as error:
                log.warning("an event was refused", pod=f"{event.namespace}/{event.pod}", reason=error)

    def _keep(self, name: str, event: Event) -> None:
        """Put it back, unless a later one has come."""
        with self._lock:
            if name not in self._pending:
                self._pending[name] = event
                self._pending.move_to_end(name, last=False)

    def _leave_alone(self, namespace: str) -> None:
        """Take no events for the namespace for a while, and remember none for which that is over."""
        now = time.monotonic()
        self._refused = {name: until for name, until in self._refused.items() if now < until}
        self._refused[namespace] = now + _LONG_PAUSE

    def _send(self, name: str, event: Event) -> None:
        path = core("events", name, namespace=event.namespace)
        count = self._counts.get(name, 0)
        if count == 0:
            try:
                self._api.create(core("events", namespace=event.namespace), self._new(name, event))
            except Conflict:  # a driver before this one wrote it
                count = int(self._api.get(path).get("count") or 1)
        if count:
            count = self._count_up(path, name, event, count)
        self._counts[name] = max(count, 1)
        self._counts.move_to_end(name)
        while len(self._counts) > _MOST_KNOWN:
            self._counts.popitem(last=False)

    def _count_up(self, path: str, name: str, event: Event, count: int) -> int:
        """The event that is there says this now; how often it has happened."""
        changes = {"count": count + 1, "lastTimestamp": _now(), "message": event.message[:_LONGEST_MESSAGE]}
        try:
            self._api.patch(path, changes)
        except NotFound:  # events live for an hour (kube-apiserver --event-ttl)
            self._api.create(core("events", namespace=event.namespace), self._new(name, event))
            return 1
        return count + 1

    def _new(self, name: str, event: Event) -> Object:
        now = _now()
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": event.namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": event.namespace,
                "name": event.pod,
                "uid": event.uid,
            },
            "type": "Warning" if event.warning else "Normal",
            "reason": event.reason,
            "message": event.message[:_LONGEST_MESSAGE],
            "source": {"component": self._component, "host": self._node},
            "reportingComponent": self._component,
            "reportingInstance": self._node,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
