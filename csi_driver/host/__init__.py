"""The host's syscalls beyond open, read and write: mounts, links, renames and the syncs that make them last."""
