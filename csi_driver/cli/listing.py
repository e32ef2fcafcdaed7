"""`model-csi list`: what this node holds."""

import time
from datetime import UTC, datetime

import click

from csi_driver import amounts
from csi_driver.cli.driver import driver
from csi_driver.cli.options import Invocation, endpoint_option, output_option
from csi_driver.cli.output import emit_json, emit_table
from csi_driver.oci.selection import Selection
from csi_driver.volumes.inventory import CachedModel

_SPANS = ((86400, "day"), (3600, "hour"), (60, "minute"))


@click.command("list")
@endpoint_option
@output_option
@click.pass_obj
def list_models(invocation: Invocation, output: str) -> None:
    """List the models in this node's cache.

    The JSON is an array of objects with the keys reference, digest, excluded (an object with the keys weights, true or
    false, and patterns), included (an object with the keys patterns and roles, each empty for all), size (bytes),
    files, volumes (how many show the model now), pinned (true or false) and lastUsed (RFC 3339).
    """
    with driver(invocation.endpoint) as client:
        models = client.list_models()
    if output == "json":
        emit_json([_document(model) for model in models])
        return
    header = ("REFERENCE", "DIGEST", "SIZE", "FILES", "VOLUMES", "PINNED", "LAST USED", "EXCLUDED")
    emit_table(header, (_row(model) for model in models), right=(2, 3, 4))


def _document(model: CachedModel) -> dict[str, object]:
    selection = Selection.of_key(model.selection)
    return {
        "reference": model.reference,
        "digest": model.manifest_digest,
        "excluded": {"weights": selection.exclude_weights, "patterns": list(selection.exclude_patterns)},
        "included": {"patterns": list(selection.include_patterns), "roles": list(selection.roles)},
        "size": model.size,
        "files": model.files,
        "volumes": model.volumes,
        "pinned": model.pinned,
        "lastUsed": datetime.fromtimestamp(model.last_used, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


def _row(model: CachedModel) -> tuple[str, ...]:
    return (
        model.reference,
        model.manifest_digest[:19],  # "sha256:" and twelve digits
        amounts.size(model.size),
        str(model.files),
        str(model.volumes),
        "yes" if model.pinned else "",
        _ago(time.time() - model.last_used),
        _described(Selection.of_key(model.selection)),
    )


def _described(selection: Selection) -> str:
    """What is left out, in few words."""
    left_out = ", ".join(["weights"] * selection.exclude_weights + list(selection.exclude_patterns))
    taken = ", ".join((*selection.roles, *selection.include_patterns))
    return "; ".join(part for part in (left_out, f"all but {taken}" if taken else "") if part)


def _ago(seconds: float) -> str:
    for span, name in _SPANS:
        if seconds >= span:
            number = int(seconds // span)
            return f"{number} {name}{'' if number == 1 else 's'} ago"
    return "just now"
