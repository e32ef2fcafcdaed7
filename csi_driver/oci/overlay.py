"""What the layers of a container image show together: later ones replace, whiteouts remove (image-spec layer.md)."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Union

from csi_driver.errors import UnsupportedArtifact

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"

_Node = dict[str, Union["_Node", int]]


@dataclass(frozen=True, slots=True)
class Entries:
    """What one layer holds, as clean paths: `files` are all that are not directories, whiteouts among them."""

    files: Collection[str]
    directories: Collection[str] = ()


def visible(layers: Sequence[Entries]) -> list[frozenset[str]]:
    """Of each layer's files, lowest layer first, those that the image shows; whiteouts are never among them.

    A whiteout hides what lower layers have, and nothing of its own layer. The cost is linear in the number of entries.
    UnsupportedArtifact for a whiteout of nothing.
    """
    root: _Node = {}
    for number, layer in enumerate(layers):
        for path in layer.files:
            _hide(root, path)
        for path in layer.directories:
            _directory(root, path)
        for path in layer.files:
            parent, _, name = path.rpartition("/")
            if not name.startswith(_WHITEOUT):
                _directory(root, parent)[name] = number
    shown: list[set[str]] = [set() for _ in layers]
    for path, number in _files(root):
        shown[number].add(path)
    return [frozenset(paths) for paths in shown]


def _hide(root: _Node, path: str) -> None:
    """Apply one whiteout to what lower layers left; anything else is none."""
    parent, _, name = path.rpartition("/")
    if not name.startswith(_WHITEOUT):
        return
    directory = _find(root, parent)
    if name == _OPAQUE:
        directory.clear()
    elif name == _WHITEOUT:
        raise UnsupportedArtifact(f"the image has a whiteout {path!r}, which hides nothing: it cannot be unpacked")
    else:
        directory.pop(name.removeprefix(_WHITEOUT), None)


def _find(root: _Node, path: str) -> _Node:
    """The directory at `path`, or an empty one that belongs to nothing."""
    node = root
    for name in path.split("/") if path else ():
        below = node.get(name)
        if not isinstance(below, dict):
            return {}
        node = below
    return node


def _directory(root: _Node, path: str) -> _Node:
    """The directory at `path`, made where it is missing, and in place of any file on the way."""
    node = root
    for name in path.split("/") if path else ():
        below = node.get(name)
        if not isinstance(below, dict):
            below = node[name] = {}
        node = below
    return node


def _files(root: _Node) -> Iterator[tuple[str, int]]:
    ahead: list[tuple[str, _Node]] = [("", root)]
    while ahead:
        prefix, node = ahead.pop()
        for name, below in node.items():
            if isinstance(below, dict):
                ahead.append((f"{prefix}{name}/", below))
            else:
                yield f"{prefix}{name}", below
