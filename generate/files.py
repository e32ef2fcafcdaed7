"""Which files are generated, and from what."""

from collections.abc import Callable
from pathlib import Path

from generate import schema, settings, values

CHART = Path("deploy", "helm", "model-csi-driver")

# How the text of a file becomes what it should be.
Renewal = Callable[[Path, str], str]

RENEWALS: dict[Path, Renewal] = {
    Path("docs", "configuration.md"): lambda _, text: settings.page(text),
    CHART / "values.schema.json": lambda _, text: schema.renewed(text),
    CHART / "live-settings.yaml": lambda *_: settings.live_names(),
    CHART / "README.md": lambda root, text: values.page(text, root / CHART / "values.yaml"),
}


def stale(root: Path) -> dict[Path, str]:
    """Every file below `root` that is not what it should be, with what it should be."""
    found = {}
    for name, renew in RENEWALS.items():
        path = root / name
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        wanted = renew(root, text)
        if wanted != text:
            found[path] = wanted
    return found
