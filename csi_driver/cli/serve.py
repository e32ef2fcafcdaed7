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
    help="Settings in YAML.  [default: every setting has its default]",
)
def serve(path: Path | None) -> None:
    """Run the driver on this node until SIGTERM.

    On one unix socket it serves kubelet, and the commands pull, unpin, list, verify, gc, mount and umount.
    """
    app.run(config.load(path), path)
