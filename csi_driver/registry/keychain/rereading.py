"""A file whose content is in force as it is now, parsed again only when it has changed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")


class Reread(Generic[T]):
    """What `parse` makes of the bytes of a file, as of its latest change; of none where there is no file.

    A file is taken for another one when its inode, size or time of change differ. What `parse` raises is raised again
    at every use, until the file changes.
    """

    def __init__(self, parse: Callable[[bytes | None], T]) -> None:
        self._parse = parse
        self._seen: tuple[tuple[object, ...], T] | None = None

    def value(self, path: Path) -> T:
        """The content of `path`; raises `OSError` other than that there is no file, and what `parse` raises."""
        try:
            status = os.stat(path)
            identity = (path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            seen = self._seen
            if seen is None or seen[0] != identity:
                self._seen = seen = (identity, self._parse(path.read_bytes()))
        except (FileNotFoundError, NotADirectoryError):
            return self._parse(None)
        return seen[1]
