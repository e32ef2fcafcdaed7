"""What a model says of itself in its configuration, whoever produced it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from csi_driver.oci import ijson
from csi_driver.oci.config_blob import MAX_CONFIG_BYTES, ModelConfig
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.media import OCI_EMPTY, essence
from csi_driver.oci.producers.recognition import Producer


def describes(descriptor: Descriptor, producer: str) -> bool:
    """Whether the configuration is worth reading: it is known, and neither empty nor too large."""
    return (
        producer in _READERS and essence(descriptor.media_type) != OCI_EMPTY and 0 < descriptor.size <= MAX_CONFIG_BYTES
    )


def description(producer: str, body: bytes) -> ModelConfig:
    """What can be understood of a configuration; it never fails, as no mount depends on it."""
    read = _READERS.get(producer)
    return read(body) if read else ModelConfig()


def _docker(body: bytes) -> ModelConfig:
    """Docker Model Runner: model-spec's names, but for two (distribution types/config.go)."""
    document = _document(body)
    config, descriptor = _object(document, "config"), _object(document, "descriptor")
    return ModelConfig(
        created_at=_text(descriptor, "created") or _text(descriptor, "createdAt"),
        family=_text(descriptor, "family"),
        name=_text(descriptor, "name"),
        architecture=_text(config, "architecture"),
        format=_text(config, "format"),
        param_size=_text(config, "parameters") or _text(config, "paramSize"),
        quantization=_text(config, "quantization"),
    )


def _ollama(body: bytes) -> ModelConfig:
    """Ollama: ConfigV2 of types/model; its `architecture` is the machine's."""
    document = _document(body)
    return ModelConfig(
        family=_text(document, "model_family"),
        format=_text(document, "model_format"),
        param_size=_text(document, "model_type"),
        quantization=_text(document, "file_type"),
    )


def _kitfile(body: bytes) -> ModelConfig:
    """KitOps: the Kitfile, whose package tells of the whole and whose model tells of the weights."""
    document = _document(body)
    package, model = _object(document, "package"), _object(document, "model")
    license_ = _text(model, "license") or _text(package, "license")
    authors = package.get("authors")
    return ModelConfig(
        name=_text(package, "name") or _text(model, "name"),
        version=_text(package, "version") or _text(model, "version"),
        description=_text(package, "description") or _text(model, "description"),
        format=_text(model, "format"),
        authors=tuple(each for each in authors if isinstance(each, str)) if isinstance(authors, list) else (),
        licenses=(license_,) if license_ else (),
    )


def _document(body: bytes) -> Mapping[str, Any]:
    try:
        document = ijson.loads(body) if len(body) <= MAX_CONFIG_BYTES else None
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _object(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    return value if isinstance(value, str) else ""


_READERS: Mapping[str, Callable[[bytes], ModelConfig]] = MappingProxyType(
    {
        Producer.MODELPACK.label: ModelConfig.parse,
        Producer.MODELKIT.label: _kitfile,
        Producer.DOCKER_MODEL_RUNNER.label: _docker,
        Producer.OLLAMA.label: _ollama,
    }
)
