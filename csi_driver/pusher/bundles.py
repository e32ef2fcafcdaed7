"""Which files become a layer together, and how it is packed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from csi_driver.oci.media import Packing, Role
from csi_driver.oci.roles import role_of_file
from csi_driver.pusher.directory import Found

AUTO = "auto"
PACKINGS = (AUTO, Packing.RAW.value, Packing.TAR.value, Packing.TAR_GZIP.value, Packing.TAR_ZSTD.value)
"""What a push can be told about packing."""

MOST_LAYERS = 1000
"""Files in layers of their own that AUTO makes: each is a request for whoever pulls the model."""

_DESCRIPTOR_BYTES = 600
_MOST_DESCRIBED_BYTES = 2 << 20  # registries take manifests of 4 MiB (distribution-spec)

_ALONE = frozenset({Role.WEIGHT, Role.DATASET})
_ORDER = (Role.WEIGHT_CONFIG, Role.WEIGHT, Role.CODE, Role.DOC)


@dataclass(frozen=True, slots=True)
class Bundle:
    """One layer to be: files of one role in the order of their paths; if it is not an archive, a single one."""

    files: tuple[Found, ...]
    role: Role
    packing: Packing

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(found.size for found in self.files)


def bundles(files: Sequence[Found], packing: str) -> list[Bundle]:
    """The layers that these files become, in modctl's order: configuration, weights, code, documentation.

    Raw, every file is a layer. In archives every file with weights is one, as model-spec asks for, and all others of a
    role are one together. AUTO is raw, but of very many files it puts the lesser ones into plain archives.
    """
    if packing != AUTO:
        return list(_bundles(files, Packing(packing), Packing(packing)))
    described = sum(_DESCRIPTOR_BYTES + 3 * len(found.path.encode()) for found in files)
    few = len(files) <= MOST_LAYERS and described <= _MOST_DESCRIBED_BYTES
    return list(_bundles(files, Packing.RAW, Packing.RAW if few else Packing.TAR))


def _bundles(files: Iterable[Found], weights: Packing, others: Packing) -> Iterator[Bundle]:
    def place(found: Found) -> tuple[int, str]:
        return _ORDER.index(role_of_file(found.path, found.size)), found.path

    for number, group in groupby(sorted(files, key=place), key=lambda found: place(found)[0]):
        role = _ORDER[number]
        packing = weights if role in _ALONE else others
        if packing is Packing.RAW or role in _ALONE:
            yield from (Bundle((found,), role, packing) for found in group)
        else:
            yield Bundle(tuple(group), role, packing)
