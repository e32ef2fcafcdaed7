"""`model-csi serve`: the driver itself."""

from pathlib import Path

import click

from csi_driver import app, config


@click.command()
@click.option(
    "--config",
    "path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Settings in YAML; without it every setting has its default.",
)
def serve(path: Path | None) -> None:
    """Run the driver on this node until SIGTERM.

    It serves the CSI services that kubelet calls, and the commands pull, list, verify, gc, mount and umount, on one
    unix socket.
    """
    app.run(config.load(path), path)
