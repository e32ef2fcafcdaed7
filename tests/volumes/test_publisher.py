"""Publishing and unpublishing, on real mounts; only the puller is a stand-in that has every model at once."""

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from csi_driver.cache.snapshots import Snapshot
from csi_driver.config import Credentials as Settings
from csi_driver.errors import Busy, Conflict, InvalidRequest, NotFound, StillPulling, Unavailable
from csi_driver.host.mounts import Mounts
from csi_driver.inflight import Deadline, Wait, spawn
from csi_driver.kube.api import Api
from csi_driver.kube.pods import Pods
from csi_driver.metrics import Metrics
from csi_driver.oci.digest import Digest
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import Selection
from csi_driver.puller.puller import Told
from csi_driver.puller.request import PullRequest, snapshot_key
from csi_driver.registry.keychain import Providers
from csi_driver.transfer.progress import Progress, Totals
from csi_driver.volumes.announcer import Announcement, Announcer
from csi_driver.volumes.credentials import Credentials
from csi_driver.volumes.latency import Latency
from csi_driver.volumes.predecessor import Predecessor
from csi_driver.volumes.publisher import Publisher
from csi_driver.volumes.records import Records
from csi_driver.volumes.recovery import Recovered, mounted_snapshots, recover
from csi_driver.volumes.volume import Pod, PublishSpec

pytestmark = pytest.mark.usefixtures("mount_namespace")

SOON = 30.0
MODEL = Reference.parse("registry.example/team/model:v1")


def soon() -> Wait:
    return Wait(Deadline.after(SOON))


class EveryModel:
    """Has a snapshot of every model, and can be told to fail or to take its time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.snapshots: dict[str, Snapshot] = {}
        self.known: list[str | None] = []
        self.released: list[str] = []
        self.damages: dict[str, str] = {}
        self.failure: Exception | None = None
        self.steps: list[Totals] = []  # how far the pull is, each time that the caller hears of it
        self.asked = threading.Event()
        self.ready = threading.Event()
        self.ready.set()

    @contextmanager
    def snapshot(
        self, request: PullRequest, wait: Wait, *, known: str | None = None, told: Told | None = None
    ) -> Iterator[Snapshot]:
        self.known.append(known)
        self.asked.set()
        if told:
            for totals in self.steps:
                told(totals)
        wait.until(self.ready.is_set)
        if self.failure:
            raise self.failure
        digest = Digest.of(str(request.reference).encode())
        key = snapshot_key(request.reference.host, digest, request.selection)
        if key not in self.snapshots:
            tree = self.root / "snapshots" / key / "tree"
            tree.mkdir(parents=True)
            (tree / "weights.bin").write_bytes(b"weights of " + str(request.reference).encode())
            self.snapshots[key] = Snapshot(
                key=key, tree=tree, reference=str(request.reference), manifest_digest=digest, layers=(),
                selection=request.selection.key, size=42, files=1, own_bytes=0, created=0.0, last_used=0.0,
            )  # fmt: skip
        yield self.snapshots[key]

    def cached(self, key: str) -> Snapshot | None:
        return self.snapshots.get(key)

    def damage(self, name: str) -> str | None:
        return self.damages.get(name)

    def release(self, key: str) -> None:
        self.released.append(key)


class Node:
    """One node: the publisher under test and all it stands on."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "root"
        (self.root / "volumes").mkdir(parents=True)
        (self.root / "snapshots").mkdir()
        self.pods = tmp_path / "pods"
        self.pods.mkdir()
        self.models = EveryModel(self.root)
        self.mounts = Mounts()
        self.announced: list[Announcement] = []
        self.records = Records(self.root / "volumes")
        self.publisher = self.new_publisher()

    def new_publisher(self) -> Publisher:
        return Publisher(
            puller=self.models,
            credentials=Credentials(
                pods=Pods(Api(timeout=1.0)), providers=Providers(settings=Settings), settings=Settings
            ),
            records=self.records,
            mounts=self.mounts,
            announcer=Announcer(post=self.announced.append),
            predecessor=Predecessor(self.root / "volumes", mounts=self.mounts, take=lambda _: 0),
            latency=Latency(Metrics()),
            root=self.root,
            noexec=False,
        )

    def spec(self, name: str = "a", **changes: Any) -> PublishSpec:
        return replace(PublishSpec(f"csi-{name}", self.pods / name, MODEL), **changes)

    def unmount_all(self) -> None:
        for mount in self.mounts.table():
            if Path(mount.point).is_relative_to(self.pods):
                self.mounts.unmount(Path(mount.point))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.unmount_all()


def test_a_published_model_is_there_and_cannot_be_written(node: Node) -> None:
    spec = node.spec()
    node.publisher.publish(spec, soon())
    assert (spec.target_path / "weights.bin").read_bytes().startswith(b"weights of")
    with pytest.raises(OSError, match="Read-only file system"):
        (spec.target_path / "new").touch()
    options = next(mount.options for mount in node.mounts.table() if mount.point == str(spec.target_path))
    assert {"ro", "nosuid", "nodev"} <= options


def test_publishing_twice_is_publishing_once(node: Node) -> None:
    spec = node.spec()
    node.publisher.publish(spec, soon())
    node.publisher.publish(spec, soon())
    node.new_publisher().publish(spec, soon())
    assert [mount.point for mount in node.mounts.table()].count(str(spec.target_path)) == 1
    assert len(node.models.known) == 1


def test_unpublishing_removes_mount_directory_and_record_and_can_be_repeated(node: Node) -> None:
    spec = node.spec()
    node.publisher.publish(spec, soon())
    for _ in range(2):
        node.publisher.unpublish(spec.volume_id, spec.target_path)
        assert not spec.target_path.exists()
        assert node.records.all() == []
    assert node.models.released == list(node.models.snapshots)


def test_an_unknown_volume_is_unpublished_by_doing_nothing(node: Node) -> None:
    node.publisher.unpublish("csi-unknown", node.pods / "nowhere")
    (node.pods / "empty").mkdir()
    node.publisher.unpublish("csi-unknown", node.pods / "empty")
    assert not (node.pods / "empty").exists()


def test_a_volume_published_with_another_model_is_a_conflict(node: Node) -> None:
    node.publisher.publish(node.spec(), soon())
    for other in (node.spec(reference=Reference.parse("registry.example/team/model:v2")),
                  node.spec(selection=Selection(exclude_weights=True))):  # fmt: skip
        with pytest.raises(Conflict, match="model:v1"):
            node.publisher.publish(other, soon())


def test_a_target_taken_by_another_volume_is_a_conflict_that_names_it(node: Node) -> None:
    node.publisher.publish(node.spec("a"), soon())
    with pytest.raises(Conflict, match="csi-a"):
        node.publisher.publish(node.spec("b", target_path=node.pods / "a"), soon())
    with pytest.raises(Conflict, match="csi-a"):
        node.publisher.unpublish("csi-b", node.pods / "a")
    assert (node.pods / "a" / "weights.bin").exists()


def test_one_volume_at_two_targets_leaves_one_when_the_other_goes(node: Node) -> None:
    first, second = node.spec("a"), node.spec("a", target_path=node.pods / "second")
    node.publisher.publish(first, soon())
    node.publisher.publish(second, soon())
    assert node.models.known == [None, str(Digest.of(str(MODEL).encode()))]  # it keeps the model it was published with
    node.publisher.unpublish("csi-a", first.target_path)
    assert (second.target_path / "weights.bin").exists()
    assert [volume.targets for volume in node.records.all()] == [(second.target_path,)]


def test_a_failed_pull_leaves_nothing_at_the_target(node: Node) -> None:
    node.models.failure = Unavailable("the registry is down")
    with pytest.raises(Unavailable):
        node.publisher.publish(node.spec(), soon())
    assert not node.spec().target_path.exists()
    assert node.records.all() == []


def test_a_failed_mount_undoes_what_the_call_did_and_only_that(node: Node) -> None:
    spec = node.spec()
    node.publisher.publish(spec, soon())
    second = node.spec(target_path=node.pods / "second")
    key = node.records.all()[0].snapshot
    node.models.snapshots[key] = replace(node.models.snapshots[key], tree=node.root / "gone")
    with pytest.raises(Exception, match="gone"):
        node.publisher.publish(second, soon())
    assert not second.target_path.exists()
    assert [volume.targets for volume in node.records.all()] == [(spec.target_path,)]
    assert (spec.target_path / "weights.bin").exists()


def test_a_directory_that_kubelet_made_survives_a_failed_mount(node: Node) -> None:
    spec = node.spec()
    spec.target_path.mkdir()
    (node.root / "snapshots").chmod(0o755)
    digest = Digest.of(str(MODEL).encode())
    with node.models.snapshot(PullRequest(MODEL, Selection(), spec.policy), soon()):
        key = snapshot_key(MODEL.host, digest, Selection())
    node.models.snapshots[key] = replace(node.models.snapshots[key], tree=node.root / "gone")
    with pytest.raises(Exception, match="gone"):
        node.publisher.publish(spec, soon())
    assert spec.target_path.is_dir()
    assert node.records.all() == []


def test_a_target_that_is_a_file_or_has_no_parent_is_refused(node: Node) -> None:
    (node.pods / "a").touch()
    with pytest.raises(Conflict, match="not a directory"):
        node.publisher.publish(node.spec("a"), soon())
    with pytest.raises(InvalidRequest, match="no parent"):
        node.publisher.publish(node.spec("b", target_path=node.pods / "missing" / "mount"), soon())
    assert node.records.all() == []


def test_what_is_no_directory_is_told_from_one_that_holds_files_and_from_nothing(node: Node, tmp_path: Path) -> None:
    (node.pods / "file").write_bytes(b"")
    (node.pods / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(Conflict, match="is not a directory; remove it"):
            node.publisher.unpublish("csi-a", node.pods / name)
    node.publisher.unpublish("csi-a", node.pods / "file" / "below")
    assert (node.pods / "link").is_symlink()


def test_a_target_that_holds_files_is_not_removed_with_them(node: Node) -> None:
    spec = node.spec()
    node.publisher.publish(spec, soon())
    node.mounts.unmount(spec.target_path)
    (spec.target_path / "precious").touch()
    with pytest.raises(Conflict, match="holds files"):
        node.publisher.unpublish(spec.volume_id, spec.target_path)
    assert (spec.target_path / "precious").exists()


def test_a_mount_of_somebody_else_is_not_touched(node: Node, tmp_path: Path) -> None:
    foreign, target = tmp_path / "foreign", node.pods / "a"
    foreign.mkdir()
    target.mkdir()
    node.mounts.bind_read_only(foreign, target)
    with pytest.raises(Conflict, match="taken by something else"):
        node.publisher.publish(node.spec("a"), soon())
    with pytest.raises(Conflict, match="did not make"):
        node.publisher.unpublish("csi-a", target)
    assert node.mounts.is_mount_point(target)


def test_a_second_call_on_the_volume_is_told_that_it_is_busy(node: Node) -> None:
    node.models.ready.clear()
    spec, wait = node.spec(), soon()
    first = spawn("first", lambda: node.publisher.publish(spec, wait))
    assert node.models.asked.wait(SOON)
    with pytest.raises(Busy, match="csi-a"):
        node.publisher.publish(spec, soon())
    with pytest.raises(Busy, match="target path"):
        node.publisher.publish(node.spec("b", target_path=spec.target_path), soon())
    node.models.ready.set()
    wait.wake()
    first.result(SOON)


def test_unpublishing_ends_a_publish_that_still_waits(node: Node) -> None:
    node.models.ready.clear()
    spec = node.spec()
    waiting = spawn("publish", lambda: node.publisher.publish(spec, soon()))
    assert node.models.asked.wait(SOON)
    node.publisher.unpublish(spec.volume_id, spec.target_path)
    with pytest.raises(StillPulling, match="csi-a"):
        waiting.result(SOON)
    assert not spec.target_path.exists()


def test_stats_tell_size_and_condition(node: Node) -> None:
    spec = node.spec()
    with pytest.raises(NotFound, match="csi-a"):
        node.publisher.stats(spec.volume_id, spec.target_path)
    node.publisher.publish(spec, soon())
    stats = node.publisher.stats(spec.volume_id, spec.target_path)
    assert (stats.bytes_used, stats.inodes_used, stats.abnormal) == (42, 1, False)
    with pytest.raises(NotFound):
        node.publisher.stats(spec.volume_id, node.pods / "elsewhere")
    node.mounts.unmount(spec.target_path)
    stats = node.publisher.stats(spec.volume_id, spec.target_path)
    assert (stats.abnormal, stats.damaged) == (True, False)
    assert "no longer mounted" in stats.condition


def test_a_volume_that_shows_a_damaged_snapshot_says_so_until_it_is_unpublished(node: Node) -> None:
    spec = node.spec()
    node.publisher.publish(spec, soon())
    (key,) = node.models.snapshots
    aside = f"{key}.damaged-1"
    (node.root / "snapshots" / key).rename(node.root / "snapshots" / aside)
    node.models.snapshots.clear()
    node.models.damages[aside] = "layer sha256:1 has become sha256:2"
    for path in (spec.target_path, None):
        stats = node.new_publisher().stats(spec.volume_id, path)
        assert (stats.abnormal, stats.damaged) == (True, True)
        assert f"{MODEL} was found damaged on this node: layer sha256:1 has become sha256:2" in stats.condition
    node.publisher.publish(node.spec("b"), soon())  # another pod has it made anew
    assert node.publisher.stats(spec.volume_id, spec.target_path).damaged
    assert not node.publisher.stats("csi-b", node.spec("b").target_path).abnormal
    assert (spec.target_path / "weights.bin").exists()
    node.publisher.unpublish(spec.volume_id, spec.target_path)
    assert not spec.target_path.exists()


def test_recovery_keeps_what_is_mounted_and_drops_what_is_not(node: Node) -> None:
    alive, dead, half = node.spec("alive"), node.spec("dead"), node.spec("half")
    for spec in (alive, dead, half, replace(half, target_path=node.pods / "half-2")):
        node.publisher.publish(spec, soon())
    node.mounts.unmount(dead.target_path)
    node.mounts.unmount(half.target_path)
    assert recover(node.records, node.mounts, node.root / "snapshots") == Recovered(kept=2, dropped=1)
    assert {volume.volume_id: volume.targets for volume in node.records.all()} == {
        "csi-alive": (alive.target_path,),
        "csi-half": (node.pods / "half-2",),
    }
    node.publisher.publish(dead, soon())  # kubelet asks again after a reboot
    assert os.listdir(dead.target_path) == ["weights.bin"]


def test_recovery_removes_a_mount_that_a_kill_left_writable(node: Node) -> None:
    spec = node.spec()
    node.publisher.publish(spec, soon())
    node.mounts.unmount(spec.target_path)
    subprocess.run(["mount", "--bind", next(iter(node.models.snapshots.values())).tree, spec.target_path], check=True)
    assert recover(node.records, node.mounts, node.root / "snapshots") == Recovered(kept=0, dropped=1)
    assert not node.mounts.is_mount_point(spec.target_path)


def test_a_live_mount_whose_record_was_lost_still_pins_its_snapshot(node: Node) -> None:
    spec = node.spec()
    node.publisher.publish(spec, soon())
    (key,) = node.models.snapshots
    node.records.drop(spec.volume_id)
    assert mounted_snapshots(node.records.all(), node.mounts, node.root / "snapshots") == {key}
    node.publisher.unpublish(spec.volume_id, spec.target_path)
    assert not spec.target_path.exists()
    assert mounted_snapshots(node.records.all(), node.mounts, node.root / "snapshots") == set()


def test_recovery_finds_mounts_whose_targets_are_spelt_with_a_link(node: Node, tmp_path: Path) -> None:
    (tmp_path / "kubelet").symlink_to(node.pods)
    spec = node.spec(target_path=tmp_path / "kubelet" / "a")
    node.publisher.publish(spec, soon())
    assert recover(node.records, node.mounts, node.root / "snapshots") == Recovered(kept=1, dropped=0)
    node.publisher.publish(spec, soon())
    node.records.drop(spec.volume_id)
    node.publisher.unpublish(spec.volume_id, spec.target_path)
    assert not spec.target_path.exists()


@pytest.mark.parametrize("place", ["", "snapshots", "snapshots/new"])
def test_a_target_in_the_data_root_is_refused(node: Node, tmp_path: Path, place: str) -> None:
    (tmp_path / "link").symlink_to(node.root)
    for target in (node.root / place, tmp_path / "link" / place if place else node.root):
        with pytest.raises(InvalidRequest, match="data root"):
            node.publisher.publish(node.spec(target_path=target), soon())
        with pytest.raises(InvalidRequest, match="data root"):
            node.publisher.unpublish("csi-a", target)
    assert (node.root / "snapshots").is_dir()
    assert node.records.all() == []


def test_a_publish_whose_caller_left_before_it_ran_leaves_nothing(node: Node) -> None:
    spec, left = node.spec(), soon()
    left.drop()
    with pytest.raises(StillPulling, match="its caller left"):
        node.publisher.publish(spec, left)
    assert not spec.target_path.exists()
    assert node.records.all() == []


POD = Pod("team", "web-1", "u-1", "default")
GIB = 1 << 30


def told(node: Node) -> list[tuple[str, str]]:
    """The reason and the text of each announcement."""
    return [(each.reason, each.message) for each in node.announced]


def totals(fetched: int, *, here: int = 0) -> Totals:
    return Totals(fetched=fetched * GIB, total=4 * GIB, here=here * GIB, bytes_per_second=GIB)


def test_a_pod_hears_of_a_model_that_was_here_already(node: Node) -> None:
    node.publisher.publish(node.spec(pod=POD), soon())
    assert told(node) == [("MountedModel", f"mounted {MODEL} (42 B), which was on this node already")]


def test_a_pod_hears_how_far_its_pull_is_and_how_long_it_took(node: Node) -> None:
    node.models.steps = [totals(0), totals(1), totals(3)]
    node.publisher.publish(node.spec(pod=POD), soon())
    (_, first), (_, second), (reason, last) = told(node)
    assert first == f"pulling {MODEL}: 25 % (1.0 of 4.0 GiB, 1 GiB/s, 3 s left)"
    assert second == f"pulling {MODEL}: 75 % (3.0 of 4.0 GiB, 1 GiB/s, 1 s left)"
    assert reason == "PulledModel"
    assert re.fullmatch(rf"pulled {MODEL} \(42 B\) in \d+ s, .*/s", last)


@pytest.mark.parametrize(
    "steps",
    [[totals(4)], [totals(3, here=3), totals(4, here=4)], [totals(4, here=4), Progress.sum([])]],
    ids=["for another pod", "before a restart", "and is over"],
)
def test_what_had_come_before_the_pod_waited_came_at_no_rate(node: Node, steps: list[Totals]) -> None:
    node.models.steps = steps
    node.publisher.publish(node.spec(pod=POD), soon())
    assert re.fullmatch(rf"pulled {MODEL} \(42 B\) in \d+ s", told(node)[-1][1])


def test_a_pull_that_outlives_a_call_is_told_as_pulled_by_the_one_that_finds_it_done(node: Node) -> None:
    node.models.steps, node.models.failure = [totals(0)], StillPulling("25 %")
    with pytest.raises(StillPulling):
        node.publisher.publish(node.spec(pod=POD), soon())
    assert told(node) == []
    node.models.steps, node.models.failure = [], None
    node.publisher.publish(node.spec(pod=POD), soon())
    assert [reason for reason, _ in told(node)] == ["PulledModel"]


def test_a_pod_hears_why_its_model_cannot_be_had(node: Node) -> None:
    node.models.failure = Unavailable("the registry is down")
    with pytest.raises(Unavailable):
        node.publisher.publish(node.spec(pod=POD), soon())
    assert told(node) == [("FailedModel", "the registry is down")]
    assert node.announced[0].warning


def test_without_a_pod_nobody_is_told(node: Node) -> None:
    node.publisher.publish(node.spec(), soon())
    assert told(node) == []


def test_what_was_unpublished_while_it_was_pulled_begins_anew(node: Node) -> None:
    node.models.steps, node.models.failure = [totals(0)], StillPulling("25 %")
    with pytest.raises(StillPulling):
        node.publisher.publish(node.spec(pod=POD), soon())
    node.publisher.unpublish("csi-a", node.pods / "a")
    node.models.steps, node.models.failure = [], None
    node.publisher.publish(node.spec(pod=POD), soon())
    assert [reason for reason, _ in told(node)] == ["MountedModel"]
