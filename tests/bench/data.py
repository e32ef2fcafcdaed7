"""What is pulled: made once, in a cache outside the repository, and the same bytes on every machine."""

import hashlib
import io
import json
import os
import random
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

import zstandard

VERSION = 2
"""Of what the functions below make; another version is another directory."""

MIB = 1 << 20
_PIECE = 32 * MIB
_SHARDS = 4
_MTIME = 1_700_000_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much there is of everything, in bytes; `files` small files have 4 KiB each."""

    name: str
    raw: int
    tar: int
    compressed: int
    parts: int = 16
    files: int = 10_000

    @property
    def on_disk(self) -> int:
        """An upper bound for all the data, and for what one round of one case writes beside it."""
        return 3 * (self.raw + self.tar + 3 * self.compressed + self.files * 8192)


FULL = Sizes("full", raw=4096 * MIB, tar=2048 * MIB, compressed=1024 * MIB)
QUICK = Sizes("quick", raw=1024 * MIB, tar=512 * MIB, compressed=256 * MIB)


@dataclass(frozen=True, slots=True)
class Blob:
    """A part of a file, and its sha256 in hex."""

    file: str
    offset: int
    size: int
    sha256: str

    @property
    def digest(self) -> str:
        return f"sha256:{self.sha256}"


@dataclass(frozen=True, slots=True)
class Data:
    """All blobs; `raw` and `parts` are the same bytes, whole and in equal parts."""

    raw: Blob
    parts: tuple[Blob, ...]
    tar: Blob
    gzip: Blob
    zstd: Blob
    small: Blob


def cache_directory() -> Path:
    """Where the data is, and beside it what is pulled while the benchmark runs."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return base / "model-csi-bench"


def prepare(sizes: Sizes, say: Callable[[str], None]) -> Data:
    """The data of these sizes, made now if it is not there; data of other versions is removed."""
    current = cache_directory() / f"v{VERSION}"
    for old in cache_directory().glob("v*"):
        if old != current:
            shutil.rmtree(old)
    home = current / sizes.name
    index = home / "index.json"
    if not index.exists():
        home.mkdir(parents=True, exist_ok=True)
        say(f"making the data in {home}, once")
        index.write_text(json.dumps(asdict(_make(sizes, home))), encoding="ascii")
    found = json.loads(index.read_text(encoding="ascii"))
    return Data(
        parts=tuple(Blob(**part) for part in found.pop("parts")),
        **{name: Blob(**blob) for name, blob in found.items()},
    )


def warm(*blobs: Blob) -> None:
    """Have the blobs in the page cache, so that no server has to wait for the disk."""
    space = memoryview(bytearray(4 * MIB))
    for blob in blobs:
        with open(blob.file, "rb", buffering=0) as file:
            file.seek(blob.offset)
            left = blob.size
            while left > 0:
                left -= file.readinto(space[:left]) or left


def _make(sizes: Sizes, home: Path) -> Data:
    _write(home / "raw", _noise(sizes.raw))
    _tar(home / "tar", sizes.tar)
    _tar(home / "plain", sizes.compressed)
    with ThreadPoolExecutor() as pool:
        packed = [
            pool.submit(_write, home / "tar.gz", _gzip(home / "plain")),
            pool.submit(_write, home / "tar.zst", _zstd(home / "plain")),
        ]
    for one in packed:
        one.result()
    (home / "plain").unlink()
    _small_files(home / "small", sizes.files)
    part = sizes.raw // sizes.parts
    return Data(
        raw=_blob(home / "raw", 0, sizes.raw),
        parts=tuple(_blob(home / "raw", start, part) for start in range(0, sizes.raw, part)),
        tar=_blob(home / "tar"),
        gzip=_blob(home / "tar.gz"),
        zstd=_blob(home / "tar.zst"),
        small=_blob(home / "small"),
    )


def _blob(path: Path, offset: int = 0, size: int | None = None) -> Blob:
    size = path.stat().st_size if size is None else size
    hasher = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        file.seek(offset)
        left = size
        while left:
            piece = file.read(min(left, 4 * MIB))
            hasher.update(piece)
            left -= len(piece)
    return Blob(str(path), offset, size, hasher.hexdigest())


def _write(path: Path, pieces: Iterator[bytes]) -> None:
    with open(path, "wb") as file:
        file.writelines(pieces)


def _noise(size: int) -> Iterator[bytes]:
    """Bytes that nothing compresses."""
    source = random.Random(size)
    while size:
        piece = min(size, _PIECE)
        yield source.randbytes(piece)
        size -= piece


def _weights(size: int) -> Iterator[bytes]:
    """Weights as models have them: bfloat16, normally distributed; they compress by a fifth to a quarter."""
    normal = NormalDist(0.0, 0.02)
    # The sign and most of the exponent are in the upper byte: one of 256 quantiles. The lower one is as good as random.
    upper = bytes(struct.pack(">f", normal.inv_cdf((n + 0.5) / 256))[0] for n in range(256))
    source = random.Random(size)
    while size:
        count = min(size, _PIECE) // 2
        piece = bytearray(2 * count)
        piece[0::2] = source.randbytes(count)
        piece[1::2] = source.randbytes(count).translate(upper)
        yield bytes(piece)
        size -= 2 * count


def _tar(path: Path, size: int) -> None:
    """A model as a directory: a few shards of weights, and the small files that come along."""
    archive = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115  `_end` closes it
    archive.copybufsize = _PIECE  # type: ignore[attr-defined]
    for name, count in (("config.json", 700), ("tokenizer.json", 2 * MIB), ("tokenizer_config.json", 5000)):
        _add(archive, name, count, io.BytesIO(random.Random(count).randbytes(count)))
    for n in range(_SHARDS):
        shard = size // _SHARDS
        name = f"model-{n + 1:05}-of-{_SHARDS:05}.safetensors"
        _add(archive, name, shard, _Reader(_weights(shard)))
    _end(archive, path)


def _small_files(path: Path, count: int) -> None:
    """Ten thousand files of 4 KiB, a hundred to a directory."""
    source = random.Random(count)
    archive = tarfile.open(path, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115  `_end` closes it
    for n in range(count):
        _add(archive, f"part-{n // 100:03}/{n:05}.json", 4096, io.BytesIO(source.randbytes(4096)))
    _end(archive, path)


def _end(archive: tarfile.TarFile, path: Path) -> None:
    """End as Go's archive/tar does, with two blocks of zeros: modctl reads no further, and hashes what it read."""
    end = archive.offset + 2 * tarfile.BLOCKSIZE
    archive.close()
    os.truncate(path, end)


def _add(archive: tarfile.TarFile, name: str, size: int, content: "io.BytesIO | _Reader") -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = size, _MTIME
    archive.addfile(entry, content)  # type: ignore[arg-type]  # it only reads


class _Reader:
    """Pieces as a file that is read in steps no longer than they are."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def read(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            self._rest = self._rest or next(self._pieces)
            wanted = count - len(found)
            found += self._rest[:wanted]
            self._rest = self._rest[wanted:]
        return bytes(found)


def _gzip(path: Path) -> Iterator[bytes]:
    compressor = zlib.compressobj(level=6, wbits=31)
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            yield compressor.compress(piece)
    yield compressor.flush()


def _zstd(path: Path) -> Iterator[bytes]:
    compressor = zstandard.ZstdCompressor(level=3).compressobj()
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            yield compressor.compress(piece)
    yield compressor.flush()
