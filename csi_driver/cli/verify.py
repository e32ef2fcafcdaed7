"""`model-csi verify`: whether the models on this node are still what their digests say."""

import sys
from collections.abc import Iterator

import click

from csi_driver import amounts
from csi_driver.cli.driver import driver
from csi_driver.cli.options import Invocation, endpoint_option, output_option, size_option
from csi_driver.cli.output import count, emit_json, printable
from csi_driver.cli.progress import Meter, meter
from csi_driver.csi.client import VerifyStep
from csi_driver.errors import ContentMismatch, Unavailable
from csi_driver.oci.reference import Reference
from csi_driver.verifier.report import Finding, Report

_NO_LIMIT = -1


@click.command()
@click.argument("references", metavar="[REFERENCE]...", type=Reference.parse, nargs=-1)
@size_option(
    "--max-rate",
    "Most bytes a second to read, such as 500MB; 0 is no limit.  [default: the driver's setting "
    "verification.max_bytes_per_second]",
)
@endpoint_option
@output_option
@click.pass_obj
def verify(invocation: Invocation, *, references: tuple[Reference, ...], max_rate: int | None, output: str) -> None:
    """Check the models of these references, or all in this node's cache, against their digests.

    Pods go on meanwhile. Damaged content is removed, so that the next pod gets a new copy; pods that have it mounted
    keep it, are named here, and should be deleted. Exits with code 7 if anything was damaged. Interrupting the command
    stops the check. The JSON has the keys layers, snapshots and read (bytes), and damages, an array of objects with the
    keys what, reason, models and volumes.
    """
    rate = 0 if max_rate is None else max_rate or _NO_LIMIT
    with driver(invocation.endpoint) as client, meter(sys.stderr) as shown:
        report = _follow(client.verify([str(each) for each in references], max_bytes_per_second=rate), shown)
    if output == "json":
        emit_json(_document(report))
    else:
        for finding in report.findings:
            _show(finding)
        looked = f"{count(report.layers, 'layer')} and {count(report.snapshots, 'snapshot')}"
        click.echo(f"verified {looked}, {amounts.size(report.read)}: {len(report.findings) or 'nothing'} damaged")
    if report.findings:
        raise ContentMismatch(
            f"{count(len(report.findings), 'part')} of the cache had been damaged and {_were(report)} given up"
        )


def _follow(steps: Iterator[VerifyStep | Report], shown: Meter) -> Report:
    for step in steps:
        if isinstance(step, Report):
            return step
        shown.show("verifying", step.read, step.total)
        if step.findings:
            shown.note(f"damaged: {step.findings[-1].what}: {step.findings[-1].reason}")
    raise Unavailable("the driver ended the verification without a word; it may be restarting")


def _show(finding: Finding) -> None:
    click.echo(printable(f"damaged: {finding.what}: {finding.reason}"))
    for kind, names in (("model", finding.models), ("volume", finding.volumes)):
        for name in names:
            click.echo(printable(f"  {kind} {name}"))


def _document(report: Report) -> dict[str, object]:
    damages = [
        {"what": each.what, "reason": each.reason, "models": list(each.models), "volumes": list(each.volumes)}
        for each in report.findings
    ]
    return {"layers": report.layers, "snapshots": report.snapshots, "read": report.read, "damages": damages}


def _were(report: Report) -> str:
    return "was" if len(report.findings) == 1 else "were"
