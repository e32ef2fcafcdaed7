"""`model-csi inspect`: what a registry holds under a reference, as a pod would see it."""

import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import IO, Any

import click

from csi_driver import amounts
from csi_driver.cli.credentials import secret_keys
from csi_driver.cli.examine import Fetched, Model, OnNode, examine, fetched, on_node
from csi_driver.cli.options import (
    Invocation,
    docker_config_option,
    endpoint_option,
    hosts_dir_option,
    output_option,
    plain_http_option,
    reference_argument,
    secret_option,
    selection_options,
)
from csi_driver.cli.output import count, emit_fields, emit_json, emit_table, printable
from csi_driver.cli.progress import meter
from csi_driver.cli.registries import registries
from csi_driver.oci.layer import Layer
from csi_driver.oci.part import Subtree
from csi_driver.oci.reference import Reference
from csi_driver.oci.selection import Selection
from csi_driver.registry.keychain import Keychain

_PATIENCE = 5.0  # seconds that a person who looks something up is glad to wait for a registry
_SHOWN = ("name", "version", "family", "architecture", "format", "param_size", "precision", "quantization", "licenses",
          "created_at")  # fmt: skip


@click.command()
@reference_argument
@selection_options
@secret_option
@plain_http_option
@docker_config_option
@hosts_dir_option
@endpoint_option
@output_option
@click.pass_obj
def inspect(
    invocation: Invocation,
    *,
    reference: Reference,
    exclude_model_weights: bool,
    excluded: tuple[str, ...],
    included: tuple[str, ...],
    roles: tuple[str, ...],
    secret: IO[bytes] | None,
    plain_http: tuple[str, ...],
    output: str,
) -> None:
    """Show what REFERENCE is at its registry: producer, description, and every layer with its file.

    With options that select files, it shows what a volume would download. If a driver runs on this node, it also shows
    what the node has already; no driver is needed.

    The JSON has the keys reference, digest, producer, artifactType, model (what the model says of itself), parents
    (references), size (bytes), selected (an object with the keys layers and size: what would be fetched), cached (null
    without a driver, else an object with the keys layers, size and volumes), warnings, files (those that are made from
    the configuration, objects with the keys path, role and size) and layers, an array of objects with the keys path
    (null for a layer that unpacks to several files), role, packing, size, digest, mediaType, selected and cached (true
    or false, or null without a driver).
    """
    keys = secret_keys(secret)
    keychain = Keychain.from_secrets(keys, reference.host) if keys else None
    selection = Selection(exclude_model_weights, excluded, included, roles)
    with meter(sys.stderr) as shown, registries(invocation, plain_http, shown, patience=_PATIENCE) as registry:
        model = examine(lambda named: registry.repository(named, keychain), reference)
    view = _View(model, selection, on_node(invocation.endpoint, model, selection))
    if output == "json":
        emit_json(view.document())
    else:
        view.show()


class _View:
    """A model, as seen with a selection from this node."""

    def __init__(self, model: Model, selection: Selection, node: OnNode | None) -> None:
        self._model = model
        self._selection = selection
        self._node = node
        self._fetched = fetched(model, selection)

    def document(self) -> dict[str, object]:
        model = self._model
        said = {each.name: getattr(model.config, each.name) for each in fields(model.config) if each.name != "diff_ids"}
        return {
            "reference": str(model.reference),
            "digest": str(model.digest),
            "producer": model.layout.producer,
            "artifactType": model.manifest.artifact_type,
            "model": {_camel(name): value for name, value in said.items() if value},
            "parents": [str(parent) for parent in model.parents],
            "size": model.size,
            "selected": _amount(self._fetched),
            "cached": self._cached(),
            "warnings": list(model.layout.warnings),
            "files": [
                {"path": file.path, "role": file.role.value, "size": len(file.content)} for file in model.layout.files
            ],
            "layers": [self._layer(layer) for layer in model.layers],
        }

    def show(self) -> None:
        model = self._model
        emit_fields(
            {"Reference": str(model.reference), "Digest": str(model.digest), "Producer": model.layout.producer}
            | {name.replace("_", " ").capitalize(): _said(getattr(model.config, name)) for name in _SHOWN}
            | {"Builds on": ", ".join(map(str, model.parents))}
            | {"Total": f"{count(len(model.layers), 'layer')}, {amounts.size(model.size)}"}
            | {"Selected": self._told(self._fetched) if self._selection != Selection() else ""}
            | {"On this node": self._told_of_node()}
        )
        click.echo()
        emit_table(self._header(), self._rows(), right=(2,))
        for warning in model.layout.warnings:
            click.echo(f"Warning: {printable(warning)}", file=sys.stderr)

    def _layer(self, layer: Layer) -> dict[str, object]:
        return {
            "path": layer.path,
            "role": layer.role.value,
            "packing": layer.packing.value,
            "size": layer.descriptor.size,
            "digest": str(layer.descriptor.digest),
            "mediaType": layer.descriptor.media_type,
            "selected": self._selection.wants_layer(layer),
            "cached": self._node and self._node.holds(layer, self._selection),
        }

    def _held(self) -> Fetched:
        """Those of the selected layers that the node holds."""
        node = self._node
        return Fetched(tuple(each for each in self._fetched.layers if node and node.holds(each, self._selection)))

    def _cached(self) -> dict[str, int] | None:
        if self._node is None:
            return None
        return _amount(self._held()) | {"volumes": sum(each.volumes for each in self._node.models)}

    def _told_of_node(self) -> str:
        if self._node is None:
            return ""
        volumes = sum(each.volumes for each in self._node.models)
        return f"{self._told(self._held())}; {count(volumes, 'volume')} of this model"

    @staticmethod
    def _told(layers: Fetched) -> str:
        return f"{count(len(layers.layers), 'layer')}, {amounts.size(layers.size)}"

    def _header(self) -> tuple[str, ...]:
        extra = ("SELECTED",) * (self._selection != Selection()) + ("ON NODE",) * (self._node is not None)
        return ("ROLE", "PACKING", "SIZE", *extra, "PATH")

    def _rows(self) -> Iterator[tuple[str, ...]]:
        for layer in sorted(self._model.layers, key=lambda layer: layer.path or ""):
            path = layer.path if layer.path is not None else _inside(layer)
            extra = [_yes(self._selection.wants_layer(layer))] if self._selection != Selection() else []
            if self._node is not None:
                extra.append(_yes(self._node.holds(layer, self._selection)))
            yield (layer.role, layer.packing, amounts.size(layer.descriptor.size), *extra, path)


def _inside(layer: Layer) -> str:
    """What stands for the files of an archive, which only it names."""
    return (
        f"(what it has in /{layer.part.directory})"
        if isinstance(layer.part, Subtree)
        else "(files named in the archive)"
    )


def _amount(layers: Fetched) -> dict[str, int]:
    return {"layers": len(layers.layers), "size": layers.size}


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _said(value: Any) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join("URL" if word == "url" else word.capitalize() for word in rest)
