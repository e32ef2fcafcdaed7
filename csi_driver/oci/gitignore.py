"""Which files a list of gitignore patterns names (gitignore(5), "Pattern format").

Patterns come from whoever writes a pod, and paths from whoever packs a model, so matching never backtracks: a pattern
costs at most its length times the path's length, where a plain translation to one regular expression lets five stars
stop the process for many seconds.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

_ANY_COMPONENT = re.compile(r".+", re.DOTALL)

Segment = re.Pattern[str] | None
"""What one component of a path must match; None stands for `**`: any number of components."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of a gitignore file.

    `negated` re-includes what earlier patterns exclude. `directories_only` is what a slash at the end says: the pattern
    names directories, and files only by what is above them.
    """

    segments: tuple[Segment, ...]
    negated: bool
    directories_only: bool

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """The pattern of a line, None for a blank line, a comment or a lone slash; ValueError if it is broken."""
        text = _without_trailing_spaces(line)
        if not text or text.startswith("#") or text == "/":
            return None
        negated = text.startswith("!")
        body = text[1:] if negated else text
        return cls(_segments(body.removesuffix("/")), negated, body.endswith("/"))

    def matches(self, components: Sequence[str]) -> bool:
        """Whether the pattern names the file whose path consists of the components."""
        return not self.directories_only and _matches(self.segments, components)

    def matches_above(self, components: Sequence[str]) -> bool:
        """Whether the pattern names a directory above that file."""
        return _matches((*self.segments, None, _ANY_COMPONENT), components)


@dataclass(frozen=True, slots=True)
class Patterns:
    """The patterns of one gitignore file, in order."""

    patterns: tuple[Pattern, ...]

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Self:
        """All patterns of the lines; ValueError names the first one that is broken."""
        patterns: list[Pattern] = []
        for line in lines:
            try:
                pattern = Pattern.parse(line)
            except ValueError as error:
                raise ValueError(f"pattern {line[:200]!r} is broken: {error}") from error
            if pattern is not None:
                patterns.append(pattern)
        return cls(tuple(patterns))

    def excludes(self, path: str) -> bool | None:
        """Whether the patterns exclude the file `path` (True), re-include it (False) or do not name it (None).

        The last pattern decides that names the file or a directory above it, except that what re-includes a directory
        re-includes only what is excluded with it: files in it may still be named themselves. Git agrees, but for one
        thing: it re-includes nothing below an excluded directory, for it does not look there.
        """
        components = path.split("/")
        by_directory: bool | None = None
        for pattern in reversed(self.patterns):
            if pattern.matches(components):
                return not pattern.negated
            if by_directory is None and pattern.matches_above(components):
                if not pattern.negated:
                    return True
                by_directory = False
        return by_directory


def _matches(segments: Sequence[Segment], components: Sequence[str]) -> bool:
    """Matching with one point to go back to: when a later `**` is reached, an earlier one need not take more."""
    at = 0
    position = 0
    retry: tuple[int, int] | None = None
    while position < len(components) or at < len(segments):
        if at < len(segments):
            segment = segments[at]
            if segment is None:
                retry = (at, position + 1)
                at += 1
                continue
            if position < len(components) and segment.fullmatch(components[position]):
                at, position = at + 1, position + 1
                continue
        if retry is None or retry[1] > len(components):
            return False
        at, position = retry
    return True


def _without_trailing_spaces(line: str) -> str:
    """The line without the spaces at its end, except for one that a backslash protects."""
    text = line.rstrip(" ")
    backslashes = len(text) - len(text.rstrip("\\"))
    return text + " " if backslashes % 2 and len(line) > len(text) else text


def _segments(body: str) -> tuple[Segment, ...]:
    """A pattern with a slash is anchored at the top; one without matches at any depth."""
    parts = body.removeprefix("/").split("/")
    anchored = "/" in body
    segments: list[Segment] = [] if anchored else [None]
    for part in parts:
        if part != "**":
            segments.append(_component(part))
        elif not segments or segments[-1] is not None:
            segments.append(None)
    if segments[-1] is None:
        segments.append(_ANY_COMPONENT)
    return tuple(segments)


def _component(glob: str) -> re.Pattern[str]:
    """A regular expression for one component that tries each star at one place only.

    What stands between two stars is best found as far left as possible, so its group is atomic; only the last piece is
    tied to the end.
    """
    pieces = [""]
    characters = _characters(glob)
    position = 0
    while position < len(characters):
        character, quoted = characters[position]
        position += 1
        if quoted or character not in "*?[":
            pieces[-1] += re.escape(character)
        elif character == "?":
            pieces[-1] += "."
        elif character == "[":
            expression, position = _bracket(characters, position)
            pieces[-1] += expression
        elif pieces[-1] or len(pieces) == 1:
            pieces.append("")
    if len(pieces) == 1:
        return re.compile(pieces[0], re.DOTALL)
    first, *inner, last = pieces
    return re.compile(first + "".join(f"(?>.*?{piece})" for piece in inner) + ".*" + last, re.DOTALL)


def _characters(glob: str) -> list[tuple[str, bool]]:
    """The characters of a component, each with whether a backslash takes away its meaning."""
    if not glob:
        raise ValueError("it has an empty component")
    characters: list[tuple[str, bool]] = []
    quoted = False
    for character in glob:
        if character == "\\" and not quoted:
            quoted = True
        else:
            characters.append((character, quoted))
            quoted = False
    if quoted:
        raise ValueError("a component ends with a backslash")
    return characters


def _bracket(characters: Sequence[tuple[str, bool]], start: int) -> tuple[str, int]:
    """The class that begins after the `[` before `start`, and the position behind its `]`."""
    negated = characters[start : start + 1] in ([("!", False)], [("^", False)])
    position = start + negated
    members = ""
    while characters[position : position + 1] != [("]", False)] or not members:
        if position >= len(characters):
            raise ValueError("a [ has no ]")
        member, position = _member(characters, position)
        members += member
    return f"[{'^' if negated else ''}{members}]", position + 1


def _member(characters: Sequence[tuple[str, bool]], position: int) -> tuple[str, int]:
    """A character or a range of a class, and the position behind it."""
    low = characters[position][0]
    if [character for character, _ in characters[position : position + 2]] == ["[", ":"]:
        raise ValueError("named character classes are not supported: write a range such as [0-9]")
    following = characters[position + 1 : position + 3]
    if len(following) < 2 or following[0] != ("-", False) or following[1] == ("]", False):
        return re.escape(low), position + 1
    high = following[1][0]
    if high < low:
        raise ValueError(f"the range {low}-{high} is empty")
    return f"{re.escape(low)}-{re.escape(high)}", position + 3
