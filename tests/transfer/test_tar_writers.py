"""Archives of every writer that models come from become, byte for byte, the trees that GNU tar makes of them."""

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from csi_driver.oci.digest import Digest
from csi_driver.transfer.proof import prove_tree
from tests.transfer.archives import gnu_tar
from tests.transfer.conftest import Bench
from tests.transfer.test_tar_property import listing

GO_PROGRAM = Path(__file__).parent / "writers" / "main.go"

Writer = Callable[[Path], bytes]


def needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def output_of(*command: str, env: dict[str, str] | None = None) -> bytes:
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, env=env).stdout


def by_gnu_tar(form: str, source: Path) -> bytes:
    return gnu_tar(source, f"--format={form}")


def by_python(form: int, source: Path) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        archive.add(source, ".")
    return stream.getvalue()


def by_bsdtar(form: str, source: Path) -> bytes:
    return output_of(needed("bsdtar"), "--format", form, "-cf", "-", "-C", str(source), ".")


def by_go(form: str, source: Path) -> bytes:
    surroundings = {**os.environ, "GOFLAGS": "-p=1", "GO111MODULE": "off"}
    return output_of(needed("go"), "run", str(GO_PROGRAM), str(source), form, env=surroundings)


WRITERS: dict[str, Writer] = {
    **{f"gnu tar, {form}": partial(by_gnu_tar, form) for form in ("gnu", "oldgnu", "posix", "ustar")},
    "gnu tar, sparse": lambda source: gnu_tar(source, "--format=posix", "--sparse"),
    "python, ustar": partial(by_python, tarfile.USTAR_FORMAT),
    "python, gnu": partial(by_python, tarfile.GNU_FORMAT),
    "python, pax": partial(by_python, tarfile.PAX_FORMAT),
    **{f"bsdtar, {form}": partial(by_bsdtar, form) for form in ("pax", "ustar", "gnutar")},
    **{f"go, {form}": partial(by_go, form) for form in ("pax", "gnu", "ustar", "any")},
}


def model_at(source: Path) -> None:
    """What a model's directory has, and some of what one might have; with names that every format can hold."""
    for name, data in {
        "config.json": b"{}",
        "model-00001-of-00002.safetensors": os.urandom(1 << 20),
        "model-00002-of-00002.safetensors": os.urandom((1 << 20) + 4097),
        "tokenizer/merges.txt": b"a b\n" * 5000,
        "empty": b"",
        "d" * 80 + "/" + "n" * 90: b"a long name",
        "scripts/run.sh": b"#!/bin/sh\n",
    }.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (1_600_000_000, 1_600_000_000))
    (source / "scripts/run.sh").chmod(0o755)
    (source / "nothing").mkdir()
    (source / "link").symlink_to("tokenizer/merges.txt")
    (source / "tokenizer/up").symlink_to("../config.json")
    with open(source / "holes", "wb") as file:
        for position in (0, 1 << 20, 3 << 20):
            file.seek(position)
            file.write(b"data" * 2048)


@pytest.mark.parametrize("writer", WRITERS)
def test_what_a_writer_makes_becomes_the_tree_that_gnu_tar_makes_of_it(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory, writer: str
) -> None:
    source, unpacked = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("unpacked")
    model_at(source)
    archive = WRITERS[writer](source)
    subprocess.run(["tar", "-xf", "-", "-C", unpacked], input=archive, check=True)
    bench.fetch(archive)
    assert listing(bench.content, normalise=False) == listing(unpacked, normalise=True)
    prove_tree(bench.content, bench.into / "skeleton", Digest.of(archive), pace=lambda _: None)
