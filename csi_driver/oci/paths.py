"""Which names a file may have in a volume."""

from csi_driver.errors import UnsupportedArtifact

MAX_COMPONENT_BYTES = 255
MAX_PATH_BYTES = 4095
"""Linux: NAME_MAX, and PATH_MAX without the terminating NUL."""

MAX_COMPONENTS = 256
"""The last of them the file's own name; bounds the work that a hostile artifact can ask for."""


def clean(path: str) -> str:
    """The shortest way to write the relative path `path` of a file; it never leads outside of where it starts.

    Names are kept byte for byte: bytes that are not UTF-8 are surrogate escapes. UnsupportedArtifact for a path that is
    empty, absolute, leads above its start at any point, names a directory or cannot exist on Linux.
    """
    if not path or path.startswith("/"):
        raise _unsafe(path, "it must be a relative path")
    components = path.split("/")
    if components[-1] in {"", ".", ".."}:
        raise _unsafe(path, "it names a directory, not a file")
    kept: list[str] = []
    for component in components:
        if component == "..":
            if not kept:
                raise _unsafe(path, "it leads outside of the volume")
            kept.pop()
        elif component not in {"", "."}:
            kept.append(component)
    _check_bytes(path, kept)
    return "/".join(kept)


def archived(name: bytes) -> str:
    """The path of an entry of an archive below its root, `""` for the root itself; bytes that are no UTF-8 are kept.

    Raises `UnsupportedArtifact` for an absolute path and for one with a `..` in it: neither can be told from an attempt
    to write elsewhere.
    """
    text = name.decode("utf-8", "surrogateescape")
    if is_clean(text):
        return text
    components = [component for component in text.split("/") if component not in ("", ".")]
    if text.startswith("/") or ".." in components or "\0" in text or not text:
        raise UnsupportedArtifact(f"the archive has an entry {text[:256]!r}, which does not lie inside the model")
    return "/".join(components)


def is_clean(path: str) -> bool:
    """Whether a path is written in the shortest way, is relative, and cannot lead outside of where it starts."""
    if path[:1] in ("", "/", ".") or path[-1:] == "/" or "//" in path or "/." in path:  # hardly any; look closer
        components = path.split("/")
        return not any(component in ("", ".", "..") for component in components) and "\0" not in path
    return "\0" not in path


def parents(path: str) -> list[str]:
    """The directories above a clean path, outermost first."""
    components = path.split("/")[:-1]
    return ["/".join(components[: count + 1]) for count in range(len(components))]


def basename(path: str) -> str:
    """The last component of a clean path."""
    return path.rpartition("/")[2]


def _check_bytes(path: str, components: list[str]) -> None:
    try:
        sizes = [len(component.encode("utf-8", "surrogateescape")) for component in components]
    except UnicodeEncodeError:
        raise _unsafe(path, "it cannot be written as bytes") from None
    if "\0" in path:
        raise _unsafe(path, "it contains a NUL")
    if max(sizes) > MAX_COMPONENT_BYTES:
        raise _unsafe(path, f"a component of it is longer than {MAX_COMPONENT_BYTES} bytes")
    if len(components) > MAX_COMPONENTS:
        raise _unsafe(path, f"it is deeper than {MAX_COMPONENTS} names")
    if sum(sizes) + len(sizes) - 1 > MAX_PATH_BYTES:
        raise _unsafe(path, f"it is longer than {MAX_PATH_BYTES} bytes")


def _unsafe(path: str, reason: str) -> UnsupportedArtifact:
    shown = path if len(path) <= 300 else path[:300] + "…"
    return UnsupportedArtifact(f"the artifact names a file {shown!r}, which cannot be in a volume: {reason}")
