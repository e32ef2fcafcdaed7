"""Whatever tree is archived, it is unpacked as tarfile and GNU tar would, and its skeleton proves it."""

import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csi_driver.errors import DriverError
from csi_driver.oci.layout import file_mode
from csi_driver.oci.media import Packing
from tests.transfer.archives import gzipped, zstd
from tests.transfer.conftest import Bench

FORMS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
PACKS = [(Packing.TAR, bytes), (Packing.TAR_GZIP, gzipped), (Packing.TAR_ZSTD, zstd)]

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda name: name not in (".", "..") and not name.startswith("GNUSparse")
)
long_names = st.integers(60, 110).map(lambda size: "n" * size)
paths = st.lists(names | long_names, min_size=1, max_size=4).map("/".join)
sizes = st.sampled_from([0, 1, 511, 512, 513, 4096, 65_535, 65_536, 65_537, 200_000, (1 << 20) + 700])


@dataclass(frozen=True)
class Node:
    kind: str
    size: int
    seed: int
    mode: int
    mtime: int


nodes = st.builds(
    Node,
    kind=st.sampled_from(["file", "file", "file", "directory", "symlink", "hardlink"]),
    size=sizes,
    seed=st.integers(0, 255),
    mode=st.sampled_from([0o644, 0o600, 0o755, 0o4711]),
    mtime=st.integers(0, 2**33 - 1),
)
trees = st.dictionaries(paths, nodes, max_size=8)


def members(tree: dict[str, Node]) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """The entries of a tree that hangs together: a file below a file is left out."""
    taken: set[str] = set()
    files: list[tarfile.TarInfo] = []
    for path, node in tree.items():
        parents = {path[:end] for end in range(len(path)) if path[end] == "/"}
        if parents & taken or any(other.startswith(f"{path}/") for other in tree):
            continue
        info = tarfile.TarInfo(path)
        info.mode, info.mtime = node.mode, node.mtime
        data = bytes([node.seed]) * node.size
        if node.kind == "directory":
            info.type, data = tarfile.DIRTYPE, b""
        elif node.kind == "symlink":
            info.type, info.linkname, data = tarfile.SYMTYPE, "../" * len(parents) + "any/where", b""
        elif node.kind == "hardlink" and files:
            same = files[node.seed % len(files)]
            info.type, info.linkname, data = tarfile.LNKTYPE, same.name, b""
            info.mode, info.mtime = same.mode, same.mtime
        else:
            info.size = len(data)
            files.append(info)
        if node.kind != "directory":
            taken.add(path)
        yield info, data


def archive_of(tree: dict[str, Node], form: int) -> bytes | None:
    """The archive, or None where the format cannot hold a name."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        try:
            for info, data in members(tree):
                archive.addfile(info, io.BytesIO(data))
        except ValueError:
            return None
    return stream.getvalue()


def extract(archive: bytes, place: Path) -> None:
    """Unpack as tarfile does, with modes as they are."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)  # Python 3.11.4 and later have one
        opened.extractall(place)


def listing(root: Path, *, normalise: bool) -> dict[str, object]:
    """Everything that a volume keeps of a tree."""
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        status = path.lstat()
        if path.is_symlink():
            what: object = ("link", os.readlink(path))
        elif path.is_dir():
            what = "directory"
        else:
            mode = stat.S_IMODE(status.st_mode)
            what = (path.read_bytes(), file_mode(mode) if normalise else mode, int(status.st_mtime), status.st_nlink)
        found[str(path.relative_to(root))] = what
    return found


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees, pack=st.sampled_from(PACKS))
def test_unpacking_does_what_tarfile_does(
    tmp_path_factory: pytest.TempPathFactory, form: int, tree: dict[str, Node], pack: "tuple[Packing, type[bytes]]"
) -> None:
    archive = archive_of(tree, form)
    if archive is None:
        return
    place = tmp_path_factory.mktemp("tree")
    extract(archive, place)
    bench = Bench(tmp_path_factory.mktemp("into"))
    bench.fetch(pack[1](archive), pack[0])
    assert listing(bench.content, normalise=False) == listing(place, normalise=True)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees, form=st.sampled_from(["gnu", "posix", "oldgnu"]))
def test_what_gnu_tar_packs_again_is_unpacked_the_same(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Node], form: str
) -> None:
    archive = archive_of(tree, tarfile.PAX_FORMAT)
    assert archive is not None
    place = tmp_path_factory.mktemp("tree")
    extract(archive, place)
    packed = subprocess.run(
        ["tar", "-C", str(place), f"--format={form}", "--sparse", "-cf", "-", "."], capture_output=True, check=True
    )
    bench = Bench(tmp_path_factory.mktemp("into"))
    bench.fetch(packed.stdout)
    assert listing(bench.content, normalise=False) == listing(place, normalise=True)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees, damage=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=20)), max_size=4))
def test_a_damaged_archive_is_unpacked_or_refused_but_breaks_nothing(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Node], damage: list[tuple[int, bytes]]
) -> None:
    archive = bytearray(archive_of(tree, tarfile.PAX_FORMAT) or b"")
    for position, data in damage:
        at = position % (len(archive) - len(data))
        archive[at : at + len(data)] = data
    bench = Bench(tmp_path_factory.mktemp("into"))
    try:
        bench.fetch(bytes(archive))
    except DriverError:
        assert list(bench.into.iterdir()) == []
    assert bench.arriving.free == bench.arriving.count
