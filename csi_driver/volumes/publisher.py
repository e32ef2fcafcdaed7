"""Publishing and unpublishing: a snapshot of the model appears read-only at the target path, and goes again.

The record says what was intended, the mount table says what is; every step looks at both, so that each call can be
repeated, interrupted and interleaved at will.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from csi_driver import log
from csi_driver.cache.snapshots import Snapshot
from csi_driver.errors import Conflict, InvalidRequest, NoSpace, NotFound, StillPulling
from csi_driver.host.mounts import Mounts, place_of
from csi_driver.host.origins import mounted_below
from csi_driver.inflight import Dropped, KeyedLocks, Lock, Wait
from csi_driver.puller.puller import Told
from csi_driver.puller.request import PullRequest
from csi_driver.volumes.announcer import Announcer
from csi_driver.volumes.credentials import Credentials
from csi_driver.volumes.latency import Latency
from csi_driver.volumes.predecessor import Predecessor
from csi_driver.volumes.records import Records
from csi_driver.volumes.volume import PublishSpec, Volume, VolumeStats

_PATIENCE = 5.0  # seconds that an unpublish lets the publish that it interrupted come to its end


class Puller(Protocol):
    """Who brings snapshots of models to this node."""

    def snapshot(
        self, request: PullRequest, wait: Wait, *, known: str | None = None, told: Told | None = None
    ) -> AbstractContextManager[Snapshot]: ...

    def cached(self, key: str) -> Snapshot | None: ...

    def damage(self, name: str) -> str | None: ...

    def release(self, key: str) -> None: ...


class Publisher:
    """The life of the volumes of this node.

    Calls on one volume, and calls on one target path, exclude each other: the second gets `Busy`. An unpublish ends a
    publish of the same volume that still waits for its pull; the pull itself goes on into the cache.
    """

    def __init__(
        self,
        *,
        puller: Puller,
        credentials: Credentials,
        records: Records,
        mounts: Mounts,
        announcer: Announcer,
        predecessor: Predecessor,
        latency: Latency,
        root: Path,
        noexec: bool,
    ) -> None:
        self._puller = puller
        self._credentials = credentials
        self._records = records
        self._mounts = mounts
        self._announcer = announcer
        self._predecessor = predecessor
        self._latency = latency
        self._root = root
        self._noexec = noexec
        self._locks: KeyedLocks[str] = KeyedLocks()
        self._waiting: dict[str, Wait] = {}
        self._lock = Lock()

    def publish(self, spec: PublishSpec, wait: Wait) -> None:
        """Make the model appear at the target path; doing it twice is doing it once.

        Raises `StillPulling` when the wait ends before the pull does, `Conflict` when the volume or the target is
        published otherwise, and whatever the pull raises; then nothing is left at the target.
        """
        self._refuse_own(spec.target_path)
        with self._hold(spec.volume_id, spec.target_path), self._interruptible(spec.volume_id, wait):
            wait.check()  # whoever left before this call came to run may have asked for an unpublish, which is over
            known = self._known(spec)
            if known and self._is_published(known, spec.target_path):
                return
            self._refuse_occupied(spec)
            request = PullRequest(
                spec.reference,
                spec.selection,
                spec.policy,
                self._credentials.keychain(spec),
                namespace=spec.pod.namespace if spec.pod else "",
            )
            self._latency.asked(spec.volume_id)
            digest = known.manifest_digest if known else None
            with (
                self._announcer.publishing(spec) as story,
                self._puller.snapshot(request, wait, known=digest, told=story.pulling) as snapshot,
            ):
                self._mount(spec, known, snapshot)
                story.mounted(snapshot.size)
            self._latency.mounted(spec.volume_id)

    def is_adopted(self, volume_id: str, target: Path) -> bool:
        """Whether the Go driver published the volume there, and it is mounted still: then it is left as it is."""
        return self._records.get(volume_id) is None and self._predecessor.shows(volume_id, target)

    def unpublish(self, volume_id: str, target: Path) -> None:
        """Make the model disappear from `target` and remove the directory; an unknown volume is fine."""
        self._refuse_own(target)
        self._interrupt(volume_id)
        self._announcer.forget(volume_id)
        self._latency.forget(volume_id)
        with self._hold(volume_id, target, patience=_PATIENCE):
            known = self._records.get(volume_id)
            if known is None or target not in known.targets:
                self._refuse_foreign(volume_id, target)
            self._mounts.unmount(target)
            _remove_directory(target)
            if known:
                self._leave(known, target)
                with suppress(OSError):  # whoever goes does not care how old the model seems now
                    self._puller.release(known.snapshot)
            self._predecessor.give_back(volume_id)

    def stats(self, volume_id: str, path: Path | None) -> VolumeStats:
        """How much the volume holds and whether it is sound, at `path` or wherever it is published.

        Raises `NotFound` when it is not published there.
        """
        known = self._records.get(volume_id)
        targets = [target for target in known.targets if path in (None, target)] if known else []
        if not targets and (left := self._predecessor.describe(volume_id, path)):
            condition = f"{left.reference or 'the volume'} is mounted as the Go driver left it"
            return VolumeStats(left.bytes, left.files, abnormal=False, condition=condition)
        if known is None or not targets:
            raise NotFound(f"volume {volume_id} is not published{f' at {path}' if path else ' on this node'}")
        snapshot = self._puller.cached(known.snapshot)
        size, files = (snapshot.size, snapshot.files) if snapshot else (0, 0)
        if snapshot and all(self._shows(target, snapshot) for target in targets):
            return VolumeStats(size, files, abnormal=False, condition=f"{known.reference} is mounted")
        damage = self._damage(targets)
        condition = (
            f"{known.reference} was found damaged on this node: {damage}; delete the pod, and its successor gets the "
            "model anew"
            if damage
            else f"{known.reference} is no longer mounted; delete the pod, and its successor gets it again"
        )
        return VolumeStats(size, files, abnormal=True, condition=condition, damaged=bool(damage))

    def _known(self, spec: PublishSpec) -> Volume | None:
        known = self._records.get(spec.volume_id)
        if known and not known.is_of(spec):
            shown = f"{known.reference} (selection {known.selection or 'whole'})"
            raise Conflict(
                f"volume {spec.volume_id} is published with {shown}; unpublish it before publishing {spec.reference}"
            )
        return known

    def _is_published(self, volume: Volume, target: Path) -> bool:
        """Whether the volume is there already. A live mount is left alone, even if its snapshot was damaged since."""
        return target in volume.targets and self._mounts.is_mount_point(target)

    def _shows(self, target: Path, snapshot: Snapshot) -> bool:
        """Whether what is mounted at `target` is `snapshot`: the same directory, not only an equal one."""
        try:
            return self._mounts.is_mount_point(target) and os.path.samefile(target, snapshot.tree)
        except FileNotFoundError:
            return False

    def _damage(self, targets: Iterable[Path]) -> str | None:
        """What is wrong with the snapshot that is mounted at one of these paths, if anything was found."""
        shown = mounted_below(self._mounts.table(), self._root / "snapshots")
        names = (shown[place].parts[0] for target in targets if (place := place_of(target)) in shown)
        return next((reason for name in names if (reason := self._puller.damage(name))), None)

    def _refuse_own(self, target: Path) -> None:
        """Neither mount over what the driver keeps, nor take an empty directory of it for a target's."""
        place, root = place_of(target), self._root.resolve()
        if place.is_relative_to(root) or root.is_relative_to(place):
            raise InvalidRequest(f"target path {target} is, holds or lies in the driver's data root {self._root}")

    def _refuse_occupied(self, spec: PublishSpec) -> None:
        if self._mounts.is_mount_point(spec.target_path):
            owner = self._records.owner_of(spec.target_path)
            by = f"volume {owner.volume_id}" if owner else "something else"
            raise Conflict(f"target path {spec.target_path} is taken by {by}; unpublish it first")

    def _refuse_foreign(self, volume_id: str, target: Path) -> None:
        """An unknown volume may only take away what no other volume is recorded for, and what is ours."""
        owner = self._records.owner_of(target)
        if owner:
            raise Conflict(f"target path {target} belongs to volume {owner.volume_id}, not to {volume_id}")
        if not self._mounts.is_mount_point(target):
            return
        left = self._predecessor.volume_at(target)
        if left not in (None, volume_id):
            raise Conflict(f"target path {target} belongs to volume {left} of the Go driver, not to {volume_id}")
        if place_of(target) not in mounted_below(self._mounts.table(), self._root):
            raise Conflict(f"target path {target} is a mount that this driver did not make; unmount it by hand")

    def _mount(self, spec: PublishSpec, known: Volume | None, snapshot: Snapshot) -> None:
        """Record, then bind; on failure undo what this call did and nothing else."""
        volume = known or Volume(
            volume_id=spec.volume_id,
            reference=str(spec.reference),
            selection=spec.selection.key,
            manifest_digest=str(snapshot.manifest_digest),
            snapshot=snapshot.key,
            targets=(),
            pod=spec.pod,
        )
        self._records.write(volume.at(spec.target_path))
        created = False
        try:
            created = _create_directory(spec.target_path)
            self._mounts.bind_read_only(snapshot.tree, spec.target_path, noexec=self._noexec)
        except BaseException:
            if created:
                _remove_directory(spec.target_path)
            self._leave(volume, spec.target_path)
            raise
        log.event("published", reference=volume.reference, digest=volume.manifest_digest, target=spec.target_path)

    def _leave(self, volume: Volume, target: Path) -> None:
        """Record that the volume is not at `target` any more.

        A disk that is full, or read-only, keeps no pod from leaving: then the record names a target too many, until
        the volume leaves another, as the directory has gone, or the driver starts again.
        """
        left = [other for other in volume.without(target).targets if os.path.lexists(other)]
        try:
            if left:
                self._records.write(replace(volume, targets=tuple(left)))
            else:
                self._records.drop(volume.volume_id)
        except (NoSpace, OSError) as error:
            log.warning("a volume has left a target, which cannot be recorded", target=target, reason=error)

    @contextmanager
    def _hold(self, volume_id: str, target: Path, *, patience: float = 0.0) -> Iterator[None]:
        with (
            self._locks.hold(f"volume {volume_id}", patience=patience),
            self._locks.hold(f"target path {target}", patience=patience),
        ):
            yield

    @contextmanager
    def _interruptible(self, volume_id: str, wait: Wait) -> Iterator[None]:
        with self._lock:
            self._waiting[volume_id] = wait
        try:
            yield
        except Dropped:
            raise StillPulling(
                f"volume {volume_id} was unpublished or its caller left while it was being pulled"
            ) from None
        finally:
            with self._lock:
                del self._waiting[volume_id]

    def _interrupt(self, volume_id: str) -> None:
        with self._lock:
            wait = self._waiting.get(volume_id)
        if wait:
            wait.drop()


def _create_directory(target: Path) -> bool:
    """Create the target directory; whether it was missing. Its parent exists (CSI spec, NodePublishVolume)."""
    try:
        target.mkdir(mode=0o750)
    except FileExistsError:
        if not target.is_dir():
            raise Conflict(f"target path {target} is not a directory; remove it") from None
        return False
    except FileNotFoundError:
        raise InvalidRequest(f"target path {target} has no parent directory; create {target.parent} first") from None
    return True


def _remove_directory(target: Path) -> None:
    """Remove the empty target directory, if it is there (CSI spec, NodeUnpublishVolume deletes it)."""
    try:
        target.rmdir()
    except FileNotFoundError:
        return
    except NotADirectoryError as error:  # it, or what should be its parent
        if os.path.lexists(target):
            raise Conflict(f"target path {target} is not a directory; remove it") from error
    except OSError as error:
        raise Conflict(
            f"target path {target} cannot be removed ({error.strerror}); it holds files that no volume brought"
        ) from error
