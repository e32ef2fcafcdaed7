"""What is fuzzed: everything that reads what registries, producers and users wrote.

A target takes any bytes, and raises only for a fault of the driver: refusing is what most bytes deserve.
"""

import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from csi_driver.errors import DriverError, InvalidRequest, UnsupportedArtifact
from csi_driver.inflight import Stop
from csi_driver.oci.digest import Digest
from csi_driver.oci.layout import needs_config, plan
from csi_driver.oci.manifest import Manifest, parse_manifest
from csi_driver.oci.media import Packing, Role
from csi_driver.oci.paths import clean
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import Selection
from csi_driver.registry.challenge import parse_challenges
from csi_driver.registry.keychain import Keychain
from csi_driver.transfer.engine import Engine
from csi_driver.transfer.limits import Limits
from csi_driver.transfer.progress import Progress
from csi_driver.transfer.source import Blob
from tests.fuzz import hostile
from tests.transfer.sources import MemorySource

HOST = "registry.example"
CANARY = b"nothing may change this"
_ENGINE = Engine(limits=lambda: Limits(entries=1000, unpacked_bytes=64 << 20))


def reference(data: bytes) -> None:
    """What is read as a reference reads the same when it is written."""
    with suppress(InvalidRequest):
        read = Reference.parse(_text(data))
        assert Reference.parse(str(read)) == read


def manifest(data: bytes) -> None:
    """A manifest is laid out with clean paths, or refused."""
    with suppress(UnsupportedArtifact):
        read = parse_manifest(data, None)
        if isinstance(read, Manifest):
            layout = plan(read, data if needs_config(read) else None)
            assert all(layer.path is None or clean(layer.path) == layer.path for layer in layout.layers)


def challenge(data: bytes) -> None:
    """Any header is some challenges, or none."""
    for one in parse_challenges(_text(data)):
        assert one.scheme


def secret(data: bytes) -> None:
    """A docker config is some credentials, or refused without being quoted."""
    with suppress(InvalidRequest):
        Keychain.from_secrets({".dockerconfigjson": _text(data)}, HOST).credentials(HOST, "team/model")


def pattern(data: bytes) -> None:
    """A pattern and a path: one line each."""
    first, _, second = _text(data[:400]).partition("\n")
    with suppress(InvalidRequest):
        Selection(exclude_patterns=(first,)).wants(second or "a", Role.WEIGHT)


def tar(data: bytes) -> None:
    """Whatever an archive says, it stays where it is unpacked."""
    with tempfile.TemporaryDirectory() as home:
        outside = Path(home, "outside")
        outside.mkdir()
        (outside / "canary").write_bytes(CANARY)
        _unpack(Path(home), hostile.archive(data, bytes(outside)), Packing.TAR)
        assert [(path.name, path.read_bytes()) for path in outside.iterdir()] == [("canary", CANARY)]
        assert (outside / "canary").stat().st_nlink == 1
        assert sorted(path.name for path in Path(home).iterdir()) == ["into", "outside"]
        _check_tree(Path(home, "into", "content"))


def gzip(data: bytes) -> None:
    """Any bytes that are said to be gzip are an archive, or refused."""
    with tempfile.TemporaryDirectory() as home:
        _unpack(Path(home), data, Packing.TAR_GZIP)


def zstd(data: bytes) -> None:
    """Any bytes that are said to be zstd are an archive, or refused."""
    with tempfile.TemporaryDirectory() as home:
        _unpack(Path(home), data, Packing.TAR_ZSTD)


def _unpack(home: Path, data: bytes, packing: Packing) -> None:
    into = home / "into"
    into.mkdir()
    blob = Blob(Digest.of(data), len(data), packing)
    with suppress(DriverError):
        _ENGINE.fetch(blob, MemorySource(data), into, progress=Progress(len(data)), stop=Stop())
        assert (into / "content").is_dir()


def _check_tree(content: Path) -> None:
    """Only files, directories, and links that stay; nobody can write any of it, or be more than he is by running it."""
    inside = content.resolve()
    for path in content.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            assert Path(os.path.realpath(path)).is_relative_to(inside)  # one in a circle leads nowhere at all
        else:
            assert stat.S_ISREG(mode) or stat.S_ISDIR(mode)
            assert mode & 0o7222 == 0


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (reference, manifest, challenge, secret, pattern, tar, gzip, zstd)
}
