"""`python -m tests.bench [--quick] [--rounds N] [CASE ...]`: the benchmark of `make bench`.

`--write-docs` puts the table of the last run into docs/performance.md instead, `--clean` removes all that was made.
"""

import argparse
import os
import platform
import ssl
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from csi_driver.host.files import remove_tree, usage
from tests.bench import engine, peers, table
from tests.bench.cases import Case, Cases
from tests.bench.data import FULL, QUICK, Sizes, cache_directory, prepare
from tests.bench.models import content
from tests.bench.results import Results
from tests.bench.rounds import Rounds, spread
from tests.bench.servers import serving

PROJECT = Path(__file__).resolve().parent.parent.parent
JSON = PROJECT / "build" / "bench.json"
PAGE = PROJECT / "docs" / "performance.md"
_PROGRAMS = ("curl", "openssl", "tar", "igzip", "zstd", "aria2c", "skopeo", "modctl")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    arguments = _arguments()
    if arguments.clean:
        if cache_directory().exists():
            remove_tree(cache_directory())
        return
    if arguments.write_docs:
        table.write_page(Results.read(arguments.json), PAGE)
        return
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
    results = _measure(QUICK if arguments.quick else FULL, arguments.rounds, set(arguments.cases))
    results.write(arguments.json)
    print("\n".join(table.lines(results)))
    say(f"written to {arguments.json}")


def _measure(sizes: Sizes, rounds: int, wanted: set[str]) -> Results:
    cache_directory().mkdir(parents=True, exist_ok=True)
    free = usage(cache_directory()).available
    if free < sizes.on_disk:
        raise SystemExit(f"{cache_directory()} has {free >> 30} GiB free, and {sizes.on_disk >> 30} are needed")
    data = prepare(sizes, say)
    scratch = cache_directory() / f"work-{os.getpid()}"
    scratch.mkdir()
    spread(scratch)
    (scratch / "first").mkdir()
    programs = {name: found for name in _PROGRAMS if (found := peers.find(name))}
    modctl = programs["modctl"].program if "modctl" in programs else ""
    try:
        engine.start(scratch / "first")  # compiles what the next starts find compiled
        with serving(content(data, scratch), scratch) as addresses:
            cases = [
                _possible(case, set(programs), quick=sizes is QUICK)
                for case in Cases(data, addresses, modctl).all()
                if not wanted or case.name in wanted
            ]
            measured = Rounds(cases, scratch, say).run(rounds)
    finally:
        remove_tree(scratch)
    return Results(
        made=datetime.now(UTC).strftime("%Y-%m-%d"),
        sizes=sizes.name,
        rounds=rounds,
        machine=_machine(),
        programs={name: program.version for name, program in programs.items()},
        cases=measured,
        absent=[name for name in _PROGRAMS if name not in programs],
    )


def _possible(case: Case, programs: set[str], *, quick: bool) -> Case:
    """The case without those whose program is not installed, and in a quick run without those who only take long."""
    kept = [
        one for one in case.contestants if (not one.needs or one.needs in programs) and not (quick and one.only_in_full)
    ]
    return replace(case, contestants=tuple(kept))


def _machine() -> dict[str, str]:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "CPU": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / 2**30:.0f} GiB",
        "kernel": platform.release().partition("-")[0],
        "filesystem": _filesystem(cache_directory()),
        "Python": platform.python_version(),
        "OpenSSL": ssl.OPENSSL_VERSION.split()[1],
    }


def _filesystem(path: Path) -> str:
    from csi_driver.host.mounts import Mounts  # noqa: PLC0415

    holding = [mount for mount in Mounts().table() if path.is_relative_to(mount.point)]
    return max(holding, key=lambda mount: len(mount.point)).fs_type


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("cases", nargs="*", metavar="CASE", help="names of cases, such as raw or zstd; else all")
    parser.add_argument("--quick", action="store_true", help="smaller data, and only the peers that goals speak of")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=JSON, help="where the results are kept")
    parser.add_argument("--write-docs", action="store_true", help="put the table of these results into the page")
    parser.add_argument("--clean", action="store_true", help="remove the data")
    return parser.parse_args()


if __name__ == "__main__":
    main()
