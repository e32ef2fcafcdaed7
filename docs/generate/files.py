"""Which files are generated, and from what."""

from collections.abc import Callable
from pathlib import Path

from docs.generate import attributes, manifests, metrics, schema, settings, values
from docs.generate.manifests import CHART

# How the text of a file becomes what it should be.
Renewal = Callable[[Path, str], str]

RENEWALS: dict[Path, Renewal] = {
    Path("docs", "configuration.md"): lambda _, text: settings.page(text),
    Path("docs", "monitoring.md"): lambda root, text: metrics.page(
        text, root / CHART / "monitoring" / "dashboard.json"
    ),
    Path("docs", "volumes.md"): lambda _, text: attributes.page(text),
    CHART / "values.schema.json": lambda _, text: schema.renewed(text),
    CHART / "live-settings.yaml": lambda *_: settings.live_names(),
    CHART / "README.md": lambda root, text: values.page(text, root / CHART / "values.yaml"),
}


def stale(root: Path) -> dict[Path, str]:
    """Every file below `root` that is not what it should be, with what it should be; without what Helm makes."""
    found = {}
    for name, renew in RENEWALS.items():
        text = _text(root / name)
        wanted = renew(root, text)
        if wanted != text:
            found[root / name] = wanted
    return found


def stale_of_helm(helm: Path, root: Path) -> dict[Path, str]:
    """The same of what Helm makes of the chart."""
    wanted = {**manifests.golden(helm, root), **manifests.plain(helm, root)}
    return {path: content for path, content in wanted.items() if content != _text(path)}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
