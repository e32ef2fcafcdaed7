"""How results are written to standard output: aligned columns for people, JSON for scripts."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click


def printable(text: str) -> str:
    """`text` on one line, with everything a terminal would act on or could not show written as an escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def count(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def emit_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write one JSON document; names that are not UTF-8 come out as lone surrogates (Python's surrogateescape)."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=True))


def emit_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> None:
    """Write aligned columns, never cut to the width of a terminal; the columns numbered in `right` end flush."""
    cells = [list(header), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    flush_right = set(right)
    for row in cells:
        padded = [
            cell.rjust(width) if column in flush_right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        click.echo("  ".join(padded).rstrip())


def emit_fields(fields: Mapping[str, str]) -> None:
    """Write names and values one a line; those without a value are left out."""
    width = max(map(len, fields))
    for name, value in fields.items():
        if value:
            click.echo(f"{name.ljust(width)}  {printable(value)}")
