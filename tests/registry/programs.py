"""Programs that tests write, as an operator would install them."""

import json
import sys
from pathlib import Path
from typing import Any


def program(path: Path, text: str) -> Path:
    """An executable in Python; `calls()` of its directory tells how often it ran and what it was given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = path.parent / f"{path.name}.calls"
    head = (
        f"#!{sys.executable} -I\n"
        "import json, os, sys\n"
        "given = sys.stdin.read()\n"
        f"with open({str(journal)!r}, 'a') as journal:\n"
        "    journal.write(json.dumps({'given': given, 'args': sys.argv[1:], 'env': dict(os.environ)}) + '\\n')\n"
    )
    path.write_text(head + text)
    path.chmod(0o755)
    return path


def calls(path: Path) -> list[dict[str, Any]]:
    """What the program was given, run by run."""
    journal = path.parent / f"{path.name}.calls"
    return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
