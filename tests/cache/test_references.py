"""What references meant, and the manifests they meant."""

import os
from pathlib import Path

import pytest

from csi_driver.cache.references import References, Remembered
from csi_driver.cache.store import Cache
from csi_driver.errors import ContentMismatch
from csi_driver.oci.digest import Digest
from tests.cache.shelf import MANIFEST, assemble, bring_raw
from tests.fixtures.badblocks import spoil

ONE, OTHER = Digest.of(b"one"), Digest.of(b"other")


@pytest.fixture
def references(tmp_path: Path) -> References:
    return References(tmp_path, clock=lambda: 1000.5)


def test_what_was_remembered_is_recalled_for_the_same_credentials_only(references: References) -> None:
    references.remember("host/model:v1", "alice", ONE)
    references.remember("host/model:v1", "bob", OTHER)
    assert references.recall("host/model:v1", "alice") == Remembered(ONE, 1000.5)
    assert references.recall("host/model:v1", "bob") == Remembered(OTHER, 1000.5)
    assert references.recall("host/model:v1", "eve") is None
    assert references.recall("host/model:v2", "alice") is None


def test_the_newest_counts_and_forgetting_leaves_nothing(references: References, tmp_path: Path) -> None:
    references.remember("host/model:v1", "alice", ONE)
    references.remember("host/model:v1", "alice", OTHER)
    assert references.recall("host/model:v1", "alice") == Remembered(OTHER, 1000.5)
    references.forget("host/model:v1", "alice")
    references.forget("host/model:v1", "alice")
    assert references.recall("host/model:v1", "alice") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"[]", b"\xff", b"{}", b'{"format": 9}', b"\0" * 50])
def test_a_damaged_file_is_no_memory_and_is_written_anew(references: References, tmp_path: Path, damage: bytes) -> None:
    references.remember("host/model:v1", "alice", ONE)
    (path,) = tmp_path.iterdir()
    path.write_bytes(damage)
    assert references.recall("host/model:v1", "alice") is None
    references.remember("host/model:v1", "alice", ONE)
    assert references.recall("host/model:v1", "alice") == Remembered(ONE, 1000.5)


def test_credentials_are_not_written_down(references: References, tmp_path: Path) -> None:
    references.remember("host/model:v1", "fingerprint-of-alice", ONE)
    (path,) = tmp_path.iterdir()
    assert b"alice" not in path.read_bytes()
    assert "alice" not in path.name


def test_memories_that_nobody_renewed_expire(references: References, tmp_path: Path) -> None:
    references.remember("host/model:v1", "alice", ONE)
    (path,) = tmp_path.iterdir()
    os.utime(path, (900, 900))
    assert references.expire(200) == 0
    assert references.expire(100) == 1
    assert references.recall("host/model:v1", "alice") is None


def test_a_memory_that_goes_while_others_expire_does_not_stop_them(references: References, tmp_path: Path) -> None:
    references.remember("host/model:v1", "alice", ONE)
    (path,) = tmp_path.iterdir()
    os.utime(path, (900, 900))
    for name in ("0.json", "z.json"):
        (tmp_path / name).symlink_to("gone")
    assert references.expire(50) == 1
    assert references.recall("host/model:v1", "alice") is None


def test_a_manifest_is_kept_as_the_registry_sent_it(cache: Cache) -> None:
    body = b'{"schemaVersion":2}\n'
    digest = Digest.of(body)
    assert cache.manifest(digest) is None
    cache.put_manifest(digest, body)
    cache.put_manifest(digest, body)
    assert cache.manifest(digest) == body


def test_a_manifest_that_does_not_match_its_digest_is_refused(cache: Cache) -> None:
    with pytest.raises(ContentMismatch, match=str(ONE)):
        cache.put_manifest(ONE, b"something else")
    assert cache.manifest(ONE) is None


def test_a_manifest_damaged_on_disk_is_none(cache: Cache) -> None:
    cache.put_manifest(ONE, b"one")
    cache.places.manifest(ONE).write_bytes(b"two")
    assert cache.manifest(ONE) is None
    cache.put_manifest(ONE, b"one")
    assert cache.manifest(ONE) == b"one"


def test_a_manifest_that_the_disk_cannot_read_is_none(cache: Cache) -> None:
    cache.put_manifest(ONE, b"one")
    spoil(cache.places.manifest(ONE))
    cache.put_manifest(ONE, b"one")
    assert cache.manifest(ONE) == b"one"


def test_only_the_latest_manifests_without_a_snapshot_stay(cache: Cache) -> None:
    """A registry that has another manifest each time it is asked must not fill the disk."""
    cache.put_manifest(MANIFEST, b"manifest")
    assemble(cache, "key", bring_raw(cache, "weights", b"data"))
    bodies = [b"first", b"second", b"third", b"fourth"]
    paths = [cache.places.manifest(Digest.of(body)) for body in (*bodies, b"manifest")]
    for body in bodies:
        cache.put_manifest(Digest.of(body), body)
    for number, path in enumerate(paths):
        os.truncate(path, 100 << 20)
        os.utime(path, (number % 4, number % 4))
    cache.collect()
    assert [path.exists() for path in paths] == [False, False, True, True, True]


def test_manifests_expire_unless_a_snapshot_was_made_of_them_or_they_are_young(cache: Cache) -> None:
    cache.put_manifest(ONE, b"one")
    cache.put_manifest(OTHER, b"other")
    cache.put_manifest(MANIFEST, b"manifest")
    assemble(cache, "key", bring_raw(cache, "weights", b"data"))
    for digest in (ONE, MANIFEST):
        os.utime(cache.places.manifest(digest), (1, 1))
    assert cache.expire_manifests(3600) == 1
    assert cache.manifest(ONE) is None
    assert cache.manifest(OTHER) == b"other"
    assert cache.manifest(MANIFEST) == b"manifest"
