"""Which directories below a given one are mounted, and where."""

from pathlib import Path

from csi_driver.host.mounts import Mount
from csi_driver.host.origins import mounted_below

SNAPSHOTS = Path("/var/lib/model-csi/snapshots")


def mount(point: str, root: str, device: str = "8:1") -> Mount:
    return Mount(point=point, root=root, device=device, options=frozenset({"ro"}), fs_type="ext4")


def test_on_the_host_a_mount_names_the_path_itself() -> None:
    table = [mount("/", "/"), mount("/pods/1", "/var/lib/model-csi/snapshots/k/tree")]
    assert mounted_below(table, SNAPSHOTS) == {Path("/pods/1"): Path("k/tree")}


def test_where_the_data_root_is_a_mount_of_its_own_paths_start_there() -> None:
    table = [
        mount("/", "/", "0:30"),
        mount("/var/lib/model-csi", "/data/models", "8:2"),
        mount("/pods/1", "/data/models/snapshots/k/tree", "8:2"),
    ]
    assert mounted_below(table, SNAPSHOTS) == {Path("/pods/1"): Path("k/tree")}


def test_another_filesystem_with_the_same_path_is_not_ours() -> None:
    table = [mount("/", "/"), mount("/pods/1", "/var/lib/model-csi/snapshots/k/tree", "8:9")]
    assert mounted_below(table, SNAPSHOTS) == {}


def test_a_directory_that_only_starts_alike_is_not_below() -> None:
    table = [mount("/", "/"), mount("/pods/1", "/var/lib/model-csi/snapshots-old/k/tree")]
    assert mounted_below(table, SNAPSHOTS) == {}


def test_the_last_of_several_mounts_at_one_point_covers_the_others() -> None:
    table = [
        mount("/", "/"),
        mount("/var/lib/model-csi", "/old", "8:3"),
        mount("/var/lib/model-csi", "/new", "8:4"),
        mount("/pods/1", "/old/snapshots/k/tree", "8:3"),
        mount("/pods/2", "/new/snapshots/k/tree", "8:4"),
    ]
    assert mounted_below(table, SNAPSHOTS) == {Path("/pods/2"): Path("k/tree")}
