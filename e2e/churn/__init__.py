"""Thousands of pods that come and go on one node."""
