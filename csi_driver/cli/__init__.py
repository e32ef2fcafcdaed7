"""The command line `model-csi`: its commands, and how each of them may end."""

import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper

import click

from csi_driver import __version__
from csi_driver.cli.exits import ExitCode, code_of, table
from csi_driver.cli.lazy import LazyGroup, Place
from csi_driver.cli.options import Invocation, docker_config_option, endpoint_option, hosts_dir_option
from csi_driver.cli.output import printable
from csi_driver.errors import DriverError

_COMMANDS = {
    "serve": Place("csi_driver.cli.serve", "serve", "Run the driver on this node."),
    "push": Place("csi_driver.cli.push", "push", "Pack a directory as a model and push it to a registry."),
    "inspect": Place("csi_driver.cli.inspect", "inspect", "Show what a registry holds under a reference."),
    "pull": Place("csi_driver.cli.pull", "pull", "Pull a model into this node's cache."),
    "unpin": Place("csi_driver.cli.unpin", "unpin", "Remove a pin, so that the model may go."),
    "list": Place("csi_driver.cli.listing", "list_models", "List the models in this node's cache."),
    "verify": Place("csi_driver.cli.verify", "verify", "Check this node's cache against its digests."),
    "gc": Place("csi_driver.cli.gc", "gc", "Remove models that nobody needs from this node's cache."),
    "mount": Place("csi_driver.cli.mount", "mount", "Mount a model at a directory of this node."),
    "umount": Place("csi_driver.cli.mount", "umount", "Unmount a model that `mount` has mounted."),
}
_ENDINGS = f"""\
Exit codes:
{table()}

pull, unpin, list, verify, gc, mount and umount need the driver on this node;
push and inspect talk to the registry, and inspect also to the driver, if one
runs."""


@click.group(cls=LazyGroup, places=_COMMANDS, epilog=_ENDINGS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="model-csi %(version)s")
@endpoint_option
@docker_config_option
@hosts_dir_option
@click.pass_context
def command_line(ctx: click.Context) -> None:
    """Mount AI models from an OCI registry, read-only and verified."""
    ctx.ensure_object(Invocation)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code. Errors are one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name in another encoding must not end a command
    try:
        code = command_line.main(args=list(arguments), prog_name="model-csi", standalone_mode=False)
        sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return _reader_has_gone()
    except (click.ClickException, DriverError, OSError) as error:
        message, failure = _explain(error)
        click.echo(f"Error: {printable(' '.join(message.split()))}", err=True)
        return failure
    return code if isinstance(code, int) else ExitCode.OK


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))


def _explain(error: click.ClickException | DriverError | OSError) -> tuple[str, ExitCode]:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{error.format_message().rstrip('.')}. Try '{error.ctx.command_path} --help'.", ExitCode.INVALID
    if isinstance(error, click.ClickException):
        return error.format_message(), ExitCode.INVALID
    if isinstance(error, DriverError):
        return str(error), code_of(error)
    name = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    return f"{name}{error.strerror or error}", ExitCode.UNEXPECTED


def _reader_has_gone() -> int:
    """`model-csi list | head`: nobody is left to be told anything, not even by the flush at the interpreter's end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.UNEXPECTED
