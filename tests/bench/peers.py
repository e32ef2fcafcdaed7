"""How others get the same model onto the same disk, verified; each ends with its files synced, as ours are."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from e2e.toolbox import go_tools
from tests.bench.data import Blob
from tests.bench.measure import Failed, Job, Usage, Word, pipe, run, together

_CURL = ("curl", "--silent", "--show-error", "--fail")
_AT_ONCE = 4
"""Layers that the peers without a setting of their own get at once."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program that is installed here, and its version."""

    program: str
    version: str


def find(name: str) -> Peer | None:
    """The program on the PATH, or modctl as the end-to-end tests built it; None if it is not there."""
    if name == "modctl":
        tool = go_tools()[name]
        return Peer(str(tool.binary), tool.version.removeprefix("v")) if tool.binary.exists() else None
    program = shutil.which(name)
    if program is None:
        return None
    option = "version" if name == "openssl" else "--version"
    told = subprocess.run([program, option], capture_output=True, text=True, check=False).stdout
    version = re.search(r"\d+\.\d+(\.\d+)*", told)
    return Peer(program, version[0] if version else "of unknown version")


def curl(url: str, blob: Blob, scratch: Path, *, unpack: str | None = None, ca_file: str = "") -> Usage:
    """`curl | tee >(openssl dgst) | tar -x`, or for a raw layer `curl | tee FILE | openssl dgst`."""
    answer = scratch / f"digest-{blob.sha256[:12]}"
    job = Job()
    with pipe() as (from_curl, out_of_curl), pipe() as (from_tee, out_of_tee), open(answer, "wb") as told:
        digest = ["openssl", "dgst", "-sha256", "-r"]
        trust = ["--cacert", ca_file] if ca_file else []
        job.start(*_CURL, *trust, url, stdout=out_of_curl)
        if unpack is None:
            job.start("tee", scratch / blob.sha256, stdin=from_curl, stdout=out_of_tee)
            job.start(*digest, stdin=from_tee, stdout=told.fileno())
        else:
            with pipe() as (to_openssl, second_out):
                copy = f"/dev/fd/{second_out}"
                job.start("tee", copy, stdin=from_curl, stdout=out_of_tee, inherit=[second_out])
                job.start(*digest, stdin=to_openssl, stdout=told.fileno())
            job.start("tar", *unpack.split(), "-", "-C", scratch, stdin=from_tee)
    transfer = job.join()
    if answer.read_text().split()[0] != blob.sha256:
        raise Failed("openssl found another digest")
    synced = _sync(scratch)
    return Usage(transfer.wall + synced.wall, transfer.cpu + synced.cpu, transfer.peak)


def curl_unverified(url: str, scratch: Path) -> Usage:
    """`curl | tar -x`, of which nobody knows what arrived."""
    job = Job()
    with pipe() as (from_curl, out_of_curl):
        job.start(*_CURL, url, stdout=out_of_curl)
        job.start("tar", "-xf", "-", "-C", scratch, stdin=from_curl)
    transfer, synced = job.join(), _sync(scratch)
    return Usage(transfer.wall + synced.wall, transfer.cpu + synced.cpu, transfer.peak)


def curl_each(urls: Sequence[str], blobs: Sequence[Blob], scratch: Path) -> Usage:
    """The same for several raw layers, four at once."""
    pairs = zip(urls, blobs, strict=True)
    return together(*(partial(curl, url, blob, scratch) for url, blob in pairs), at_once=_AT_ONCE)


def aria2c(urls: Sequence[str], blobs: Sequence[Blob], scratch: Path, *, connections: int = 4) -> Usage:
    """aria2c, which verifies when all has arrived."""
    wishes = scratch / "wishes"
    pairs = zip(urls, blobs, strict=True)
    wishes.write_text("".join(f"{url}\n out={blob.sha256}\n checksum=sha-256={blob.sha256}\n" for url, blob in pairs))
    split = [f"--split={connections}", f"--max-connection-per-server={connections}", "--min-split-size=8M"]
    options = ["--quiet", "--no-conf", "--file-allocation=falloc", *split, f"--max-concurrent-downloads={_AT_ONCE}"]
    return run(["aria2c", *options, f"--dir={scratch}", f"--input-file={wishes}"], ["sync", "-f", scratch])


def skopeo(reference: str, blob: Blob, scratch: Path, *, unpack: str | None = None) -> Usage:
    """`skopeo copy` to a directory, for an archive with tar afterwards."""
    target = scratch / "skopeo"
    everywhere: list[Word] = ["--insecure-policy", "--tmpdir", scratch]
    copy: list[Word] = ["copy", "--quiet", "--src-tls-verify=false", f"docker://{reference}", f"dir:{target}"]
    commands: list[list[Word]] = [["skopeo", *everywhere, *copy]]
    if unpack:
        commands.append(["tar", *unpack.split(), target / blob.sha256, "-C", scratch])
    return run(*commands, ["sync", "-f", scratch])


def modctl(program: str, reference: str, scratch: Path) -> Usage:
    """`modctl pull`, unpacking as it receives."""
    command = [program, "pull", reference, "--plain-http", "--no-progress", "--extract-from-remote"]
    places = [f"--extract-dir={scratch}/model", f"--storage-dir={scratch}/storage", f"--log-dir={scratch}/log"]
    return run([*command, *places], ["sync", "-f", scratch], environment={"HOME": str(scratch)})


def _sync(scratch: Path) -> Usage:
    return run(["sync", "-f", scratch])
