"""`make churn`: pods of dozens of models come and go; after thousands the driver must be what it was after hundreds.

The environment says how much: CHURN_PUBLISHES (3000) of CHURN_MODELS (36).
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from e2e import sandbox
from tests.fixtures.churn import Node, Tally, churn
from tests.fixtures.registry import EmbeddedRegistry

_MEMORY = 1.15  # times what it was after the first tenth, and a little: the allocator keeps what it once had
_SLACK = 8 << 10  # KiB
_DESCRIPTORS = 16  # connections that are kept alive


def main() -> int:
    """Run this again in a sandbox, whose directory is then the argument. Exit code 0: nothing grew, nothing changed."""
    if len(sys.argv) > 1:
        return run(Path(sys.argv[1]))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    for name in ("CSI_ENDPOINT", "CSI_NODE_ID", "DOCKER_CONFIG"):
        os.environ.pop(name, None)
    return sandbox.run([sys.executable, "-m", "e2e.churn"], "model-csi-churn-")


def run(directory: Path) -> int:
    publishes = int(os.environ.get("CHURN_PUBLISHES") or 3000)
    models = int(os.environ.get("CHURN_MODELS") or 36)
    with EmbeddedRegistry() as registry, Node(directory, registry, models=models) as node:
        tally = churn(node, publishes=publishes)
        log = node.log
    print(*tally.lines(), sep="\n")
    wrong = list(complaints(tally, log))
    print(*(f"FAILED: {complaint}" for complaint in wrong), sep="\n")
    return int(bool(wrong))


def complaints(tally: Tally, log: str) -> Iterator[str]:
    """What is not as it was; that nobody saw a wrong byte was seen to on the way."""
    early, late = tally.samples[0], tally.samples[-1]
    if late.memory > early.memory * _MEMORY + _SLACK:
        yield f"memory grew from {early.memory} to {late.memory} KiB"
    if late.threads > early.threads + 4:
        yield f"threads grew from {early.threads} to {late.threads}"
    if late.descriptors > early.descriptors + _DESCRIPTORS:
        yield f"descriptors grew from {early.descriptors} to {late.descriptors}"
    if late.mounts:
        yield f"{late.mounts} mounts are left"
    if "Traceback" in log:
        yield "the log tells of something unexpected"


if __name__ == "__main__":
    sys.exit(main())
