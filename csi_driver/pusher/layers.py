"""What a manifest says about each layer, with all the annotations that modctl writes."""

import stat

from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.media import FILE_METADATA, FILEPATH, Packing, layer_media_type
from csi_driver.oci.metadata import REGULAR_FILE, FileMetadata
from csi_driver.oci.roles import role_of_file
from csi_driver.pusher.archive import Archive
from csi_driver.pusher.content import Content, Seen


def descriptor_of(packed: Content | Archive) -> Descriptor:
    """The layer that was made of a file, or of several.

    One of a single file says its name and the metadata that it had when it was read; the others' names and metadata are
    in the archive alone, as model-spec has no annotation for several.
    """
    if isinstance(packed, Archive):
        role, packing = packed.bundle.role, packed.bundle.packing
    else:
        role, packing = role_of_file(packed.found.path, packed.size), Packing.RAW
    return Descriptor(
        media_type=layer_media_type(role, packing),
        digest=packed.digest,
        size=packed.size,
        annotations=_annotations(packed.files[0]) if len(packed.files) == 1 else {},
    )


def _annotations(seen: Seen) -> dict[str, str]:
    path, status = seen.found.path, seen.status
    metadata = FileMetadata(
        name=path.rpartition("/")[2],
        mode=stat.S_IMODE(status.st_mode) & 0o777,
        mtime_ns=status.st_mtime_ns,
        size=seen.size,
        type_flag=REGULAR_FILE,
        uid=status.st_uid,
        gid=status.st_gid,
    )
    return {FILEPATH: path, FILE_METADATA: metadata.to_json()}
