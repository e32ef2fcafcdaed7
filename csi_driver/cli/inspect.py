"""`model-csi inspect`: what a registry holds under a reference, as a pod would see it."""

import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass, fields
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
from csi_driver.cli.output import count, emit_fields, emit_json, emit_table, printable
from csi_driver.cli.progress import meter
from csi_driver.cli.registries import registries
from csi_driver.oci.config_blob import MAX_CONFIG_BYTES, ModelConfig
from csi_driver.oci.descriptor import Descriptor, Platform
from csi_driver.oci.digest import Digest
from csi_driver.oci.layer import Layer, Layout
from csi_driver.oci.manifest import Manifest
from csi_driver.oci.media import is_model_type
from csi_driver.oci.reference import Reference
from csi_driver.puller.artifact import configuration, lay_out
from csi_driver.puller.resolver import find
from csi_driver.registry.client import Repository
from csi_driver.registry.keychain import Keychain

_PATIENCE = 5.0  # seconds that a person who looks something up is glad to wait for a registry
_SHOWN = ("name", "family", "architecture", "format", "param_size", "precision", "quantization", "created_at")


@dataclass(frozen=True, slots=True)
class Model:
    """All that is known of a model without fetching it. `digest` is that of its own manifest, also within an index."""

    reference: Reference
    digest: Digest
    manifest: Manifest
    layout: Layout
    config: ModelConfig

    @property
    def size(self) -> int:
        """Bytes of all layers, as the registry keeps them."""
        return sum(layer.descriptor.size for layer in self.layout.layers)


@click.command()
@reference_argument
@secret_option
@plain_http_option
@docker_config_option
@hosts_dir_option
@output_option
@click.pass_obj
def inspect(
    invocation: Invocation, *, reference: Reference, secret: IO[bytes] | None, plain_http: tuple[str, ...], output: str
) -> None:
    """Show what REFERENCE is at its registry: producer, description, and every layer with its file. Needs no driver.

    The JSON has the keys reference, digest, producer, artifactType, model (what the model says of itself), size
    (bytes), warnings and layers, an array of objects with the keys path (null for a layer that unpacks to several
    files), role, packing, size, digest and mediaType.
    """
    keys = secret_keys(secret)
    keychain = Keychain.from_secrets(keys) if keys else None
    with meter(sys.stderr) as shown, registries(invocation, plain_http, shown, patience=_PATIENCE) as registry:
        model = examine(registry.repository(reference, keychain), reference)
    if output == "json":
        emit_json(_document(model))
    else:
        _print(model)


def examine(repository: Repository, reference: Reference) -> Model:
    """The model that `reference` means, of an index the one for this machine's platform."""
    fetched, manifest = find(repository, reference.selector, Platform.of_machine(platform.machine()))
    layout, config = lay_out(repository, manifest), _config(repository, manifest.config)
    return Model(reference, fetched.digest, manifest, layout, config)


def _config(repository: Repository, descriptor: Descriptor) -> ModelConfig:
    """What the model says of itself, where it says it in ModelPack's form."""
    if not is_model_type(descriptor.media_type) or not 0 < descriptor.size <= MAX_CONFIG_BYTES:
        return ModelConfig()
    return ModelConfig.parse(configuration(repository, descriptor))


def _document(model: Model) -> dict[str, object]:
    said = {field.name: getattr(model.config, field.name) for field in fields(model.config) if field.name != "diff_ids"}
    return {
        "reference": str(model.reference),
        "digest": str(model.digest),
        "producer": model.layout.producer,
        "artifactType": model.manifest.artifact_type,
        "model": {_camel(name): value for name, value in said.items() if value},
        "size": model.size,
        "warnings": list(model.layout.warnings),
        "layers": [
            {
                "path": layer.path,
                "role": layer.role.value,
                "packing": layer.packing.value,
                "size": layer.descriptor.size,
                "digest": str(layer.descriptor.digest),
                "mediaType": layer.descriptor.media_type,
            }
            for layer in model.layout.layers
        ],
    }


def _print(model: Model) -> None:
    layers = model.layout.layers
    emit_fields(
        {"Reference": str(model.reference), "Digest": str(model.digest), "Producer": model.layout.producer}
        | {name.replace("_", " ").capitalize(): getattr(model.config, name) for name in _SHOWN}
        | {"Total": f"{count(len(layers), 'layer')}, {amounts.size(model.size)}"}
    )
    click.echo()
    emit_table(("ROLE", "PACKING", "SIZE", "PATH"), _rows(layers), right=(2,))
    for warning in model.layout.warnings:
        click.echo(f"Warning: {printable(warning)}", file=sys.stderr)


def _rows(layers: Iterable[Layer]) -> Iterable[tuple[str, ...]]:
    for layer in sorted(layers, key=lambda layer: layer.path or ""):
        path = layer.path if layer.path is not None else "(files named in the archive)"
        yield layer.role, layer.packing, amounts.size(layer.descriptor.size), path


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join("URL" if word == "url" else word.capitalize() for word in rest)
