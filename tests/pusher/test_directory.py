"""Which files of a directory make up a model."""

import os
import socket
from pathlib import Path

import pytest

from csi_driver.errors import InvalidRequest
from csi_driver.host.files import remove_tree
from csi_driver.pusher.directory import survey


def paths(directory: Path) -> list[str]:
    return [found.path for found in survey(directory).files]


def test_files_come_sorted_with_their_paths_below_the_directory(model: Path) -> None:
    assert paths(model) == [
        "README.md",
        "config.json",
        "empty.txt",
        "model.safetensors",
        "onnx/int8/model.bin",
        "run.py",
    ]


def test_what_modctl_leaves_out_is_left_out_and_told(model: Path) -> None:
    before = paths(model)
    (model / ".git" / "objects").mkdir(parents=True)
    (model / ".git" / "HEAD").write_text("ref")
    (model / ".gitattributes").write_text("*.bin")
    (model / "Modelfile").write_text("NAME x")
    (model / "onnx" / "__pycache__").mkdir()
    (model / "onnx" / "__pycache__" / "run.cpython-311.pyc").write_bytes(b"")
    (model / "old.PYC").write_bytes(b"")
    found = survey(model)
    assert [file.path for file in found.files] == before
    assert found.skipped == (".git", ".gitattributes", "Modelfile", "old.PYC", "onnx/__pycache__")


def test_a_snapshot_of_the_hugging_face_cache_is_a_model(tmp_path: Path) -> None:
    blob = tmp_path / "models--org--name" / "blobs" / "5f3a"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"weights")
    snapshot = tmp_path / "models--org--name" / "snapshots" / "c9745ed1"
    (snapshot / "1_Pooling").mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../blobs/5f3a")
    (snapshot / "1_Pooling" / "config.json").symlink_to("../../../blobs/5f3a")
    found = survey(snapshot).files
    assert [(file.path, file.real, file.size) for file in found] == [
        ("1_Pooling/config.json", str(blob), 7),
        ("model.safetensors", str(blob), 7),
    ]


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A repository as Hugging Face's cache keeps it, with two snapshots."""
    root = tmp_path / "models--org--name"
    for name in ("blobs/5f3a", "blobs/77aa", "refs/main"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"weights")
    for commit, blob in (("aaaa", "5f3a"), ("bbbb", "77aa")):
        (root / "snapshots" / commit).mkdir(parents=True)
        (root / "snapshots" / commit / "model.bin").symlink_to(f"../../blobs/{blob}")
    return root


def test_of_a_repository_in_the_hugging_face_cache_the_main_snapshot_is_taken(hub: Path) -> None:
    (hub / "refs/main").write_text("bbbb")
    assert [(file.path, file.real) for file in survey(hub).files] == [("model.bin", str(hub / "blobs/77aa"))]


def test_of_a_repository_with_one_snapshot_that_is_taken(hub: Path) -> None:
    remove_tree(hub / "snapshots/aaaa")
    assert [file.real for file in survey(hub).files] == [str(hub / "blobs/77aa")]


@pytest.mark.parametrize("main", [b"", b"cccc", b"../../..", b"\xff", None])
def test_of_several_snapshots_none_is_guessed(hub: Path, main: bytes | None) -> None:
    (hub / "refs/main").unlink()
    if main is not None:
        (hub / "refs/main").write_bytes(main)
    with pytest.raises(InvalidRequest, match=r"2 snapshots.*push one of aaaa, bbbb"):
        survey(hub)


def test_directories_that_are_only_called_as_in_the_cache_are_a_models_own(model: Path) -> None:
    for name in ("blobs", "snapshots/one"):
        (model / name).mkdir(parents=True)
        (model / name / "a.bin").write_bytes(b"a")
    assert {"blobs/a.bin", "snapshots/one/a.bin", "config.json"} <= set(paths(model))


def test_a_link_to_a_file_of_the_directory_counts_as_the_file(model: Path) -> None:
    (model / "pytorch_model.bin").symlink_to("onnx/int8/model.bin")
    found = {file.path: file.real for file in survey(model).files}
    assert found["pytorch_model.bin"] == str(model / "onnx/int8/model.bin")


def test_the_directory_itself_may_be_named_by_a_link(model: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(model)
    assert paths(tmp_path / "current") == paths(model)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/etc/hostname", "outside of the directory"),
        ("../secret.key", "outside of the directory"),
        ("nowhere", "cannot be followed"),
        ("loop", "cannot be followed"),
        ("onnx", "a link to a directory"),
    ],
)
def test_other_links_are_refused(model: Path, target: str, reason: str) -> None:
    (model.parent / "secret.key").write_text("key")
    (model / "loop").symlink_to(target)
    with pytest.raises(InvalidRequest, match=reason) as refusal:
        survey(model)
    assert "loop" in str(refusal.value)


def test_blobs_of_another_model_of_the_cache_are_outside(tmp_path: Path) -> None:
    foreign = tmp_path / "models--org--private" / "blobs" / "5f3a"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"weights")
    snapshot = tmp_path / "models--org--name" / "snapshots" / "c9745ed1"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../../models--org--private/blobs/5f3a")
    with pytest.raises(InvalidRequest, match="outside of the directory"):
        survey(snapshot)


def test_pipes_are_refused_by_name(model: Path) -> None:
    os.mkfifo(model / "onnx" / "pipe")
    with pytest.raises(InvalidRequest, match=r"onnx/pipe is a named pipe"):
        survey(model)


def test_sockets_are_refused_by_name(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("listener")
    with pytest.raises(InvalidRequest, match="listener is a socket"):
        survey(model)


def test_names_that_are_not_utf8_are_refused(model: Path) -> None:
    Path(os.fsdecode(bytes(model) + b"/caf\xe9.txt")).write_bytes(b"")
    with pytest.raises(InvalidRequest, match=r"caf\\xe9\.txt' is not UTF-8"):
        survey(model)


def test_a_directory_without_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with pytest.raises(InvalidRequest, match=r"holds no file to pack$"):
        survey(tmp_path)
    (tmp_path / ".hidden").write_bytes(b"")
    with pytest.raises(InvalidRequest, match="only hidden or temporary ones"):
        survey(tmp_path)


def test_what_is_no_directory_is_refused(model: Path) -> None:
    with pytest.raises(InvalidRequest, match="does not exist"):
        survey(model / "nowhere")
    with pytest.raises(InvalidRequest, match="is not a directory"):
        survey(model / "run.py")


@pytest.mark.usefixtures("ordinary_user")
def test_a_directory_that_may_not_be_read_is_named(model: Path) -> None:
    (model / "onnx" / "int8").chmod(0)
    with pytest.raises(InvalidRequest, match="onnx/int8 may not be read by this user"):
        survey(model)
    (model / "onnx" / "int8").chmod(0o755)
