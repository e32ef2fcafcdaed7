"""Writes every generated file that is not current. What Helm makes of the chart is left out where Helm is missing."""

import sys
from pathlib import Path

from docs.generate import files
from e2e import toolbox

ROOT = Path(__file__).parents[2]


def main() -> int:
    write(files.stale(ROOT))  # first, for the chart is rendered with its schema
    helm = toolbox.find("helm")
    if helm is None:
        sys.stdout.write(f"what helm makes of the chart is left as it is: {toolbox.how_to_get('helm')}\n")
    else:
        write(files.stale_of_helm(helm, ROOT))
    return 0


def write(stale: dict[Path, str]) -> None:
    for path, content in stale.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(content, encoding="utf-8")
        sys.stdout.write(f"written: {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    sys.exit(main())
