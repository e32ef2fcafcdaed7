"""One log event an outcome, as data: what happened, to which volume and model."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_context: ContextVar[dict[str, object]] = ContextVar("log_context", default={})  # noqa: B039  never mutated, only replaced
_logger = logging.getLogger("model-csi")


@contextmanager
def context(**fields: object) -> Iterator[None]:
    """Add `fields` to every event logged within, also by threads that work is handed to."""
    token = _context.set({**_context.get(), **{key: value for key, value in fields.items() if value}})
    try:
        yield
    finally:
        _context.reset(token)


def event(message: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: object) -> None:
    """Log one outcome. `error` adds its traceback; fields whose value is None are left out."""
    known = {key: value for key, value in {**_context.get(), **fields}.items() if value is not None}
    _logger.log(level, message, extra={"fields": known}, exc_info=error)


def warning(message: str, *, error: BaseException | None = None, **fields: object) -> None:
    """Log something an operator should look at, that the driver lives with."""
    event(message, level=logging.WARNING, error=error, **fields)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{key}={_shown(value)}" for key, value in getattr(record, "fields", {}).items())
        line = f"{_time(record)} {record.levelname.lower()} {record.getMessage()}"
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info and record.exc_info[0] else ""
        return f"{line} {fields}".rstrip() + trace


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {key: _plain(value) for key, value in getattr(record, "fields", {}).items()}
        head = {"time": _time(record), "level": record.levelname.lower(), "message": record.getMessage()}
        trace = {"trace": self.formatException(record.exc_info)} if record.exc_info and record.exc_info[0] else {}
        return json.dumps({**head, **fields, **trace}, ensure_ascii=True)


def configure(level: str, form: str) -> None:
    """Send events to standard error, as lines of text or of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    _logger.handlers[:] = [handler]
    _logger.propagate = False
    _logger.setLevel(level.upper())


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float) else str(value)


def _shown(value: object) -> str:
    """The value on one line: quoted when it holds spaces, quotes or control characters."""
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if text.isprintable() and not set(text) & set(' "=') and text else json.dumps(text)
