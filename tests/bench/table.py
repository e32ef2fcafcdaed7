"""The results as a table, for a terminal or for docs/performance.md."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.results import Found, Results, Row, Verdict

HEADINGS = ("case", "who", "s", "GB/s", "CPU s/GB", "peak MB", "our time", "our CPU", "goal", "reached")
_BEGIN, _END = "<!-- begin: written by `make bench-docs` -->", "<!-- end -->"


def lines(results: Results) -> Iterator[str]:
    """The table in columns, with what there is to say about it."""
    table = [HEADINGS, *rows(results)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
    for number, row in enumerate(table):
        if number == 1 or (number > 1 and row[0]):
            yield "  ".join("-" * width for width in widths)
        yield "  ".join(
            cell.ljust(width) if column in (0, 1, 8, 9) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
    yield ""
    yield from about(results)


def markdown(results: Results) -> Iterator[str]:
    """The same for a page."""
    yield "| " + " | ".join(HEADINGS) + " |"
    yield "|" + "|".join(" --- " if column in (0, 1, 8, 9) else " ---: " for column in range(len(HEADINGS))) + "|"
    for row in rows(results):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""
    for line in about(results):
        yield f"- {line}"


def rows(results: Results) -> Iterator[Sequence[str]]:
    """One for each contestant of each case; the case is named in its first."""
    for case in results.cases:
        for number, row in enumerate(case.rows):
            verdicts = [verdict for verdict in case.verdicts if verdict.row == row.name]
            yield (_title(case) if number == 0 else "", *_numbers(case, row), *_goals(verdicts))


def about(results: Results) -> Iterator[str]:
    """On what this was measured, and what is to be known about it."""
    yield f"Measured {results.made} in {results.rounds} rounds, data set {results.sizes!r}, on " + ", ".join(
        f"{name} {value}" for name, value in results.machine.items()
    )
    yield "With " + ", ".join(f"{name} {version}" for name, version in results.programs.items())
    loads = [load for case in results.cases for load in case.load]
    yield f"Load average while measuring: {min(loads):.1f} to {max(loads):.1f}"
    if results.absent:
        yield f"Not installed, and left out: {', '.join(results.absent)}"
    for case in results.cases:
        for row in case.rows:
            if row.failure:
                yield f"{case.title}: {row.name} failed: {row.failure}"
    yield from _reasons(results)


def _reasons(results: Results) -> Iterator[str]:
    """Why goals were not reached; what several have in common is said once."""
    missed: dict[str, list[str]] = {}
    for case in results.cases:
        for verdict in case.verdicts:
            if not verdict.reached and verdict.why_not:
                missed.setdefault(verdict.why_not, []).append(f"{case.title} {verdict.text}")
    for why_not, goals in missed.items():
        yield f"Not reached: {'; '.join(goals)}: {why_not}"


def write_page(results: Results, page: Path) -> None:
    """Put the table between the marks of the page; raises `ValueError` for a page without them."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{page} has no place for the table")
    table = "\n".join(markdown(results))
    page.write_text(f"{before}{_BEGIN}\n\n{table}\n\n{_END}{after}", encoding="utf-8")


def _title(case: Found) -> str:
    return f"{case.title}, {case.size / 1e9:.2f} GB" if case.size else case.title


def _numbers(case: Found, row: Row) -> Sequence[str]:
    gigabytes = case.size / 1e9
    wall, cpu, peak = row.median("wall"), row.median("cpu"), row.median("peak")
    return (
        row.name,
        f"{wall:.2f}" if wall else "failed",
        f"{gigabytes / wall:.2f}" if wall and gigabytes else "",
        f"{cpu / gigabytes:.2f}" if cpu and gigabytes else "",
        f"{peak / 1e6:.0f}" if peak else "",
        f"{row.wall_ratio:.2f}x" if row.wall_ratio else "",
        f"{row.cpu_ratio:.2f}x" if row.cpu_ratio else "",
    )


def _goals(verdicts: Sequence[Verdict]) -> Sequence[str]:
    return "; ".join(verdict.text for verdict in verdicts), "; ".join(_reached(verdict) for verdict in verdicts)


def _reached(verdict: Verdict) -> str:
    if verdict.value is None:
        return "not measured"
    value = f"{verdict.value:.0f}" if verdict.value >= 20 else f"{verdict.value:.2f}"
    return f"yes ({value})" if verdict.reached else f"**no** ({value})"
