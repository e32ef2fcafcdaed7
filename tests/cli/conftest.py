"""The command line as a person or a script meets it: arguments in, exit code and both outputs out."""

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from csi_driver.cli import run
from csi_driver.csi.endpoint import Endpoint
from tests.csi.conftest import Driver
from tests.fixtures.registry import EmbeddedRegistry


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON on standard output, from a command that succeeded."""
        assert (self.code, self.err) == (0, "")
        return json.loads(self.out)


Command = Callable[..., Outcome]


@pytest.fixture
def model_csi(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """Runs `model-csi` with these arguments, for somebody who has configured nothing."""
    for name in ("CSI_ENDPOINT", "DOCKER_CONFIG", "MODEL_CSI_HOSTS_DIR", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    def execute(*arguments: object) -> Outcome:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(int(code), captured.out, captured.err)

    return execute


@pytest.fixture
def registry() -> Iterator[EmbeddedRegistry]:
    with EmbeddedRegistry() as registry:
        yield registry


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """A socket that does not exist yet, with a path that is short wherever the tests run."""
    with tempfile.TemporaryDirectory(prefix="csi-") as directory:
        yield Path(directory) / "csi.sock"


@pytest.fixture
def driver(socket_path: Path) -> Iterator[Driver]:
    """The driver's real services on a real socket, with stand-ins for the cache and the mounts."""
    driver = Driver(Endpoint(socket_path))
    driver.server.start()
    yield driver
    driver.server.stop(0)


@pytest.fixture
def at_driver(model_csi: Command, driver: Driver) -> Command:
    """Runs `model-csi` against that driver."""
    return lambda *arguments: model_csi("--endpoint", driver.endpoint, *arguments)
