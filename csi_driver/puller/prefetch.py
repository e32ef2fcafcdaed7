"""Pulls that nobody waits for: the models that the configuration wants, and those that an earlier driver had begun."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from csi_driver import log
from csi_driver.cache.snapshots import Snapshot
from csi_driver.errors import NoSpace, Stopping, Unavailable
from csi_driver.inflight import Condition, Deadline, Dropped, Lock, Pool, Stop, Wait
from csi_driver.metrics import Metrics
from csi_driver.oci.policy import PullPolicy
from csi_driver.puller.intents import Intent, Intents
from csi_driver.puller.request import PullRequest
from csi_driver.puller.wishes import Wish

_LOOK = 5.0  # seconds between two looks at what is wanted
_AGAIN = (
    15 * 60.0
)  # seconds until a model that is here is looked for again: it may be damaged, or its tag may have moved
_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 3600.0  # seconds after one failure, and after many in a row
_MOST_FAILURES = 72  # in a row, of a pull that nobody has asked for again: three days, as its layers are kept
_RESUMED_AT_ONCE = 16  # as many as pods may have waited for; they only wait for layers


@contextmanager
def _until(stop: Stop) -> Iterator[Wait]:
    """A wait without a deadline that is dropped when the driver stops."""
    wait = Wait(Deadline.never())
    with stop.calling(wait.drop):
        yield wait


class Puller(Protocol):
    """Who brings models to this node."""

    def ready(self, request: PullRequest, wait: Wait) -> Snapshot: ...

    def resume(self, intent: Intent, wait: Wait) -> None: ...

    def is_under_way(self, key: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class _State:
    """How it went with one model: `due` is when to try (again), in seconds of the clock."""

    due: float = 0.0
    failures: int = 0
    is_here: bool = False


class Prefetcher:
    """Works through `wishes` one after another, in their order and whenever no pod waits for a model.

    A failure holds up nobody: it is logged and counted, and the model is tried again after a pause that doubles. What
    `intents` says was under way when the driver ended goes on first, as urgent as it was. `clock` tells seconds.
    """

    def __init__(
        self,
        *,
        puller: Puller,
        intents: Intents,
        wishes: Callable[[], Sequence[Wish]],
        stop: Stop,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._puller = puller
        self._intents = intents
        self._wishes = wishes
        self._stop = stop
        self._metrics = metrics
        self._clock = clock
        self._lock = Lock()
        self._wished: dict[Wish, _State] = {}
        self._resumed: dict[str, _State] = {}
        self._urgent = Pool("resume", _RESUMED_AT_ONCE)
        self._resuming: set[str] = set()
        self._condition = Condition()
        self._is_woken = False
        metrics.watch_each(
            "model_csi_prefetch_models",
            "Models that the configuration wants to be prefetched: ready, failed, or still pending.",
            "state",
            self.states,
        )

    def run(self) -> None:
        """Work until the driver stops; for a thread of its own."""
        with self._stop.calling(self.wake):
            while not self._stop.is_set:
                self.work()
                with self._condition:
                    self._condition.wait_for(lambda: self._is_woken or self._stop.is_set, timeout=_LOOK)
                    self._is_woken = False

    def wake(self) -> None:
        """Look at once at what is wanted: it may have changed."""
        with self._condition:
            self._is_woken = True
            self._condition.notify_all()

    def work(self) -> None:
        """Do what is due now."""
        idle = []
        for intent in self._due_intents():
            if intent.urgent:
                self._submit(intent)
            else:
                idle.append(intent)
        for intent in idle:
            self._resume(intent)
        for wish in self._due_wishes():
            if wish in self._wishes():  # the configuration may have changed since
                self._fulfil(wish)

    def states(self) -> Mapping[str, int]:
        """How many of the wished models are `ready`, `failed` or still `pending`."""
        wished = self._wishes()
        with self._lock:
            known = [self._wished.get(wish, _State()) for wish in wished]
        counts = Counter("ready" if each.is_here else "failed" if each.failures else "pending" for each in known)
        return {name: counts[name] for name in ("ready", "failed", "pending")}

    def _due_intents(self) -> list[Intent]:
        now, found = self._clock(), list(self._intents.all())
        with self._lock:
            self._resumed = {each.key: self._resumed.get(each.key, _State()) for each in found}
            due = [each for each in found if self._resumed[each.key].due <= now and each.key not in self._resuming]
        return [each for each in due if not self._puller.is_under_way(each.key)]

    def _due_wishes(self) -> list[Wish]:
        now, wished = self._clock(), self._wishes()
        with self._lock:
            self._wished = {wish: self._wished.get(wish, _State()) for wish in wished}
            return [wish for wish in wished if self._wished[wish].due <= now]

    def _submit(self, intent: Intent) -> None:
        """Have the pull go on in a thread of its own, while others are looked after."""
        with self._lock:
            self._resuming.add(intent.key)
        try:
            self._urgent.submit(lambda: self._resume(intent))
        except (RuntimeError, MemoryError) as error:  # no thread is to be had
            with self._lock:
                self._resuming.discard(intent.key)
            self._put_off(intent, error)

    def _resume(self, intent: Intent) -> None:
        try:
            with _until(self._stop) as wait:
                self._puller.resume(intent, wait)
        except (Dropped, Stopping):
            return
        except Unavailable as error:
            self._put_off(intent, error)
        except Exception as error:  # noqa: BLE001  whatever it was, it must hold up no other
            log.warning(
                "a pull cannot be gone on with until a pod asks for it with its own credentials",
                reference=intent.reference,
                reason=error,
            )
        else:
            log.event("a pull that was begun before has come to its end", reference=intent.reference)
        finally:
            with self._lock:
                self._resuming.discard(intent.key)

    def _put_off(self, intent: Intent, error: Exception) -> None:
        """Try again after a pause, unless that was done for days."""
        log.warning("a pull cannot be gone on with yet", reference=intent.reference, reason=error)
        with self._lock:
            state = self._resumed[intent.key] = self._later(self._resumed.get(intent.key, _State()))
        if state.failures >= _MOST_FAILURES:
            return
        try:
            self._intents.put(intent)
        except (NoSpace, OSError) as failed:
            log.warning("a pull is forgotten until a pod asks for it", reference=intent.reference, reason=failed)

    def _fulfil(self, wish: Wish) -> None:
        policy = PullPolicy.default_for(wish.reference)
        request = PullRequest(wish.reference, wish.selection, policy, urgent=False)
        with self._lock:
            state = self._wished.get(wish, _State())
        try:
            with _until(self._stop) as wait:
                self._puller.ready(request, wait)
        except (Dropped, Stopping):
            return
        except Exception as error:  # noqa: BLE001  whatever it was, it must hold up no other
            state = self._later(state)
            self._metrics.prefetch_failures.labels(type(error).__name__).inc()
            log.warning(
                "a model could not be prefetched", reference=wish.reference, reason=error, failures=state.failures
            )
        else:
            if not state.is_here:
                log.event("prefetched", reference=wish.reference)
            state = _State(due=self._clock() + _AGAIN, is_here=True)
        with self._lock:
            self._wished[wish] = state

    def _later(self, state: _State) -> _State:
        pause = min(_FIRST_PAUSE * 2**state.failures, _LONGEST_PAUSE)
        return replace(state, due=self._clock() + pause, failures=state.failures + 1, is_here=False)
