"""Durations as Go writes them, in the files that containerd and kubelet read, too."""

import re

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: object) -> float:
    """Seconds of a duration such as `12h` or `1m30s`; raises `ValueError`."""
    if text in ("0", 0):
        return 0.0
    parts = _PART.findall(text) if isinstance(text, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{str(text)[:50]!r} is not a duration such as 12h or 1m30s")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)
