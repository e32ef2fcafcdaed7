"""Whose artifact a manifest describes, told by its types alone."""

import re
from enum import StrEnum

from csi_driver.oci.manifest import Manifest
from csi_driver.oci.media import essence, is_model_type

_DOCKER_AI = re.compile(r"application/vnd\.docker\.ai\.")
_MODELKIT = re.compile(r"application/vnd\.kitops\.modelkit\.")
_OLLAMA = re.compile(r"application/vnd\.ollama\.image\.")
_IMAGE_CONFIG = re.compile(r"application/vnd\.(?:oci\.image\.config|docker\.container\.image)\.v1\+json")


class Producer(StrEnum):
    """What an artifact is, in words for its user."""

    MODELPACK = "a ModelPack artifact"
    OLLAMA = "an Ollama model"
    DOCKER_MODEL_RUNNER = "a Docker Model Runner model"
    MODELKIT = "a KitOps ModelKit"
    IMAGE = "a container image"
    GENERIC = "a generic OCI artifact, as ORAS pushes it"

    @property
    def label(self) -> str:
        """One word for programs: what a layout calls its producer."""
        return self.name.lower().replace("_", "-")


def recognise(manifest: Manifest) -> Producer:
    """The producer of an artifact. The order matters: Ollama, for one, calls its configuration a container image's."""
    config = essence(manifest.config.media_type)
    declared = (essence(manifest.artifact_type), config)
    if any(_OLLAMA.match(essence(layer.media_type)) for layer in manifest.layers):
        return Producer.OLLAMA
    if _DOCKER_AI.match(config):
        return Producer.DOCKER_MODEL_RUNNER
    if any(_MODELKIT.match(declaration) for declaration in declared):
        return Producer.MODELKIT
    if _is_modelpack(manifest):
        return Producer.MODELPACK
    if _IMAGE_CONFIG.fullmatch(config) and not manifest.artifact_type:
        return Producer.IMAGE
    return Producer.GENERIC


def _is_modelpack(manifest: Manifest) -> bool:
    types = [manifest.artifact_type, manifest.config.media_type]
    for layer in manifest.layers:
        types += [layer.media_type, layer.artifact_type]
    return any(is_model_type(media_type) for media_type in types)
