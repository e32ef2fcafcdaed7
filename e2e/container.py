"""What a container sees of a model: run in a mount namespace of its own, with the model at /model of a small root."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SYSTEM = ("bin", "lib", "lib32", "lib64", "libx32", "sbin", "usr", "nix")  # what `ls` needs to run


def main() -> int:
    """Arguments: an empty directory, the volume's target path, the original, and the paths that were left out of it."""
    root, target, original = (Path(argument) for argument in sys.argv[1:4])
    expected = set(files_below(original)) - set(sys.argv[4:])
    originals = os.open(original, os.O_RDONLY | os.O_DIRECTORY)  # stays open in the container, for the comparison
    enter(root, target)
    show("ls", "-lR", "/model")
    refusals = [refuses_to_be_changed(path) for path in ("/model/new-file", f"/model/{min(expected)}")]
    return 0 if all(refusals) & is_identical(originals, expected) else 1


def enter(root: Path, target: Path) -> None:
    """Make `root` the root directory: the system's programs, and the volume at /model, as container runtimes do."""
    for name in SYSTEM:
        place, source = root / name, Path("/", name)
        if source.is_symlink():
            place.symlink_to(source.readlink())
        elif source.is_dir():
            bind(source, place)
    bind(target, root / "model")
    os.chroot(root)
    os.chdir("/")


def bind(source: Path, place: Path) -> None:
    place.mkdir()
    subprocess.run(["mount", "--rbind", source, place], check=True)


def show(*command: str) -> None:
    print("$", *command, flush=True)
    subprocess.run(command, check=True)


def refuses_to_be_changed(path: str) -> bool:
    """Whether opening `path` for writing fails because the filesystem is read-only, even for root."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
    except OSError as error:
        print(f"write to {path}: {error.strerror}")
        return error.errno == errno.EROFS
    print(f"write to {path}: POSSIBLE")
    return False


def is_identical(originals: int, expected: set[str]) -> bool:
    """Whether /model holds the expected files and no others, with the bytes of the originals."""
    seen = set(files_below(Path("/model")))
    wrong = sorted(seen ^ expected)
    wrong += [path for path in sorted(seen & expected) if not same_bytes(f"/model/{path}", originals, path)]
    for path in wrong:
        print(f"DIFFERS: {path!r}")
    size = sum(os.path.getsize(f"/model/{path}") for path in seen)
    if not wrong:
        print(f"{len(seen)} files, {size:,} bytes: every byte as in the original")
    return not wrong


def files_below(directory: Path) -> Iterator[str]:
    for path in directory.rglob("*"):
        if not path.is_dir():
            yield str(path.relative_to(directory))


def same_bytes(path: str, originals: int, name: str) -> bool:
    with open(path, "rb") as one, open(os.open(name, os.O_RDONLY, dir_fd=originals), "rb") as other:
        while chunk := one.read(1 << 20):
            if chunk != other.read(len(chunk)):
                return False
        return not other.read(1)


if __name__ == "__main__":
    sys.exit(main())
