"""The images that the node is given, each as an archive: the driver's from the project's Dockerfile, and small ones."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from e2e import sandbox, toolbox
from e2e.cluster.layers import can_be_overlaid
from e2e.node import succeeded
from e2e.waiting import PATIENCE

PROJECT = Path(__file__).parents[2]
DRIVER = "localhost/model-csi-driver"
TAG = "e2e"
BUSYBOX = f"localhost/busybox:{TAG}"
SIDECARS = ("csi-node-driver-registrar", "livenessprobe")
NEEDED = ("buildah", "debootstrap", "busybox")

_STORE = toolbox.CACHE / "buildah"
_BASE = "localhost/base:bookworm"
_CERTIFICATES = Path("etc", "ssl", "certs", "ca-certificates.crt")
# The first process of a container gets no signal that it does not ask for.
_SLEEP = "trap exit TERM; sleep infinity & wait"
_UNUSED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists", "var/cache/apt")


def driver(archive: Path) -> None:
    """Build the Dockerfile as anybody would, on a base of Debian packages where no other base can be had.

    The layers are kept in the cache outside the repository: what has not changed is not built again.
    """
    if not buildah("images", "--quiet", "--filter", f"reference={_BASE}").strip():
        _make_base()
    arguments = ["--isolation=chroot", "--layers", "--pull-never", f"--build-arg=BASE={_BASE}"]
    buildah("build", *arguments, f"--tag={DRIVER}:{TAG}", str(PROJECT), timeout=900)
    buildah("push", f"{DRIVER}:{TAG}", f"docker-archive:{archive}:{DRIVER}:{TAG}", timeout=300)


def busybox(archive: Path, program: Path) -> None:
    """A system for pods: a shell and what belongs to it; it sleeps until it is told to end, unless told otherwise."""
    names = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
    links = {f"bin/{name}": "busybox" for name in names if name != "busybox"}
    _write(archive, BUSYBOX, {"bin/busybox": program}, links, {"Cmd": ["/bin/sh", "-c", _SLEEP], "Env": ["PATH=/bin"]})


def sidecar(archive: Path, program: Path, name: str) -> None:
    """An image of nothing but one program."""
    _write(archive, f"localhost/{name}:{TAG}", {name: program}, {}, {"Entrypoint": [f"/{name}"]})


def _make_base() -> None:
    """Debian's Python, and the machine's own certificates: what is built here trusts whom the machine trusts."""
    with sandbox.workspace("model-csi-base-") as directory:
        root = directory / "root"
        packages = "--include=python3,python3-venv,ca-certificates"
        bootstrap: list[str | Path] = ["debootstrap", "--variant=minbase", packages, "bookworm", root]
        succeeded(subprocess.run(bootstrap, capture_output=True, text=True, timeout=900, check=False))
        for path in _UNUSED:
            shutil.rmtree(root / path, ignore_errors=True)
        shutil.copyfile("/" / _CERTIFICATES, root / _CERTIFICATES)
        (directory / "Containerfile").write_text("FROM scratch\nCOPY root/ /\n", encoding="utf-8")
        buildah("build", "--isolation=chroot", f"--tag={_BASE}", str(directory), timeout=300)


def buildah(*command: str, timeout: float = PATIENCE) -> str:
    _STORE.mkdir(parents=True, exist_ok=True)
    kind = "overlay" if can_be_overlaid(_STORE) else "vfs"
    store = [f"--root={_STORE}", f"--runroot={_STORE}-run", f"--storage-driver={kind}"]
    return succeeded(
        subprocess.run(["buildah", *store, *command], capture_output=True, text=True, timeout=timeout, check=False)
    )


def _write(
    archive: Path, name: str, files: Mapping[str, Path], links: Mapping[str, str], config: Mapping[str, Any]
) -> None:
    """An image of one layer, as `docker save` writes it."""
    layer = _layer(files, links)
    digest = hashlib.sha256(layer).hexdigest()
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    content = {"config.json": json.dumps(image).encode(), f"{digest}/layer.tar": layer}
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
    content["manifest.json"] = json.dumps(manifest).encode()
    with tarfile.open(archive, "w") as tar:
        for path, data in content.items():
            _add(tar, path, data)


def _layer(files: Mapping[str, Path], links: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("bin", "etc", "tmp"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(directory)
        for path, source in files.items():
            _add(tar, path, source.read_bytes(), mode=0o755)
        for path, target in links.items():
            link = tarfile.TarInfo(path)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, path: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))
