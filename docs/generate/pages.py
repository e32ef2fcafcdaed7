"""Pages with a part that is generated: it stands between two comments that name it."""

from collections.abc import Iterable


def between(text: str, name: str, lines: Iterable[str]) -> str:
    """`text` with `lines` between the comments of the part `name`; raises `ValueError` if they are not there."""
    start, end = f"<!-- {name}: written by `make docs` -->\n", f"<!-- end of {name} -->\n"
    head, opened, rest = text.partition(start)
    _, closed, tail = rest.partition(end)
    if not (opened and closed):
        raise ValueError(f"the page has no part between {start!r} and {end!r}")
    return "".join([head, start, *(f"{line}\n" for line in lines), end, tail])


def cell(text: str) -> str:
    """Text as it may stand in a cell of a table."""
    return text.replace("|", r"\|").replace("\n", " ")
