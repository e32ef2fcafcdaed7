"""What a manifest says about each file: modctl's raw layers with all their annotations."""

import stat
from collections.abc import Iterable

from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.media import FILE_METADATA, FILEPATH, Packing, Role, layer_media_type, role_of
from csi_driver.oci.metadata import REGULAR_FILE, FileMetadata
from csi_driver.oci.roles import role_of_file
from csi_driver.pusher.content import Content

_ORDER = (Role.WEIGHT_CONFIG, Role.WEIGHT, Role.CODE, Role.DOC)


def descriptor_of(content: Content) -> Descriptor:
    """The layer that a file becomes, under the name and with the metadata that it had when it was read."""
    path, status = content.found.path, content.status
    metadata = FileMetadata(
        name=path.rpartition("/")[2],
        mode=stat.S_IMODE(status.st_mode) & 0o777,
        mtime_ns=status.st_mtime_ns,
        size=content.size,
        type_flag=REGULAR_FILE,
        uid=status.st_uid,
        gid=status.st_gid,
    )
    return Descriptor(
        media_type=layer_media_type(role_of_file(path, content.size), Packing.RAW),
        digest=content.digest,
        size=content.size,
        annotations={FILEPATH: path, FILE_METADATA: metadata.to_json()},
    )


def in_order(layers: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """Layers as modctl sorts them: configuration, weights, code, documentation, and each by path."""
    return tuple(sorted(layers, key=_place))


def _place(layer: Descriptor) -> tuple[int, str]:
    return _ORDER.index(role_of(layer.media_type)), layer.annotations[FILEPATH]
