"""`model-csi mount` and `umount`: what kubelet does for a pod, by hand."""

import hashlib
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import click

from csi_driver.cli.credentials import secret_keys
from csi_driver.cli.driver import amounts, driver, patiently
from csi_driver.cli.options import (
    Invocation,
    attributes,
    endpoint_option,
    output_option,
    reference_argument,
    secret_option,
    timeout_option,
)
from csi_driver.cli.output import emit_json, printable
from csi_driver.cli.progress import meter
from csi_driver.csi.attributes import MODEL_REF
from csi_driver.csi.client import Client
from csi_driver.errors import InvalidRequest, StillPulling
from csi_driver.inflight import Deadline
from csi_driver.oci.reference import Reference

_REPORT_EVERY = 5.0  # seconds; the driver answers just before, with how far the pull is
_SHORTEST_CALL = 1.0
_LONGEST_CALL = 120.0  # seconds; kubelet's own deadline


def absolute(path: str) -> Path:
    """A path of this node as kubelet would name it; links in it are not followed, as the path may be one to come."""
    return Path(os.path.abspath(path))


volume_id_option = click.option(
    "--volume-id", metavar="ID", help="Id of the volume.  [default: derived from the absolute path of TARGET]"
)


@click.command()
@reference_argument
@click.argument("target", type=absolute)
@click.option(
    "--attribute",
    "pairs",
    metavar="KEY=VALUE",
    multiple=True,
    help="Volume attribute, as in a pod's csi.volumeAttributes; may be repeated.",
)
@secret_option
@volume_id_option
@timeout_option
@endpoint_option
@output_option
@click.pass_obj
def mount(
    invocation: Invocation,
    *,
    reference: Reference,
    target: Path,
    pairs: tuple[str, ...],
    secret: IO[bytes] | None,
    volume_id: str | None,
    timeout: float | None,
    output: str,
) -> None:
    """Mount the model REFERENCE read-only at TARGET, a directory that is created.

    The driver on this node mounts it, so it must see the same TARGET as this command. The JSON has the keys reference,
    target, volumeId and seconds.
    """
    given, began = attributes(pairs), time.monotonic()
    if MODEL_REF in given:
        raise InvalidRequest(f"attribute {MODEL_REF} is what REFERENCE says: leave it out")
    volume_id = volume_id or derived_id(target)
    secrets = secret_keys(secret)
    with driver(invocation.endpoint) as client, meter(sys.stderr) as shown:
        target.parent.mkdir(parents=True, exist_ok=True)  # as kubelet does; TARGET itself is the driver's business
        patience = Deadline.after(timeout or float("inf"))
        publish = _Publish(
            client,
            volume_id=volume_id,
            target=target,
            given={MODEL_REF: str(reference), **given},
            secrets=secrets,
            patience=patience,
        )
        patiently(publish, shown, patience)
    seconds = round(time.monotonic() - began, 3)
    if output == "json":
        emit_json({"reference": str(reference), "target": str(target), "volumeId": volume_id, "seconds": seconds})
    else:
        click.echo(f"mounted {reference} at {printable(str(target))}")


@click.command()
@click.argument("target", type=absolute)
@volume_id_option
@timeout_option
@endpoint_option
@output_option
@click.pass_obj
def umount(invocation: Invocation, target: Path, volume_id: str | None, timeout: float | None, output: str) -> None:
    """Unmount the model at TARGET, and remove the directory.

    It is no error if nothing is mounted there. The JSON has the keys target and volumeId.
    """
    volume_id = volume_id or derived_id(target)
    with driver(invocation.endpoint) as client, meter(sys.stderr) as shown:
        patiently(lambda: client.unpublish(volume_id, target), shown, Deadline.after(timeout or float("inf")))
    if output == "json":
        emit_json({"target": str(target), "volumeId": volume_id})
    else:
        click.echo(f"unmounted {printable(str(target))}")


def derived_id(target: Path) -> str:
    """The volume id of a target for which none was given, so that `umount` finds what `mount` mounted."""
    return f"cli-{hashlib.sha256(os.fsencode(target)).hexdigest()}"


class _Publish:
    """One volume, asked for again and again: often while the driver tells of progress, else less and less."""

    def __init__(
        self,
        client: Client,
        *,
        volume_id: str,
        target: Path,
        given: Mapping[str, str],
        secrets: Mapping[str, str],
        patience: Deadline,
    ) -> None:
        self._client = client
        self._volume_id = volume_id
        self._target = target
        self._given = given
        self._secrets = secrets
        self._patience = patience
        self._seconds = _REPORT_EVERY

    def __call__(self) -> None:
        timeout = max(_SHORTEST_CALL, min(self._seconds, self._patience.remaining()))
        try:
            self._client.publish(self._volume_id, self._target, self._given, secrets=self._secrets, timeout=timeout)
        except StillPulling as error:
            self._seconds = _REPORT_EVERY if amounts(str(error)) else min(2 * self._seconds, _LONGEST_CALL)
            raise
