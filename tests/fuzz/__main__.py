"""`make fuzz`: looks for bytes that a target cannot take, guided by what they reach; the corpus keeps what it finds."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
FOUND = Path("build/fuzz")


def main(arguments: Sequence[str]) -> int:
    """Fuzz every target for its share of so many seconds; or, in a process of its own, the one that is named."""
    if len(arguments) == 2:
        fuzz(arguments[0], int(arguments[1]))
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415  only now, as what is imported before is not instrumented

    seconds = int(arguments[0]) if arguments else 120
    failed = [target for target in TARGETS if not _run(target, max(1, seconds // len(TARGETS)))]
    print(f"fuzz: {len(TARGETS) - len(failed)} passed, {len(failed)} failed {' '.join(failed)}".rstrip())
    return 1 if failed else 0


def _run(target: str, seconds: int) -> bool:
    print(f"== {target}, {seconds} s", flush=True)
    return subprocess.run([sys.executable, "-m", "tests.fuzz", target, str(seconds)], check=False).returncode == 0


def fuzz(target: str, seconds: int) -> None:
    """Does not return: atheris ends the process, with 0 if nothing was found."""
    import atheris  # noqa: PLC0415  `make fuzz` alone installs it

    with atheris.instrument_imports(include=["csi_driver"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415

    found = FOUND / target
    found.mkdir(parents=True, exist_ok=True)
    corpus = CORPUS / target
    corpus.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-artifact_prefix={found}/",
        "-timeout=20",
        "-verbosity=0",
        "-print_final_stats=1",
    ]
    # What is new goes to the first directory, what there is already is read from both.
    atheris.Setup([sys.argv[0], *options, os.fspath(found), os.fspath(corpus)], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
