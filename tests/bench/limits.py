"""What no puller can beat: one resource of this machine doing nothing but its part of a pull.

`python -m tests.bench.limits write FILE SIZE` and the like are the parts that no common program does; they print how
long they took without the start of Python.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from mmap import mmap
from pathlib import Path
from typing import BinaryIO

from tests.bench.data import MIB, Blob
from tests.bench.measure import Failed, Usage, run

_STEP = 4 * MIB


def sha256(blob: Blob, scratch: Path) -> Usage:
    """OpenSSL hashes the blob from the page cache."""
    if shutil.which("openssl"):
        return run(["openssl", "dgst", "-sha256", blob.file])
    return _here("hash", blob.file, blob.offset, blob.size)


def sha256_on_two_cores(blobs: Sequence[Blob], scratch: Path) -> Usage:
    """OpenSSL, through hashlib, hashes the blobs in two processes."""
    halves = [blobs[0::2], blobs[1::2]]
    words = [[str(word) for blob in half for word in (blob.file, blob.offset, blob.size)] for half in halves]
    running = [subprocess.Popen(_command("hash", *half), stdout=subprocess.PIPE) for half in words]
    usages = [_told(process.communicate()[0]) for process in running]
    return Usage(max(one.wall for one in usages), sum(one.cpu for one in usages))


def network(urls: Sequence[str], scratch: Path, *, at_once: int = 4, ca_file: str = "") -> Usage:
    """curl receives it all and keeps nothing."""
    outputs = [word for url in urls for word in ("--output", "/dev/null", url)]
    trust = ["--cacert", ca_file] if ca_file else []
    parallel = ["--parallel", "--parallel-max", str(at_once)] if len(urls) > 1 else []
    return run(["curl", "--silent", "--show-error", "--fail", *trust, *parallel, *outputs])


def disk(size: int, scratch: Path) -> Usage:
    """As many bytes go from one page-aligned buffer past the page cache to the disk."""
    return _here("write", scratch / "disk", size)


def gunzip(blob: Blob, scratch: Path) -> Usage:
    """igzip decompresses the blob to nowhere."""
    if shutil.which("igzip"):
        return run(["igzip", "-dc", "--stdout", blob.file])
    return _here("gunzip", blob.file)


def unzstd(blob: Blob, scratch: Path) -> Usage:
    """zstd decompresses the blob to nowhere."""
    if shutil.which("zstd"):
        return run(["zstd", "-dc", "--quiet", blob.file])
    return _here("unzstd", blob.file)


def _command(*words: object) -> list[str]:
    return [sys.executable, "-m", "tests.bench.limits", *map(str, words)]


def _here(*words: object) -> Usage:
    return _told(subprocess.run(_command(*words), stdout=subprocess.PIPE, check=True).stdout)


def _told(text: bytes) -> Usage:
    return Usage(**json.loads(text))


def _hash(*words: str) -> None:
    for file, offset, size in zip(words[0::3], words[1::3], words[2::3], strict=True):
        hasher, left, space = hashlib.sha256(), int(size), memoryview(bytearray(MIB))
        with open(file, "rb", buffering=0) as source:
            source.seek(int(offset))
            while left:
                count = source.readinto(space[:left])
                hasher.update(space[:count])
                left -= count


def _write(file: str, size: str) -> None:
    left = int(size)
    with memoryview(mmap(-1, _STEP)) as buffer:
        buffer[:] = os.urandom(_STEP)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_DIRECT)
        try:
            os.posix_fallocate(descriptor, 0, left)
            while left > 0:
                left -= os.write(descriptor, buffer)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def _gunzip(file: str) -> None:
    from isal import igzip  # noqa: PLC0415

    with igzip.open(file, "rb") as source:  # type: ignore[no-untyped-call]  # isal annotates only some
        _drain(source)


def _unzstd(file: str) -> None:
    import zstandard  # noqa: PLC0415

    with open(file, "rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as source:
        _drain(source)


def _drain(source: BinaryIO) -> None:
    space = bytearray(2 * MIB)
    while source.readinto(space):  # type: ignore[attr-defined]  # BinaryIO does not have it, but all of these do
        pass


_PARTS: dict[str, Callable[..., None]] = {"hash": _hash, "write": _write, "gunzip": _gunzip, "unzstd": _unzstd}


def main() -> None:
    part, *words = sys.argv[1:]
    if part not in _PARTS:
        raise Failed(f"no such part: {part}")
    wall, cpu = time.perf_counter(), time.process_time()
    _PARTS[part](*words)
    print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))


if __name__ == "__main__":
    main()
