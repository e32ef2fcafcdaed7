"""How sizes, rates and times are written for people."""

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float) -> str:
    """A number of bytes, such as 86.7 MiB."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} B" if unit == 0 else f"{value:.1f} {UNITS[unit]}"


def rate(bytes_per_second: float) -> str:
    """A speed without decimals, such as 412 MiB/s."""
    unit = scale(int(bytes_per_second))
    return f"{bytes_per_second / 1024**unit:.0f} {UNITS[unit]}/s"


def duration(seconds: float) -> str:
    """A time in its two largest units, such as 34 s, 12 min or 14 h 33 min."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def scale(count: int) -> int:
    """The place in `UNITS` of the largest unit that is not larger than `count` bytes."""
    return min((max(count, 1).bit_length() - 1) // 10, len(UNITS) - 1)
