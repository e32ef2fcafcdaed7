"""What of an archive a selection wants, kept while it arrives."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from csi_driver.oci.layer import Layer
from csi_driver.oci.media import Role
from csi_driver.oci.part import Choice, NotInPart
from csi_driver.oci.paths import archived, basename
from csi_driver.oci.selection import Selection


def selected(layer: Layer, selection: Selection) -> Layer:
    """The layer, with only what the selection wants of it, where it is an archive of which that may be less than all.

    Where its files go is no different from the whole layer, as `layout.placement` says.
    """
    if layer.part is not None or not layer.packing.is_tree or not selection.may_split(layer.role):
        return layer
    return replace(layer, part=Selected(selection, layer.role, layer.path, layer.below))


@dataclass(frozen=True, slots=True)
class Selected:
    """The files of an archive that a selection wants: those of a layer with this role, path and place."""

    selection: Selection
    role: Role
    path: str | None
    below: str

    @property
    def name(self) -> str:
        said = json.dumps([self.selection.key, self.role, self.path, self.below]).encode("utf-8", "surrogatepass")
        return f"part-{hashlib.sha256(said).hexdigest()[:16]}"

    def choice(self) -> Choice:
        return _SelectedChoice(self)


class _SelectedChoice:
    """Decides before it is known whether a file is the only one, and may have to go where its layer says.

    A lone file is therefore kept if it is wanted at either place. Where a second file shows that its layer's path means
    nothing, or where what is left of several files would be taken for a lone one, the part is given up.
    """

    replaces = False

    def __init__(self, part: Selected) -> None:
        self._part = part
        self._prefix = f"{part.below}/" if part.below else ""
        self._files = 0
        self._kept: list[str] = []  # at most two: more are told apart from a lone one without their names
        self._unsure = False

    def path(self, name: bytes, is_directory: bool) -> str | None:
        path = archived(name)
        if is_directory or not path:
            return None
        self._files += 1
        kept = self._wants(path)
        if not kept and self._wants_lone(path):
            kept = self._unsure = True
        if kept and len(self._kept) < 2:
            self._kept.append(path)
        return path if kept else None

    def existing(self, name: bytes) -> str | None:
        path = archived(name)
        return path if self._wants(path) or self._wants_lone(path) else None

    def target(self, path: str, target: str) -> str:  # noqa: ARG002  a link says what it said
        return target

    def finish(self) -> Iterable[str]:
        one = self._kept[0] if len(self._kept) == 1 else ""
        if self._files > 1 and (
            self._unsure or (one and f"{self._prefix}{one}" != self._part.path and self._may_be_meant(one))
        ):
            raise NotInPart("the archive has files whose place depends on others, which the selection leaves out")
        return ()

    def _wants(self, path: str) -> bool:
        return self._part.selection.wants(f"{self._prefix}{path}", self._part.role)

    def _wants_lone(self, path: str) -> bool:
        where = self._part.path
        return where is not None and self._may_be_meant(path) and self._part.selection.wants(where, self._part.role)

    def _may_be_meant(self, path: str) -> bool:
        return self._part.path is not None and basename(self._part.path) == basename(path)
