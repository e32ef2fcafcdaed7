"""Where the other projects' programs come from that the end-to-end tests run against.

Each folder of tools/ is a Go module that does nothing but pin one program, with everything it is built from, by version
and checksum. `python -m e2e.toolbox` builds what is missing into a cache outside the repository, and keeps it there
until the pin changes. What Debian packages (docker-registry) is looked for on the PATH.
"""

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
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "model-csi-e2e" / "bin"


@dataclass(frozen=True, slots=True)
class GoTool:
    """A program that is built from the Go module in `module`."""

    module: Path
    package: str
    version: str

    @classmethod
    def pinned_in(cls, module: Path) -> "GoTool":
        """The tool that go.mod's `tool` line names, at the version that one of its `require` lines gives."""
        text = (module / "go.mod").read_text(encoding="utf-8")
        package = re.findall(r"^tool (\S+)$", text, re.MULTILINE)[0]
        required = re.findall(r"^(?:require)?\s+(\S+/\S+) (v\S+)", text, re.MULTILINE)
        version = next(version for path, version in required if f"{package}/".startswith(f"{path}/"))
        return cls(module=module, package=package, version=version)

    @property
    def name(self) -> str:
        return self.module.name

    @property
    def binary(self) -> Path:
        """Where the build belongs; another pin is another file."""
        pin = hashlib.sha256(b"".join((self.module / name).read_bytes() for name in ("go.mod", "go.sum"))).hexdigest()
        return CACHE / f"{self.name}-{self.version}-{pin[:12]}"

    def build(self) -> None:
        """Build into the cache; `binary` appears whole or not at all. Raises `CalledProcessError`."""
        CACHE.mkdir(parents=True, exist_ok=True)
        staged = self.binary.with_name(f"{self.binary.name}.{os.getpid()}")
        command = ["go", "build", "-C", str(self.module), "-trimpath", "-buildvcs=false", "-o", str(staged)]
        environment = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local", "GOWORK": "off"}
        try:
            subprocess.run([*command, self.package], check=True, env={**os.environ, **environment})
            staged.replace(self.binary)
        finally:
            staged.unlink(missing_ok=True)


def go_tools() -> dict[str, GoTool]:
    """The pinned tools by name."""
    return {path.parent.name: GoTool.pinned_in(path.parent) for path in sorted(MODULES.glob("*/go.mod"))}


def find(name: str) -> Path | None:
    """The program called `name`: the pinned build, or what the PATH has where nothing is pinned."""
    tool = go_tools().get(name)
    if tool is None:
        found = shutil.which(name)
        return Path(found) if found else None
    return tool.binary if tool.binary.exists() else None


def how_to_get(name: str) -> str:
    """What to do about a program that is missing."""
    return "make e2e-tools builds it" if name in go_tools() else f"the Debian package of {name} has it"


def main() -> int:
    """Build every pinned tool that is not in the cache yet."""
    for name, tool in go_tools().items():
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
