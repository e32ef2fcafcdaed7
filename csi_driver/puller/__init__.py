"""Where registry, transfer and cache meet: a reference becomes a snapshot on this node."""
