"""`model-csi gc`: room in this node's cache, by giving up what nobody needs."""

import click

from csi_driver import amounts
from csi_driver.cli.driver import driver
from csi_driver.cli.options import Invocation, endpoint_option, output_option, size_option
from csi_driver.cli.output import emit_json, emit_table
from csi_driver.errors import InvalidRequest
from csi_driver.volumes.collector import Collected, Item

_ALL = -1


@click.command()
@size_option("--free", "Free at least this many bytes, such as 500GB, if possible.")
@click.option("--all", "everything", is_flag=True, help="Remove everything that need not stay.")
@click.option("--dry-run", is_flag=True, help="Only show what would go, and why the rest stays.")
@endpoint_option
@output_option
@click.pass_obj
def gc(invocation: Invocation, *, free: int | None, everything: bool, dry_run: bool, output: str) -> None:
    """Remove models that nobody needs from this node's cache, the least recently used first.

    Without --free or --all, it removes what exceeds the configured limits, as the driver also does by itself once a
    minute. Models that are mounted, pinned or being pulled stay. The JSON has the keys dryRun, freed (bytes),
    givenUp and kept, arrays of objects with the keys name, reason and size (bytes).
    """
    if everything and free is not None:
        raise InvalidRequest("--free and --all exclude each other: give one of them")
    with driver(invocation.endpoint) as client:
        collected = client.collect(_ALL if everything else free or 0, dry_run=dry_run)
    if output == "json":
        emit_json(_document(collected, dry_run=dry_run))
        return
    verdicts = (("would go" if dry_run else "gone", collected.given_up), ("stays", collected.kept))
    shown = verdicts if dry_run else verdicts[:1]
    rows = [(verdict, amounts.size(item.bytes), item.name, item.reason) for verdict, items in shown for item in items]
    if rows:
        emit_table(("", "SIZE", "WHAT", "WHY"), rows, right=(1,))
    click.echo(f"{'would free' if dry_run else 'freed'} {amounts.size(collected.freed)}")


def _document(collected: Collected, *, dry_run: bool) -> dict[str, object]:
    return {
        "dryRun": dry_run,
        "freed": collected.freed,
        "givenUp": list(map(_described, collected.given_up)),
        "kept": list(map(_described, collected.kept)),
    }


def _described(item: Item) -> dict[str, object]:
    return {"name": item.name, "reason": item.reason, "size": item.bytes}
