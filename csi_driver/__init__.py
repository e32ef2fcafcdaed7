"""The Model CSI driver: AI models from an OCI registry, in a pod, read-only and verified."""

__version__ = "0.1.0"
