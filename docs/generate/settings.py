"""The settings of the driver as readers see them: their table in docs/configuration.md, and which of them are live."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, get_type_hints

from csi_driver.config import Config
from docs.generate.pages import between


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; its name has dots where it is in a section."""

    name: str
    default: Any
    doc: str
    live: bool
    type: Any
    parse: Any


def all_settings(section: Any = Config, prefix: str = "") -> Iterator[Setting]:
    """Every setting of the driver, in the order of the code."""
    hints = get_type_hints(section)
    for item in fields(section):
        if item.default_factory is not MISSING:
            yield from all_settings(item.default_factory, f"{prefix}{item.name}.")
        elif "doc" in item.metadata:
            yield _setting(item, f"{prefix}{item.name}", hints[item.name])


def _setting(item: Field[Any], name: str, hint: Any) -> Setting:
    meta = item.metadata
    return Setting(name, item.default, meta["doc"], meta["live"], hint, meta["parse"])


def page(text: str) -> str:
    """docs/configuration.md with its table renewed."""
    rows = [f"| `{item.name}` | {shown(item.default)} | {item.doc}{_LIVE * item.live} |" for item in all_settings()]
    return between(text, "settings", ["| setting | default | meaning |", "|---|---|---|", *rows])


_LIVE = " *Live.*"


def shown(default: object) -> str:
    """A default in a table; nothing for what is empty."""
    text = str(default).lower() if isinstance(default, bool) else str(default).removesuffix(".0")
    return f"`{text}`" if default not in ("", (), None) else ""


def live_names() -> str:
    """The file from which the chart knows what a running driver takes over without a restart."""
    names = [f"- {item.name}\n" for item in all_settings() if item.live]
    return "# Written by `make docs` from the code: settings that a running driver follows.\n" + "".join(names)
