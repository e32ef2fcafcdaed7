"""The attributes of a volume as users see them: their table in docs/volumes.md."""

from csi_driver.config import DEFAULT_NAME
from csi_driver.csi.attributes import Names, known
from docs.generate.pages import between, cell


def page(text: str) -> str:
    """docs/volumes.md with its table renewed."""
    rows = [f"| `{item.name}` | {cell(item.value)} | {cell(item.meaning)} |" for item in known(Names(DEFAULT_NAME))]
    return between(text, "attributes", ["| attribute | value | meaning |", "|---|---|---|", *rows])
