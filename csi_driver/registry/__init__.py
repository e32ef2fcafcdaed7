"""Registries: who may read a repository, and manifests and blobs from and to it."""
