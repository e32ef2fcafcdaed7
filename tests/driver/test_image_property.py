"""Whatever the layers of an image are, a volume shows what applying them one after another gives."""

import posixpath
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from csi_driver.cache.layout import LayerId
from csi_driver.cache.snapshots import SnapshotSpec
from csi_driver.cache.store import Cache
from csi_driver.errors import UnsupportedArtifact
from csi_driver.host.files import remove_tree
from csi_driver.inflight import Stop
from csi_driver.oci.descriptor import Descriptor
from csi_driver.oci.digest import Digest
from csi_driver.oci.layer import Layer
from csi_driver.oci.media import Packing, Role
from csi_driver.oci.producers.image import MODELS
from csi_driver.oci.selection import Selection
from csi_driver.transfer.engine import Engine
from csi_driver.transfer.progress import Progress
from csi_driver.transfer.proof import prove_tree
from csi_driver.transfer.source import Blob
from tests.transfer.archives import END, header, member
from tests.transfer.sources import MemorySource

Entry = tuple[str, str, str]  # kind (f, d, l or w), path, and what is in a file or where a link leads
State = dict[str, tuple[str, str]]

paths = st.builds(
    "{}{}".format,
    st.sampled_from(["models/", "./models/", "/models/", "etc/"]),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join),
)
files = st.tuples(st.just("f"), paths, st.sampled_from(["", "x", "yy"]))
directories = st.tuples(st.just("d"), paths, st.just(""))
links = st.tuples(st.just("l"), paths, st.sampled_from(["a", "b/c", "/models/a"]))
removals = st.sampled_from([".wh.a", ".wh..wh..opq"])
whiteouts = st.tuples(
    st.just("w"), st.builds(lambda path, name: f"{posixpath.dirname(path)}/{name}", paths, removals), st.just("")
)
marks = st.tuples(st.just("w"), st.sampled_from([".wh.models", ".wh..wh..opq"]), st.just(""))
layers = st.lists(st.one_of(files, files, files, directories, links, whiteouts, marks), max_size=6)


def leads_to(link: str, target: str | Path) -> str:
    """Where in the image a link of /models leads."""
    return posixpath.normpath(posixpath.join("/models", posixpath.dirname(link), target))


def packed(entries: list[Entry]) -> bytes:
    return b"".join(_packed(*entry) for entry in entries) + END


def _packed(kind: str, path: str, said: str) -> bytes:
    if kind in ("d", "l"):
        return header(path, b"5") if kind == "d" else header(path, b"2", target=said)
    return member(path, said.encode())


def remove(state: State, path: str) -> None:
    for other in [other for other in state if other == path or other.startswith(f"{path}/")]:
        del state[other]


def place(state: State, path: str, what: tuple[str, str]) -> None:
    """Put something at a path, in place of what is there and of what is no directory above it."""
    above = path.split("/")[:-1]
    for count in range(1, len(above) + 1):
        parent = "/".join(above[:count])
        if state.get(parent, ("d", ""))[0] != "d":
            remove(state, parent)
        state[parent] = ("d", "")
    if what[0] != "d" or state.get(path, what)[0] != "d":
        remove(state, path)
    state[path] = what


def applied(image: list[list[Entry]]) -> State:
    """What is in the image's /models, by the words of image-spec layer.md."""
    state: State = {}
    for entries in image:
        layer: State = {}
        for kind, path, said in entries:
            clean = posixpath.normpath(path.lstrip("/"))
            if clean.startswith("models/") or kind == "w":
                place(layer, clean, (kind, said))
        for path in [path for path, (kind, _) in layer.items() if kind == "w"]:
            directory, _, name = path.rpartition("/")
            prefix = f"{directory}/" if directory else ""
            if name == ".wh..wh..opq":
                for other in [other for other in state if other.startswith(prefix)]:
                    del state[other]
            else:
                remove(state, f"{prefix}{name.removeprefix('.wh.')}")
        for path, what in layer.items():
            if what[0] != "w":
                place(state, path, what)
    inside = {path.removeprefix("models/"): what for path, what in state.items() if path.startswith("models/")}
    return {path: what for path, what in inside.items() if what[0] != "d"}


def shown(root: Path, image: list[list[Entry]]) -> State:
    """What the driver shows of it; every layer is also proved to be what it was."""
    cache = Cache(root, in_use=set)
    kept: list[Layer] = []
    for entries in image:
        data = packed(entries)
        layer = Layer(Descriptor("x", Digest.of(data), len(data)), Packing.TAR, Role.OTHER, None, part=MODELS)
        identity, blob = LayerId.of(layer), Blob(layer.descriptor.digest, len(data), Packing.TAR, MODELS)
        if cache.layer(identity) is None:
            into, stop = cache.ingest(identity), Stop()
            Engine().fetch(blob, MemorySource(data), into, progress=Progress(len(data)), stop=stop)
            tree, skeleton = cache.commit(identity), cache.skeleton(identity)
            assert skeleton is not None
            prove_tree(tree, skeleton, blob.digest, pace=lambda _: None)
        kept.append(layer)
    tree = cache.assemble("key", SnapshotSpec("image", Digest.of(b"m"), Selection(), tuple(kept))).tree
    found: State = {}
    for path in tree.rglob("*"):
        name = str(path.relative_to(tree))
        if path.is_symlink():
            found[name] = ("l", leads_to(name, path.readlink()))
        elif path.is_file():
            found[name] = ("f", path.read_text())
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(layers, min_size=1, max_size=3))
def test_a_volume_shows_what_applying_all_layers_gives(image: list[list[Entry]]) -> None:
    expected = {
        path: (kind, leads_to(path, said) if kind == "l" else said) for path, (kind, said) in applied(image).items()
    }
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        try:
            found = shown(root, image)
        except UnsupportedArtifact:  # an image without files in /models
            found = {}
        finally:
            remove_tree(root)
    assert found == expected
