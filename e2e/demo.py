"""`make demo`: shows the story in a sandbox, and leaves nothing of it behind."""

import importlib
import os
import signal
import sys
import time
from pathlib import Path

from e2e import sandbox


def main() -> int:
    """Run this again in a sandbox, whose directory is then the argument. Exit code 0: all was as it should be."""
    if len(sys.argv) > 1:
        return tell(Path(sys.argv[1]))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    for name in ("CSI_ENDPOINT", "CSI_NODE_ID", "DOCKER_CONFIG", "SOURCE_DATE_EPOCH"):
        os.environ.pop(name, None)
    print("Model CSI driver: a model from a registry into pods, read-only and verified.", flush=True)
    began = time.monotonic()
    try:
        code = sandbox.run([sys.executable, "-m", "e2e.demo"], "model-csi-demo-")
    except OSError as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    if code == 0:
        print(f"\nAll shown in {time.monotonic() - began:.1f} s; no process, mount or file of it is left.")
    return code


def tell(directory: Path) -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # while modules are imported, there is nothing to clean up here
    code: int = importlib.import_module("e2e.story").main(directory)
    return code


if __name__ == "__main__":
    sys.exit(main())
