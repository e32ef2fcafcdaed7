"""What the files of a model say of it: what modctl reads from its config.json, and the format of its weights."""

import json
from collections.abc import Sequence
from typing import Any

from csi_driver.oci.config_blob import ModelConfig
from csi_driver.oci.media import Role
from csi_driver.oci.roles import role_of_file
from csi_driver.pusher.directory import Found

_SOURCES = ("config.json", "generation_config.json")  # the later one wins, as in modctl
_MOST_BYTES = 4 << 20
_FORMATS = {"safetensors": "safetensors", "gguf": "gguf", "onnx": "onnx", "pt": "pt", "pth": "pt"}


def describe(files: Sequence[Found]) -> ModelConfig:
    """Family, architecture, precision and format, each where the files tell; it never fails over what they hold."""
    told: dict[str, Any] = {}
    for name in _SOURCES:
        told |= next((_read(found) for found in files if found.path == name), {})
    return ModelConfig(
        family=_text(told, "model_type"),
        architecture="transformer" if "transformers_version" in told else "",
        precision=_text(told, "torch_dtype") or _text(told, "dtype"),
        format=_format(files),
    )


def _read(found: Found) -> dict[str, Any]:
    if found.size > _MOST_BYTES:
        return {}
    try:
        with open(found.real, "rb") as file:
            document = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _text(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    return value if isinstance(value, str) and value.isprintable() else ""


def _format(files: Sequence[Found]) -> str:
    """The one format that all weights with a well-known ending have."""
    endings = (found.path.rpartition(".")[2].lower() for found in files if _holds_weights(found))
    formats = {_FORMATS[ending] for ending in endings if ending in _FORMATS}
    return formats.pop() if len(formats) == 1 else ""


def _holds_weights(found: Found) -> bool:
    return role_of_file(found.path, found.size) is Role.WEIGHT
