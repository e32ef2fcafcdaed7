"""`model-csi pull`: a model comes to this node before its pods do."""

import sys
import time
from collections.abc import Iterator
from typing import IO

import click

from csi_driver import amounts
from csi_driver.cli.credentials import secret_keys
from csi_driver.cli.driver import driver, patiently
from csi_driver.cli.options import (
    Invocation,
    endpoint_option,
    output_option,
    reference_argument,
    secret_option,
    selection_options,
    timeout_option,
)
from csi_driver.cli.output import count, emit_json
from csi_driver.cli.progress import Meter, meter
from csi_driver.csi.client import PulledModel, PullStep
from csi_driver.errors import StillPulling, Unavailable
from csi_driver.inflight import Deadline
from csi_driver.oci.policy import PullPolicy
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import Selection


@click.command()
@reference_argument
@secret_option
@selection_options
@click.option(
    "--pull-policy", type=click.Choice([policy.value for policy in PullPolicy]), help="As for images in a pod."
)
@click.option("--pin", is_flag=True, help="Never remove the model to make room, until `unpin`.")
@timeout_option
@endpoint_option
@output_option
@click.pass_obj
def pull(
    invocation: Invocation,
    *,
    reference: Reference,
    secret: IO[bytes] | None,
    exclude_model_weights: bool,
    excluded: tuple[str, ...],
    included: tuple[str, ...],
    roles: tuple[str, ...],
    pull_policy: str | None,
    pin: bool,
    timeout: float | None,
    output: str,
) -> None:
    """Pull the model REFERENCE into this node's cache, so that pods need not wait for it.

    Pulls that pods wait for go first. Interrupting the command does not stop the pull. The JSON has the keys reference,
    digest, size (bytes), files and seconds.
    """
    selection = Selection(exclude_model_weights, excluded, included, roles)
    began, patience, secrets = time.monotonic(), Deadline.after(timeout or float("inf")), secret_keys(secret)
    with driver(invocation.endpoint) as client, meter(sys.stderr) as shown:

        def attempt() -> PulledModel:
            steps = client.pull(
                str(reference),
                selection=selection,
                pull_policy=pull_policy or "",
                secrets=secrets,
                pin=pin,
            )
            return _follow(steps, shown, patience)

        model = patiently(attempt, shown, patience)
    if output == "json":
        seconds = round(time.monotonic() - began, 3)
        emit_json(
            {"reference": model.reference, "digest": model.manifest_digest, "size": model.size, "files": model.files}
            | {"seconds": seconds}
        )
    else:
        click.echo(f"pulled {model.reference}: {count(model.files, 'file')}, {amounts.size(model.size)}")
        click.echo(f"digest {model.manifest_digest}")


def _follow(steps: Iterator[PullStep | PulledModel], shown: Meter, patience: Deadline) -> PulledModel:
    """The model at the end of the steps; raises `StillPulling` when there is no more patience."""
    for step in steps:
        if isinstance(step, PulledModel):
            return step
        shown.show("pulling", step.fetched, step.total)
        if not patience.remaining():
            raise StillPulling(step.message, fetched=step.fetched, total=step.total, rate=step.rate)
    raise Unavailable("the driver ended the pull without a word; it may be restarting")
