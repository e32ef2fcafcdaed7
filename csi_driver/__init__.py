"""The Model CSI driver: AI models from an OCI registry, in a pod, read-only and verified."""

from importlib.metadata import version

__version__ = version("model-csi-driver")
