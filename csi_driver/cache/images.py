"""What the layers of a container image show of the model in it."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

from csi_driver.errors import UnsupportedArtifact
from csi_driver.host.directories import Directories, walk
from csi_driver.oci.layer import Layer
from csi_driver.oci.overlay import Entries, visible
from csi_driver.oci.part import Subtree


class Entry(NamedTuple):  # made for every file: in a quarter of the time of a frozen dataclass
    """One file or link of a layer: where it lies, in an open directory, and where it goes in the volume."""

    directory: int
    name: str
    path: str
    mode: int | None  # the exact mode it must have; None: whatever it has


def is_image(layers: Sequence[Layer]) -> bool:
    """Whether these are the layers of an image, of which later ones replace and remove what earlier ones brought."""
    return any(isinstance(layer.part, Subtree) for layer in layers)


def image_entries(layers: Sequence[tuple[Layer, Path]], reference: str) -> Generator[tuple[Layer, Entry], None, None]:
    """The files and links of the image's directory, each with its layer; valid until the next is asked for.

    `layers` are the lowest first, each with the tree of what was kept of it. UnsupportedArtifact where the image has no
    such directory, or nothing in it.
    """
    held = [(layer, path, layer.part) for layer, path in layers if isinstance(layer.part, Subtree)]
    listed = [_listed(path) for _, path, _ in held]
    empty = True
    for (layer, path, part), shown in zip(held, visible(listed), strict=True):
        with Directories(path) as directories:
            for listing in walk(directories):
                for entry in listing.others:
                    if listing.child(entry.name) not in shown:
                        continue
                    place = part.inside(listing.child(entry.name))
                    if place is None:
                        raise UnsupportedArtifact(f"/{entry.name} of the image {reference} is not a directory")
                    empty = False
                    yield layer, Entry(listing.descriptor, entry.name, place, None)
    if empty:
        raise _without(reference, held[0][2].directory, listed)


def _listed(root: Path) -> Entries:
    files: list[str] = []
    directories: list[str] = []
    with Directories(root) as opened:
        for listing in walk(opened):
            files += [listing.child(entry.name) for entry in listing.others]
            directories += [listing.child(name) for name in listing.directories]
    return Entries(files, directories)


def _without(reference: str, directory: str, listed: Sequence[Entries]) -> UnsupportedArtifact:
    top = sorted({path for entries in listed for path in entries.directories if "/" not in path})
    return UnsupportedArtifact(
        f"{reference} is a container image with no files in /{directory}: at its top it has "
        f"{', '.join(top[:20]) or 'no directories'}{' and more' if len(top) > 20 else ''}; "
        f"put the model into /{directory}, or push it with model-csi push"
    )
