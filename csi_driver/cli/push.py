"""`model-csi push`: a directory becomes a model in a registry."""

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO

import click

from csi_driver import amounts
from csi_driver.cli.credentials import secret_keys
from csi_driver.cli.options import (
    Invocation,
    docker_config_option,
    hosts_dir_option,
    output_option,
    plain_http_option,
    reference_argument,
    secret_option,
)
from csi_driver.cli.output import count, emit_json
from csi_driver.cli.progress import Meter, meter
from csi_driver.cli.registries import registries
from csi_driver.errors import InvalidRequest
from csi_driver.inflight import Future, spawn
from csi_driver.oci.reference import Reference
from csi_driver.pusher import AUTO, PACKINGS, Pushed, Pusher, Tally
from csi_driver.registry.keychain import Keychain

_LOOK_EVERY = 0.1  # seconds
_PATIENCE = 30.0  # seconds for a registry that does not answer, in which an upload does not start from nothing


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@reference_argument
@click.option("--name", metavar="TEXT", help="Name of the model.  [default: last part of the repository]")
@click.option("--family", metavar="TEXT", help="Family of the model, such as llama.  [default: as config.json says]")
@click.option(
    "--packing",
    type=click.Choice(PACKINGS),
    default=AUTO,
    show_default=True,
    help="How files become layers. raw: each file is a layer. tar, tar+gzip, tar+zstd: each file with weights is an "
    "archive, the others are one archive per role. auto: like raw, but of very many files, the smaller ones are tar.",
)
@secret_option
@plain_http_option
@docker_config_option
@hosts_dir_option
@output_option
@click.pass_obj
def push(
    invocation: Invocation,
    *,
    directory: Path,
    reference: Reference,
    name: str | None,
    family: str | None,
    packing: str,
    secret: IO[bytes] | None,
    plain_http: tuple[str, ...],
    output: str,
) -> None:
    """Pack DIRECTORY as a ModelPack artifact and push it as REFERENCE. Needs no driver.

    A Hugging Face download can be pushed as it is: a directory, a snapshot in its cache, or a whole repository there.
    The kinds of files decide their roles, as with modctl; hidden files, Python bytecode and a Modelfile are left out.
    What the registry has already is not sent again. The model's creation time is that of its newest file, or
    $SOURCE_DATE_EPOCH, so that the same files always give the same digest.

    The JSON has the keys reference, digest, files, layers, size and sent (bytes), skipped (paths left out) and seconds.
    """
    began, tally, keys = time.monotonic(), Tally(), secret_keys(secret)
    keychain = Keychain.from_secrets(keys, reference.host) if keys else None
    created_at = creation_time(os.environ)
    with meter(sys.stderr) as shown, registries(invocation, plain_http, shown, patience=_PATIENCE) as registry:
        work = partial(
            Pusher(registry=registry).push,
            directory,
            reference,
            tally=tally,
            keychain=keychain,
            created_at=created_at,
            name=name,
            family=family,
            packing=packing,
        )
        pushed = _watch(spawn("push", work), tally, shown)
    seconds = round(time.monotonic() - began, 3)
    if output == "json":
        emit_json(_document(pushed) | {"seconds": seconds})
        return
    reused = f" ({amounts.size(pushed.size - pushed.sent)} already there)" if pushed.sent < pushed.size else ""
    left_out = f"; {count(len(pushed.skipped), 'path')} left out" if pushed.skipped else ""
    click.echo(f"pushed {reference}: {count(pushed.files, 'file')}, {amounts.size(pushed.size)}{reused}{left_out}")
    click.echo(f"digest {pushed.digest}")


def creation_time(environ: Mapping[str, str]) -> datetime | None:
    """What SOURCE_DATE_EPOCH says (reproducible-builds.org), where it is set; raises `InvalidRequest`."""
    text = environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidRequest(f"SOURCE_DATE_EPOCH is {text[:40]!r}: it must be a number of seconds") from error


def _watch(work: "Future[Pushed]", tally: Tally, shown: Meter) -> Pushed:
    """The outcome, while a person sees how far it is."""
    while not work.done():
        with suppress(TimeoutError):
            return work.result(timeout=_LOOK_EVERY)
        if tally.total:
            shown.show("reading", tally.hashed, tally.total)
            shown.show("sending", tally.settled, tally.packed)
    return work.result()


def _document(pushed: Pushed) -> dict[str, object]:
    return {
        "reference": str(pushed.reference),
        "digest": str(pushed.digest),
        "files": pushed.files,
        "layers": pushed.layers,
        "size": pushed.size,
        "sent": pushed.sent,
        "skipped": list(pushed.skipped),
    }
