"""The models on this node: verified layers by digest, and snapshots that show them as the model they make up."""
