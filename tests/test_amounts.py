"""Sizes, rates and times as people read them."""

import pytest

from csi_driver import amounts


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1023, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1 << 20, "1.0 MiB"),
        (91_617_632, "87.4 MiB"),
        (1 << 30, "1.0 GiB"),
        (750 << 30, "750.0 GiB"),
        (1 << 50, "1.0 PiB"),
        (5 << 60, "5120.0 PiB"),
    ],
)
def test_sizes_are_written_in_binary_units(size: int, text: str) -> None:
    assert amounts.size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119.4, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h 0 min"), (52_380, "14 h 33 min")],
)
def test_times_are_written_in_their_largest_units(seconds: float, text: str) -> None:
    assert amounts.duration(seconds) == text


@pytest.mark.parametrize(("speed", "text"), [(0.0, "0 B/s"), (1023.0, "1023 B/s"), (432_013_312.0, "412 MiB/s")])
def test_rates_are_written_without_decimals(speed: float, text: str) -> None:
    assert amounts.rate(speed) == text
