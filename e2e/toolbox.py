"""Where the other projects' programs come from that the end-to-end tests run against.

Each folder of tools/ is a Go module that does nothing but pin programs, with everything they are built from, by version
and checksum; only where a sidecar's module is not to be had, a short stand-in lies beside the pins. `python -m
e2e.toolbox` builds what is missing into a cache outside the repository, and keeps it there until the pin changes. What
Debian packages (docker-registry, containerd) is looked for on the PATH.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parent / "tools"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "model-csi-e2e"
BINARIES = CACHE / "bin"
KUBERNETES = "k8s.io/kubernetes/cmd/"
NETWORK_PLUGINS = "/usr/lib/cni"
# Debian's packages of programs, where their names are others.
PACKAGES = {
    "bridge": "containernetworking-plugins",
    "busybox": "busybox-static",
    "ctr": "containerd",
    "etcd": "etcd-server",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}


@dataclass(frozen=True, slots=True)
class GoTool:
    """A program that is built from the Go module in `module`."""

    module: Path
    package: str
    version: str

    @classmethod
    def pinned_in(cls, module: Path) -> list["GoTool"]:
        """The tools that go.mod's `tool` lines name, each at the version that one of its `require` lines gives."""
        text = (module / "go.mod").read_text(encoding="utf-8")
        [own] = re.findall(r"^module (\S+)$", text, re.MULTILINE)
        block = re.search(r"^tool (?:\(([^)]*)\)|(\S+)$)", text, re.MULTILINE)
        assert block is not None, f"{module}/go.mod names no tool"
        required = [(own, "stand-in"), *re.findall(r"^(?:require)?\s+(\S+/\S+) (v\S+)", text, re.MULTILINE)]
        return [
            cls(module=module, package=package, version=version)
            for package in (block[1] or block[2]).split()
            for version in [next(version for path, version in required if f"{package}/".startswith(f"{path}/"))]
        ]

    @property
    def name(self) -> str:
        return self.package.rpartition("/")[2]

    @property
    def binary(self) -> Path:
        """Where the build belongs; another pin is another file."""
        sources = [self.module / "go.mod", self.module / "go.sum", *sorted((self.module / self.name).glob("*.go"))]
        pin = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
        return BINARIES / f"{self.name}-{self.version}-{pin[:12]}"

    def build(self) -> None:
        """Build into the cache; `binary` appears whole or not at all. Raises `CalledProcessError`.

        Who wants a program while somebody else builds one waits, rather than compile the same packages beside him.
        """
        BINARIES.mkdir(parents=True, exist_ok=True)
        with (BINARIES / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.binary.exists():
                self._build()

    def _build(self) -> None:
        staged = self.binary.with_name(f"{self.binary.name}.{os.getpid()}")
        command = ["go", "build", "-C", str(self.module), "-trimpath", "-buildvcs=false", "-ldflags", self._ldflags()]
        environment = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}
        try:
            subprocess.run([*command, "-o", staged, self.package], check=True, env={**os.environ, **environment})
            staged.replace(self.binary)
        finally:
            staged.unlink(missing_ok=True)

    def _ldflags(self) -> str:
        """No symbol tables; and Kubernetes' programs only know their version if the linker tells them."""
        if not self.package.startswith(KUBERNETES):
            return "-s -w"
        major, minor, _ = self.version.removeprefix("v").split(".", 2)
        stamps = {"gitVersion": self.version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        return " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{key}={stamps[key]}" for key in stamps)])


def go_tools() -> dict[str, GoTool]:
    """The pinned tools by name; E2E_KUBERNETES=1.33 takes that module's Kubernetes in place of the newest."""
    another = os.environ.get("E2E_KUBERNETES")
    names = sorted(path.parent.name for path in MODULES.glob("*/go.mod"))
    # Kubernetes takes longer than all others, so whoever needs only those waits less when it comes last.
    modules = [name for name in names if not name.startswith("kubernetes")] + ["kubernetes"]
    modules += [f"kubernetes-{another}"] if another else []
    return {tool.name: tool for module in modules for tool in GoTool.pinned_in(MODULES / module)}


def find(name: str) -> Path | None:
    """The program called `name`: the pinned build, or what the PATH has where nothing is pinned."""
    tool = go_tools().get(name)
    if tool is None:
        found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin:{NETWORK_PLUGINS}")
        return Path(found) if found else None
    return tool.binary if tool.binary.exists() else None


def how_to_get(name: str) -> str:
    """What to do about a program that is missing."""
    return "make e2e-tools builds it" if name in go_tools() else f"the Debian package {PACKAGES.get(name, name)} has it"


def main() -> int:
    """Build the pinned tools that are not in the cache yet: those that the arguments name, or all of them."""
    for name, tool in go_tools().items():
        if len(sys.argv) > 1 and tool.module.name not in sys.argv[1:]:
            continue
        started = time.monotonic()
        outcome = "is in the cache"
        if not tool.binary.exists():
            tool.build()
            outcome = f"built in {time.monotonic() - started:.0f} s"
        sys.stdout.write(f"{name} {tool.version}: {outcome}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
