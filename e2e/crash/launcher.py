"""Starts drivers, each a process of its own, without importing the program anew every time.

Run as `python -m e2e.crash.launcher`. It takes one JSON object a line on its standard input, and answers each with one:
`{"config", "log", "note", "directory", "fatal"}` starts `model-csi serve` and is answered with its process id, and
`{"wait": pid}` with the status that it ended with, once it did.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import csi_driver.cli.serve  # noqa: F401  what every driver would otherwise import by itself
from csi_driver.cli import main as model_csi
from e2e.crash.steps import Step, Steps


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        answer = _ended(order["wait"]) if "wait" in order else _start(order)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _start(order: dict[str, Any]) -> int:
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        _redirect(order["log"])
        fatal = order["fatal"] and Step(**order["fatal"])
        Steps(fatal, Path(order["directory"]), Path(order["note"])).install()
        sys.argv = ["model-csi", "serve", "--config", order["config"]]
        model_csi()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def _redirect(log: str) -> None:
    """What the driver says goes to its log, and the orders to the launcher alone."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (descriptor, 1), (descriptor, 2)):
        os.dup2(source, target)


if __name__ == "__main__":
    main()
