"""The life of a node whose driver is killed at numbered steps, over and over; see `python -m e2e.crash`."""
