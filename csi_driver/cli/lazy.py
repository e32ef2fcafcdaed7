"""Commands that are imported when they are called, so that `--help` and completion cost no import."""

# ruff: noqa: ARG002  the signatures are click's

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command is, and what the list of commands says of it."""

    module: str
    name: str
    summary: str


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports each one at its first use."""

    def __init__(self, *args: Any, places: Mapping[str, Place], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the order of the table, which is the order a model takes."""
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = self._places.get(cmd_name)
        if place is None:
            return None
        command = getattr(import_module(place.module), place.name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{place.module}.{place.name} is not a command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self._places and not args[0].startswith("-"):
            ctx.fail(f"there is no command {args[0]!r}; there are {', '.join(self._places)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.summary) for name, place in self._places.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The epilog as it is written: it holds a table."""
        if self.epilog:
            formatter.write(f"\n{self.epilog}\n")
