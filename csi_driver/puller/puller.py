"""How a model gets onto this node: one pull whoever asks, which outlives every caller."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TypeVar

from csi_driver.cache.snapshots import Snapshot
from csi_driver.cache.store import Cache
from csi_driver.errors import (
    AccessDenied,
    DriverError,
    NoSpace,
    StillPulling,
    Stopping,
)
from csi_driver.inflight import Deadline, Dropped, Flights, Pool, Precedence, Stop, Wait
from csi_driver.metrics import Metrics
from csi_driver.oci.digest import Digest
from csi_driver.oci.policy import PullPolicy
from csi_driver.oci.reference import Reference
from csi_driver.puller.board import Board
from csi_driver.puller.intents import Intent, Intents
from csi_driver.puller.layers import HIDDEN
from csi_driver.puller.making import Maker, Run
from csi_driver.puller.request import PullRequest, snapshot_key
from csi_driver.puller.resolver import Resolver
from csi_driver.tracing import Tracing
from csi_driver.transfer.progress import Totals, describe

T = TypeVar("T")

_PULLS = 64  # pulls under way at once: they only wait for layers, of which the configuration says how many go at once

Told = Callable[[Totals], float]
"""Hears how far a pull is, and answers in how many seconds it wants to hear again."""


class GaveWay(Exception):
    """The pull has ended where it can be gone on with, as others are urgent and it is not."""


class Puller:
    """Snapshots of models, pulled when they are not here.

    A pull is keyed by manifest and selection, a layer by its digest; each is under way at most once on the node. Pulls
    and layers have threads of their own, as a pull waits for layers. A pull that no pod waits for, nor has, gives way
    to those that one waits for: it ends, and begins again when they are over.
    """

    def __init__(self, *, resolver: Resolver, maker: Maker, cache: Cache, board: Board, intents: Intents,
                 metrics: Metrics, tracing: Tracing) -> None:  # fmt: skip
        self._maker = maker
        self._resolver = resolver
        self._cache = cache
        self._board = board
        self._intents = intents
        self._metrics = metrics
        self._tracing = tracing
        self._pulls: Flights[str, Snapshot] = Flights(Pool("pull", _PULLS), outlives_callers=True)
        self._precedence: Precedence[str] = Precedence()
        metrics.watch_each(
            "model_csi_pulls_under_way",
            "Pulls that are going on: those that a pod has waited for, and those ahead of all pods.",
            "priority",
            self._under_way,
        )

    @contextmanager
    def snapshot(
        self, request: PullRequest, wait: Wait, *, known: str | None = None, told: Told | None = None
    ) -> Iterator[Snapshot]:
        """The model that `request` means, whole and verified, held safe from the collector for the time of the `with`.

        `known` is the manifest digest that the volume was published with before, which it keeps. `told` hears how far
        the pull is when this caller begins to wait for it, and then as often as it asks to. Raises `StillPulling`
        at the deadline, while the pull goes on, and otherwise what went wrong in resolving or pulling.
        """
        if known:
            self._resolver.permit(request, request.reference)
        digest = Digest.parse(known) if known else self._with_room(lambda: self._resolve(request, wait))
        key = snapshot_key(request.reference.host, digest, request.selection)
        with self._cache.lease(key):
            snapshot = self._cache.snapshot(key)
            if snapshot:
                self._count_hit(request, snapshot)
            else:
                snapshot = self._join(key, digest, request, wait, told)
            self._check_parents(snapshot, request, None if known else wait)
            yield snapshot

    def cached(self, key: str) -> Snapshot | None:
        """The snapshot of that key, where the node holds it."""
        return self._cache.snapshot(key)

    def damage(self, name: str) -> str | None:
        """What is wrong with the snapshot that has this name in the cache, where it was set aside for that."""
        return self._cache.quarantine.reason(name)

    def release(self, key: str) -> None:
        """A volume showed the snapshot until now: what was used longest ago is the first to be given up."""
        self._cache.touch(key)

    def resume(self, intent: Intent, wait: Wait) -> None:
        """Bring a model here that was wanted before, with the node's own credentials.

        Raises what `snapshot` does; a registry that refuses these credentials may still grant it to the pod's.
        """
        if self._cache.snapshot(intent.key):
            self._intents.drop(intent.key)
            return
        request = PullRequest(intent.reference, intent.selection, PullPolicy.IF_NOT_PRESENT, urgent=intent.urgent)
        try:
            self._resolver.permit(request, request.reference)
        except AccessDenied:
            self._intents.drop(intent.key)
            raise
        with self._cache.lease(intent.key):
            self._join(intent.key, intent.digest, request, wait, None)

    def ready(self, request: PullRequest, wait: Wait) -> Snapshot:
        """The model that `request` means is here when this returns; see `snapshot`."""
        with self.snapshot(request, wait) as snapshot:
            return snapshot

    def is_under_way(self, key: str) -> bool:
        """Whether this pull is going on."""
        return key in self._pulls.keys()  # noqa: SIM118  a method of flights, not of a mapping

    def close(self, deadline: Deadline) -> bool:
        """Ask all pulls to end; what they fetched is kept for the next driver. Whether they did by the deadline."""
        try:
            self._pulls.close()
            self._maker.close()
            self._pulls.drain(Wait(deadline))
            self._maker.drain(deadline)
        except TimeoutError:
            return False
        return True

    def _count_hit(self, request: PullRequest, snapshot: Snapshot) -> None:
        """Of what nobody waits for, a model that is here is no news."""
        if request.urgent:
            self._metrics.cache_hits.inc()
            self._metrics.saved_bytes.inc(snapshot.size)

    def _under_way(self) -> dict[str, int]:
        """How many pulls are going on that a `pod` has waited for, and how many `ahead` of all pods."""
        urgent = [self._precedence.is_urgent(key) for key in self._pulls.keys()]  # noqa: SIM118  no mapping
        return {"pod": urgent.count(True), "ahead": urgent.count(False)}

    def _with_room(self, write: Callable[[], T]) -> T:
        """What `write` gives, after making room for it on a disk that is full."""
        try:
            return write()
        except NoSpace:
            self._cache.relieve()
            return write()

    def _resolve(self, request: PullRequest, wait: Wait) -> Digest:
        with self._tracing.span("resolve", reference=request.reference, policy=request.policy):
            return self._resolver.resolve(request, wait)

    def _check_parents(self, snapshot: Snapshot, request: PullRequest, wait: Wait | None) -> None:
        """Raise unless this caller may read all models that the snapshot holds parts of, whoever had it pulled.

        Without a `wait` only the policy is asked.
        """
        for parent in map(Reference.parse, snapshot.parents):
            if wait:
                self._resolver.resolve(request.of_parent(parent, request.policy), wait)
            else:
                self._resolver.permit(request, parent)

    def _join(self, key: str, digest: Digest, request: PullRequest, wait: Wait, told: Told | None) -> Snapshot:
        """The snapshot, from a pull that is under way or from one of the caller's own.

        Whoever comes here may read the model. A pull that was refused says so of the credentials of whoever began it,
        so a caller believes only its own.
        """
        intent = Intent(request.reference, digest, request.selection, request.urgent)
        self._with_room(lambda: self._intents.put(intent))
        begun: list[Stop] = []

        def pull(stop: Stop) -> Snapshot:
            begun.append(stop)
            with self._tracing.span("pull", reference=request.reference, digest=digest):
                return self._pull(Run(key, digest, request, stop, partial(self._precedence.is_urgent, key)))

        while True:
            try:
                with (
                    self._turn(key, request, wait),
                    wait.ticking(lambda: told(self._board.totals(key))) if told else nullcontext(),
                ):
                    return self._pulls.join(key, pull, wait)
            except GaveWay:
                begun.clear()
            except HIDDEN:
                if begun:
                    raise
            except TimeoutError:
                raise self._still_pulling(key, digest, request) from None

    @contextmanager
    def _turn(self, key: str, request: PullRequest, wait: Wait) -> Iterator[None]:
        """Have the pull go first until the block ends, or begin only when it holds up nobody."""
        if request.urgent:
            with self._precedence.wanting(key):
                yield
        else:
            self._precedence.wait_for_turn(key, wait)
            yield

    def _still_pulling(self, key: str, digest: Digest, request: PullRequest) -> StillPulling:
        total = self._board.totals(key)
        if total.total:
            state = describe(total)
        elif request.urgent or self.is_under_way(key):
            state = "about to start"
        else:
            state = "waiting until all pods have the models that they wait for"
        return StillPulling(
            f"pulling {request.reference}: {state}",
            fetched=total.fetched,
            total=total.total,
            rate=total.rate(),
            manifest_digest=str(digest),
        )

    def _pull(self, run: Run) -> Snapshot:
        """The snapshot, pulled; that it is wanted stays on the disk only where it is to be gone on with."""
        try:
            with self._precedence.running(run.key, step_aside=run.wait.drop):
                snapshot = self._maker.make(run)
        except Dropped:
            raise GaveWay from None
        except Stopping:
            raise
        except BaseException as error:
            self._is_over(run)
            if isinstance(error, DriverError):
                self._metrics.pulls_failed.labels(type(error).__name__).inc()
            raise
        self._is_over(run)
        self._metrics.pulls_succeeded.inc()
        return snapshot

    def _is_over(self, run: Run) -> None:
        self._intents.drop(run.key)
        self._metrics.cache_misses.inc()  # here, as a caller that waits asks again and again
