"""What every command has in common: help, endings, and what is said on which stream."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from csi_driver import __version__, errors
from csi_driver.cli.exits import MEANINGS, ExitCode, code_of
from tests.cli.conftest import Command
from tests.fixtures.registry import EmbeddedRegistry

COMMANDS = ("serve", "push", "inspect", "pull", "list", "mount", "umount")


def test_help_names_every_command_and_every_exit_code(model_csi: Command) -> None:
    outcome = model_csi("--help")
    assert (outcome.code, outcome.err) == (0, "")
    for command in COMMANDS:
        assert f"\n  {command} " in outcome.out
    for code, meaning in MEANINGS:
        assert f"  {code:>3}  {meaning}\n" in outcome.out


def test_help_and_version_import_nothing_heavy() -> None:
    program = (
        "import sys; from csi_driver.cli import run; code = run(['--help']); "
        "heavy = {'grpc', 'requests', 'rich', 'google.protobuf', 'ssl'} & sys.modules.keys(); "
        "sys.exit(repr(heavy) if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version_is_the_package_s(model_csi: Command) -> None:
    assert model_csi("--version").out == f"model-csi {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_that_fits_a_terminal(model_csi: Command, command: str) -> None:
    outcome = model_csi(command, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"Usage: model-csi {command} [OPTIONS]")
    assert all(len(line) <= 80 for line in outcome.out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("moutn",), "there is no command 'moutn'; there are serve, push"),
        (("pull",), "Missing argument 'REFERENCE'. Try 'model-csi pull --help'."),
        (("pull", "x", "--colour"), "No such option"),
        (("pull", "host/Team/model"), "reference 'host/Team/model' is invalid"),
        (("list", "--endpoint", "tcp://127.0.0.1:1"), "is not a unix socket"),
        (("list", "--output", "xml"), "'xml' is not one of 'table', 'json'"),
        (("mount", "host/m", "/t", "--attribute", "key"), 'attribute "key" is not of the form key=value'),
        (("mount", "host/m", "/t", "--attribute", "k=1", "--attribute", "k=2"), 'attribute "k" is given twice'),
        (("mount", "host/m", "/t", "--attribute", "modelRef=x"), "attribute modelRef is what REFERENCE says"),
        (("pull", "host/m", "--secret", "/nowhere"), "/nowhere"),
        (("pull", "host/m", "--timeout", "0"), "0"),
        (("serve", "--config", "/nowhere.yaml"), "configuration /nowhere.yaml cannot be read"),
        (("push", "/nowhere", "host/m"), "/nowhere does not exist"),
    ],
)
def test_what_is_wrong_with_a_command_line_is_told_in_one_line(
    model_csi: Command, arguments: tuple[str, ...], told: str
) -> None:
    outcome = model_csi(*arguments)
    assert outcome.code == ExitCode.INVALID
    assert outcome.out == ""
    assert outcome.err.startswith("Error: ")
    assert outcome.err.count("\n") == 1
    assert told in outcome.err


def test_every_error_of_the_driver_has_an_exit_code() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not errors.DriverError]
    codes = {kind.__name__: code_of(kind("text")) for kind in kinds if issubclass(kind, errors.DriverError)}
    assert [name for name, code in codes.items() if code is ExitCode.UNEXPECTED] == []
    assert code_of(errors.DriverError("text")) is ExitCode.UNEXPECTED


def test_without_a_driver_the_code_says_so(model_csi: Command, socket_path: Path) -> None:
    outcome = model_csi("list", "--endpoint", f"unix://{socket_path}")
    assert outcome.code == ExitCode.NO_DRIVER
    assert f"no driver listens at unix://{socket_path}" in outcome.err


def test_an_endpoint_behind_the_command_beats_one_before_it_and_both_beat_the_environment(
    model_csi: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CSI_ENDPOINT", "/environment.sock")
    assert "unix:///environment.sock:" in model_csi("list").err
    assert "unix:///before.sock:" in model_csi("--endpoint", "/before.sock", "list").err
    assert "unix:///after.sock:" in model_csi("--endpoint", "/before.sock", "list", "--endpoint", "/after.sock").err


@pytest.mark.usefixtures("ordinary_user")
def test_a_socket_that_may_not_be_opened_is_a_matter_of_rights(model_csi: Command, socket_path: Path) -> None:
    socket_path.parent.chmod(0)
    outcome = model_csi("list", "--endpoint", socket_path)
    socket_path.parent.chmod(0o700)
    assert outcome.code == ExitCode.DENIED
    assert "cannot be opened" in outcome.err


def test_a_file_that_cannot_be_made_is_told_with_its_name(model_csi: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    outcome = model_csi("push", tmp_path / "file" / "below", "localhost:1/m")
    assert outcome.code == ExitCode.INVALID
    assert "is not a directory" in outcome.err


def test_a_reader_that_leaves_ends_the_command_in_silence(registry: EmbeddedRegistry) -> None:
    files = {f"file-{number}.json": b"{}" for number in range(3000)}
    registry.push_model("team/model", "v1", files)
    command = [sys.executable, "-m", "csi_driver", "inspect", registry.reference("team/model", "v1")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait() == ExitCode.UNEXPECTED


def test_an_interrupt_ends_the_command_without_a_traceback(registry: EmbeddedRegistry, tmp_path: Path) -> None:
    reference = registry.reference("team/model", "v1")
    registry.push_model("team/model", "v1", {"model.safetensors": b"weights"})
    registry.gate.hold()  # the configuration does not come
    process = subprocess.Popen(
        [sys.executable, "-m", "csi_driver", "inspect", reference], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    registry.gate.wait_until_held()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.strip()) == (ExitCode.INTERRUPTED, b"", b"")


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", "modèle 🤖.bin".encode()),
        ("latin-1", b"mod\xe8le \\U0001f916.bin"),
        ("utf-8", "modèle 🤖.bin".encode()),
    ],
)
def test_names_can_be_shown_in_any_locale(
    tmp_path: Path, registry: EmbeddedRegistry, encoding: str, shown: bytes
) -> None:
    directory = tmp_path / os.fsdecode(b"mod\xe8le")
    directory.mkdir()
    (directory / "modèle 🤖.bin").write_bytes(b"weights")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": encoding, "PYTHONCOERCECLOCALE": "0"}
    for arguments in (["push", directory], ["inspect"]):
        done = subprocess.run(
            [sys.executable, "-m", "csi_driver", *arguments, registry.reference("team/model", "v1")],
            env=environment, capture_output=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, b"")
    assert shown in done.stdout
