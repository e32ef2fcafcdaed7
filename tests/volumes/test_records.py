"""Volume records on disk."""

from dataclasses import replace
from pathlib import Path

import pytest

from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import Selection
from csi_driver.volumes.records import Records
from csi_driver.volumes.volume import Pod, PublishSpec, Volume

VOLUME = Volume(
    volume_id="csi-0123",
    reference="registry.example/team/model:v1",
    selection="",
    manifest_digest="sha256:" + "a" * 64,
    snapshot="b" * 64,
    targets=(Path("/var/lib/kubelet/pods/1/mount"),),
    pod=Pod(namespace="team", name="server-0", uid="1", service_account="default"),
)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.write(VOLUME)
    anonymous = replace(VOLUME, volume_id="csi-4567", pod=None)
    records.write(anonymous)
    assert records.get("csi-0123") == VOLUME
    assert records.get("csi-4567") == anonymous
    assert {volume.volume_id for volume in records.all()} == {"csi-0123", "csi-4567"}


def test_dropping_twice_is_dropping_once(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.write(VOLUME)
    records.drop(VOLUME.volume_id)
    records.drop(VOLUME.volume_id)
    assert records.get(VOLUME.volume_id) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("volume_id", ["../../etc/passwd", "a/b", "..", "\n", "x" * 4096, "é"])
def test_no_volume_id_leads_out_of_the_directory(tmp_path: Path, volume_id: str) -> None:
    directory = tmp_path / "volumes"
    directory.mkdir()
    records = Records(directory)
    records.write(replace(VOLUME, volume_id=volume_id))
    assert records.get(volume_id) == replace(VOLUME, volume_id=volume_id)
    assert [path.parent for path in tmp_path.rglob("*.json")] == [directory]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"format": 1}', b'{"format": 99}', b"\xff\xfe"])
def test_a_damaged_record_is_set_aside_and_counts_as_absent(tmp_path: Path, content: bytes) -> None:
    records = Records(tmp_path)
    records.write(VOLUME)
    (path,) = tmp_path.glob("*.json")
    path.write_bytes(content)
    assert records.get(VOLUME.volume_id) is None
    assert records.all() == []
    assert [each.read_bytes() for each in tmp_path.glob("*.damaged")] == [content]
    records.write(VOLUME)
    assert records.get(VOLUME.volume_id) == VOLUME


def test_the_owner_of_a_target_is_found(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.write(VOLUME)
    assert records.owner_of(VOLUME.targets[0]) == VOLUME
    assert records.owner_of(Path("/elsewhere")) is None


def test_targets_come_and_go_without_duplicates() -> None:
    there, other = VOLUME.targets[0], Path("/other")
    assert VOLUME.at(there) == VOLUME
    assert VOLUME.at(other).targets == (there, other)
    assert VOLUME.at(other).without(there).targets == (other,)


def test_a_volume_knows_whether_a_request_asks_for_the_same() -> None:
    spec = PublishSpec("csi-0123", Path("/t"), Reference.parse("registry.example/team/model:v1"))
    assert VOLUME.is_of(spec)
    assert not VOLUME.is_of(replace(spec, reference=Reference.parse("registry.example/team/model:v2")))
    assert not VOLUME.is_of(replace(spec, selection=Selection(exclude_weights=True)))
