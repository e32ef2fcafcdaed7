"""The life of a volume on this node."""
