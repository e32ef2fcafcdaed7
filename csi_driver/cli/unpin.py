"""`model-csi unpin`: what was kept for later may go again."""

import click

from csi_driver.cache.pins import Pin
from csi_driver.cli.driver import driver
from csi_driver.cli.options import Invocation, endpoint_option, output_option
from csi_driver.cli.output import emit_json


@click.command()
@click.argument("name", metavar="MODEL", type=lambda text: Pin.parse(text).name)
@endpoint_option
@output_option
@click.pass_obj
def unpin(invocation: Invocation, name: str, output: str) -> None:
    """Remove the pin that `pull --pin` has put on MODEL, a reference or manifest digest.

    The model may then be removed when room is needed. It is no error if it was not pinned, but it is one if the
    driver's configuration pins it. The JSON has the keys name and pins
    (how many there were: one for each selection).
    """
    with driver(invocation.endpoint) as client:
        pins = client.unpin(name)
    if output == "json":
        emit_json({"name": name, "pins": pins})
    else:
        click.echo(f"unpinned {name}" if pins else f"{name} was not pinned")
