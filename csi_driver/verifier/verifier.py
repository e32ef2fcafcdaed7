"""Proves every layer and snapshot in the cache again, and gives up those that are not what they were."""

import time
from collections.abc import Callable, Mapping, Sequence

from csi_driver import log
from csi_driver.cache.layers import Held
from csi_driver.cache.layout import LayerId
from csi_driver.cache.quarantine import Identity
from csi_driver.cache.snapshots import Snapshot
from csi_driver.cache.store import Cache
from csi_driver.errors import ContentMismatch, NotFound
from csi_driver.inflight import Stop, Throttle
from csi_driver.metrics import Metrics
from csi_driver.transfer.proof import Pace, prove_file, prove_tree
from csi_driver.verifier.report import Finding, Progress, Report, Scope


class Verifier:
    """Verifies while the driver serves: nothing that is in use is touched, and nobody waits for it.

    It reads at most `rate()` bytes a second (0: as fast as can be), unless it is asked to with another rate.
    `volumes_of` names the volumes that show a snapshot, by its key, in words for people. A layer that is read counts
    as leased. What is damaged is given up: the next pull fetches it anew.
    """

    def __init__(
        self,
        *,
        cache: Cache,
        volumes_of: Callable[[str], Sequence[str]],
        rate: Callable[[], float],
        metrics: Metrics,
    ) -> None:
        self._cache = cache
        self._rate = rate
        self._volumes_of = volumes_of
        self._metrics = metrics

    def verify(
        self, scope: Scope, *, progress: Progress, stop: Stop, rate: Callable[[], float] | None = None
    ) -> Report:
        """Prove what the scope says, what was proved longest ago first.

        Raises `NotFound` for a reference of which the cache holds no model, and `Stopping` once told to stop; what was
        found until then has been given up.
        """
        snapshots, layers = self._chosen(scope)
        progress.expect(sum(held.bytes for held in layers.values()))
        throttle = Throttle(rate or self._rate, stop)

        def pace(count: int) -> None:
            progress.advance(count)
            self._metrics.verified_bytes.inc(count)
            throttle.spend(count)

        for layer in sorted(layers, key=lambda layer: self._since(layer.name, layers[layer].since)):
            stop.check()
            if finding := self._examine_layer(layer, pace):
                self._tell(finding, "layer", progress)
        for snapshot in snapshots:
            stop.check()
            if finding := self._examine_snapshot(snapshot):
                self._tell(finding, "snapshot", progress)
        read, _, findings = progress.so_far()
        return Report(len(layers), len(snapshots), read, findings)

    def forget_gone(self) -> None:
        """Nothing is remembered of what the cache does not hold any more."""
        held = {layer.name for layer, _ in self._cache.layers()} | {each.key for each in self._cache.snapshots()}
        self._cache.quarantine.forget_proofs(but=held)

    def _chosen(self, scope: Scope) -> tuple[list[Snapshot], Mapping[LayerId, Held]]:
        held, snapshots = dict(self._cache.layers()), self._cache.snapshots()
        if scope.references:
            names = {snapshot.reference for snapshot in snapshots}
            if unknown := [reference for reference in scope.references if reference not in names]:
                raise NotFound(f"the cache holds no model {unknown[0]}; `model-csi list` shows those it holds")
            snapshots = [snapshot for snapshot in snapshots if snapshot.reference in scope.references]
            wanted = {layer for snapshot in snapshots for layer in snapshot.layers}
            held = {layer: each for layer, each in held.items() if layer in wanted}
        if not scope.older_than:
            return snapshots, held
        before = time.time() - scope.older_than
        due = {layer: each for layer, each in held.items() if self._since(layer.name, each.since) < before}
        return [each for each in snapshots if self._since(each.key, each.created) < before], due

    def _since(self, name: str, otherwise: float) -> float:
        """When it was last proved; what never was since it came, when it came. A time to come, as the clock was wrong
        then, is none."""
        last = self._cache.quarantine.last(name)
        since = otherwise if last is None else last
        return since if since <= time.time() else 0.0

    def _examine_layer(self, layer: LayerId, pace: Pace) -> Finding | None:
        quarantine = self._cache.quarantine
        with self._cache.hold(layers=[layer]):
            identity = quarantine.identity(layer)
            if identity is None:
                return None  # given up since it was chosen
            try:
                self._prove(layer, pace)
            except ContentMismatch as error:
                return self._give_up(layer, identity, str(error))
            quarantine.note(layer.name)
            return None

    def _prove(self, layer: LayerId, pace: Pace) -> None:
        path = self._cache.layer(layer)
        if path is None:
            raise ContentMismatch(f"the files of layer {layer.digest} are missing")
        if not layer.is_tree:
            prove_file(path, layer.digest, pace=pace)
            return
        skeleton = self._cache.skeleton(layer)
        if skeleton is None:
            raise ContentMismatch(f"the skeleton of layer {layer.digest} is missing")
        prove_tree(path, skeleton, layer.digest, pace=pace)

    def _give_up(self, layer: LayerId, identity: Identity, reason: str) -> Finding | None:
        shown = self._cache.quarantine.give_up_layer(layer, identity, reason)
        if shown is None:
            return None
        return Finding(f"layer {layer.digest}", reason, *self._users(shown))

    def _examine_snapshot(self, snapshot: Snapshot) -> Finding | None:
        quarantine = self._cache.quarantine
        with self._cache.hold(snapshots=[snapshot.key]):
            if self._cache.snapshot(snapshot.key) is None:
                return None  # given up since it was chosen
            try:
                quarantine.check(snapshot)
            except ContentMismatch as error:
                reason = f"{snapshot.reference}: {error}"
                if not quarantine.give_up_snapshot(snapshot, reason):
                    return None
                return Finding(f"snapshot {snapshot.key[:12]}", reason, *self._users([snapshot]))
            quarantine.note(snapshot.key)
            return None

    def _users(self, shown: Sequence[Snapshot]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        models = sorted({snapshot.reference for snapshot in shown})
        volumes = sorted({volume for snapshot in shown for volume in self._volumes_of(snapshot.key)})
        return tuple(models), tuple(volumes)

    def _tell(self, finding: Finding, kind: str, progress: Progress) -> None:
        progress.found(finding)
        self._metrics.verification_failures.labels(kind).inc()
        log.warning(
            "something in the cache is damaged and was given up",
            what=finding.what,
            reason=finding.reason,
            models=", ".join(finding.models) or None,
            volumes=", ".join(finding.volumes) or None,
        )
