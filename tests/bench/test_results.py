"""What the benchmark makes of its samples."""

from pathlib import Path

import pytest

from tests.bench import goals, table
from tests.bench.goals import OURS
from tests.bench.measure import Failed, Usage, run
from tests.bench.results import Found, Results, Row, Verdict


def usages(*walls: float | None) -> list[Usage | None]:
    return [None if wall is None else Usage(wall, wall / 2, 100_000_000) for wall in walls]


def test_a_ratio_is_the_median_of_the_ratios_within_the_rounds() -> None:
    samples = {OURS: usages(1.0, 9.0, 2.0), "limit": usages(1.0, 3.0, 1.0)}
    assert goals.paired(samples, ["limit"], lambda usage: usage.wall) == 2.0


def test_of_several_limits_the_slowest_counts_in_each_round() -> None:
    samples = {OURS: usages(4.0), "disk": usages(1.0), "network": usages(2.0)}
    goal = goals.within(1.35, "disk", "network")
    assert goal.value(samples) == 2.0
    assert not goal.reached(2.0)


def test_a_round_in_which_someone_failed_is_not_compared() -> None:
    samples = {OURS: usages(1.0, None, 3.0), "peer": usages(None, 2.0, 6.0)}
    assert goals.faster(1.5, "peer").value(samples) == 2.0


def test_a_goal_without_anything_to_compare_has_no_value() -> None:
    assert goals.faster(1.5, "peer").value({OURS: usages(1.0)}) is None
    assert goals.memory(60).value({OURS: usages(None)}) is None


def results() -> Results:
    row = Row(OURS, "ours", tuple(usages(1.0, None)))
    verdict = Verdict(OURS, "≤ 128 MB", 200.0, False, "it keeps too much")
    case = Found("raw", "one raw layer", 10**9, (row,), (verdict,), (0.5, 1.5))
    return Results("2026-01-01", "quick", 2, {"cores": "2"}, {"curl": "8"}, (case,), ["skopeo"])


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    results().write(tmp_path / "deep" / "results.json")
    assert Results.read(tmp_path / "deep" / "results.json") == results()


def test_the_page_gets_the_table_and_keeps_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin: written by `make bench-docs` -->\nold\n<!-- end -->\nafter\n")
    table.write_page(results(), page)
    once = page.read_text()
    table.write_page(results(), page)
    assert page.read_text() == once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "| one raw layer, 1.00 GB | model-csi | 1.00 | 1.00 | 0.50 | 100 |" in once
    assert "**no** (200)" in once
    assert "it keeps too much" in once
    assert "old" not in once


def test_a_program_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(Failed, match="sh ended with 3: no luck"):
        run(["sh", "-c", "echo no luck >&2; exit 3"])


def test_what_programs_take_is_added_up() -> None:
    usage = run(["sh", "-c", "exit 0"], ["sh", "-c", "exit 0"])
    assert usage.wall > 0
    assert usage.cpu >= 0
