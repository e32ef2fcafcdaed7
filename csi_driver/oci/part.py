"""Which part of an archive is unpacked, where that is not all of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from csi_driver.errors import UnsupportedArtifact

FILE = "file"
"""What a compressed file is unpacked to: a tree with a file of this name, which is also the name of that part."""

_MOST_REMEMBERED, _LONGEST_REMEMBERED = 100, 60


class NotInPart(UnsupportedArtifact):
    """A part needs something that is only in the rest of its archive."""


class Choice(Protocol):
    """What one reading of an archive keeps."""

    @property
    def replaces(self) -> bool:
        """Whether a later entry takes the place of an earlier one, instead of being refused."""

    def path(self, name: bytes, is_directory: bool, /) -> str | None:
        """The clean path at which the next entry, of this name, is kept; None for one that is not.

        Raises `UnsupportedArtifact` for a name that nothing can be kept under.
        """

    def existing(self, name: bytes, /) -> str | None:
        """The path at which a file of this name, which a hard link refers to, was kept; None if it was not."""

    def target(self, path: str, target: str, /) -> str:
        """What the symbolic link at `path` is to say, where the archive says `target`."""

    def finish(self) -> Iterable[str]:
        """The archive has ended: directories to be made as well. Raises `NotInPart`."""


class Part(Protocol):
    """A way to keep less of an archive than all of it. Equal parts have equal names, and others other ones."""

    @property
    def name(self) -> str:
        """Lower-case letters, digits and dashes."""

    def choice(self) -> Choice:
        """What decides about one archive, entry by entry."""


@dataclass(frozen=True, slots=True)
class Subtree:
    """One directory at the top of a container image, of which each layer brings some.

    Kept are the names in the archive, and what removes files of lower layers (image-spec layer.md, "Whiteouts"). What
    lies elsewhere is not even looked at; only what the image has at its top is kept, as empty directories.
    """

    directory: str

    @property
    def name(self) -> str:
        return self.directory

    def choice(self) -> "Choice":
        return _SubtreeChoice(self.directory)

    def inside(self, path: str) -> str | None:
        """A kept path relative to the directory; None for what does not lie in it."""
        prefix = f"{self.directory}/"
        return path.removeprefix(prefix) if path.startswith(prefix) else None


class _SubtreeChoice:
    replaces = True

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._marks = frozenset((f".wh.{directory}", ".wh..wh..opq"))
        self._elsewhere: dict[str, None] = {}

    def path(self, name: bytes, is_directory: bool) -> str | None:
        path = self.existing(name)
        if path is None and len(self._elsewhere) < _MOST_REMEMBERED:
            top, *below = _components(name)
            usual = top != ".." and not top.startswith(".wh.") and "\0" not in top and len(top) <= _LONGEST_REMEMBERED
            if (is_directory or below) and usual:
                self._elsewhere[top] = None
        return path

    def existing(self, name: bytes) -> str | None:
        components = _components(name)
        if ".." in components or b"\0" in name:
            self._check_outside(components)
            return None
        if not components:
            return ""
        if components[0] == self._directory or (len(components) == 1 and components[0] in self._marks):
            return "/".join(components)
        return None

    def target(self, path: str, target: str) -> str:
        """Relative to the link where it is absolute or climbs: an image is written as if its top were the root."""
        above = path.split("/")[:-1]
        steps = [step for step in target.split("/") if step not in ("", ".")]
        if not target.startswith("/"):
            climbs = next((number for number, step in enumerate(steps) if step != ".."), len(steps))
            if climbs == 0:
                return target
            steps = [*above[: max(0, len(above) - climbs)], *steps[climbs:]]
        shared = next((n for n, (one, other) in enumerate(zip(above, steps, strict=False)) if one != other), None)
        shared = min(len(above), len(steps)) if shared is None else shared
        return "/".join([".."] * (len(above) - shared) + steps[shared:]) or "."

    def finish(self) -> Iterable[str]:
        return list(self._elsewhere)

    def _check_outside(self, components: list[str]) -> None:
        """Refuse a name with `..` in it that could mean something in the directory; others do not matter."""
        kept: list[str] = []
        for component in components:
            if component != "..":
                kept.append(component)
            elif kept:
                kept.pop()
        if not kept or kept[0] == self._directory or kept[0] in self._marks:
            text = "/".join(components)[:256]
            raise UnsupportedArtifact(f"the image has an entry {text!r}, which cannot be told to be in one place")


def _components(name: bytes) -> list[str]:
    text = name.decode("utf-8", "surrogateescape")
    return [component for component in text.split("/") if component not in ("", ".")]
