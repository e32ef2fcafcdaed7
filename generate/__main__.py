"""Writes every generated page and file that is not current; with --check, only names them and fails.

What needs Helm is left out where there is none, unless HELM or the end-to-end tests' cache has it.
"""

import argparse
import sys
from pathlib import Path

from generate import files

ROOT = Path(__file__).parents[1]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is not current")
    check = parser.parse_args(arguments).check
    stale = files.stale(ROOT)
    for path, content in stale.items():
        sys.stdout.write(f"{path.relative_to(ROOT)}: {'is not current; run make docs' if check else 'written'}\n")
        if not check:
            path.write_text(content, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
