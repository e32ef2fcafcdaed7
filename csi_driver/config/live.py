"""The configuration as it is now, while the file may change under the running driver."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from csi_driver.config.load import load
from csi_driver.config.settings import Config

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """What a changed file means: the settings that took effect, and those that a restart is needed for."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]


class LiveConfig:
    """Settings that are `live` follow the file; all others stay as they were at the start.

    Collaborators ask `current()` whenever they need a live setting, and keep no copy of it.
    """

    def __init__(
        self,
        config: Config,
        path: Path | None = None,
        environ: Mapping[str, str] = os.environ,
        *,
        check: Callable[[Config], object] = lambda _: None,
    ) -> None:
        """`config` is what `load(path, environ)` gave at the start.

        `check` raises `InvalidRequest` for what is wrong in terms that this floor does not know; now as well.
        """
        check(config)
        self._check = check
        self._config = config
        self._path = path
        self._environ = environ
        self._seen = _content(path)

    def current(self) -> Config:
        """The settings in force now."""
        return self._config

    def refresh(self) -> Change | None:
        """Look at the file; None if it holds what it held at the last look.

        Raises `InvalidRequest` once for a file that is wrong, and leaves everything as it is. The content decides, not
        the time of its change: Kubernetes replaces the files of a ConfigMap by turning a link.
        """
        content = _content(self._path)
        if content is None or content == self._seen:
            return None
        self._seen = content
        latest = load(self._path, self._environ)
        self._check(latest)
        applied, pending = _differences(self._config, latest)
        self._config = _with_live(self._config, latest)
        return Change(applied, pending)


def _content(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError:
        return None  # between two versions, or gone: what was said last stays in force


def _with_live(now: T, latest: T) -> T:
    """`now` with the live settings of `latest`, section by section."""
    values: dict[str, Any] = {}
    for item in fields(now):  # type: ignore[arg-type]
        old, new = getattr(now, item.name), getattr(latest, item.name)
        if is_dataclass(old) and "parse" not in item.metadata:
            values[item.name] = _with_live(old, new)
        else:
            values[item.name] = new if item.metadata.get("live") else old
    return type(now)(**values)


def _differences(now: Any, latest: Any, prefix: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the settings that differ: the live ones, and the others."""
    applied: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    for item in fields(now):
        old, new, name = getattr(now, item.name), getattr(latest, item.name), f"{prefix}{item.name}"
        if is_dataclass(old) and "parse" not in item.metadata:
            inner = _differences(old, new, f"{name}.")
            applied, pending = applied + inner[0], pending + inner[1]
        elif old != new and item.metadata.get("live"):
            applied += (name,)
        elif old != new and "parse" in item.metadata:
            pending += (name,)
    return applied, pending
