"""An API server, and clients of it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from csi_driver.kube.api import Api
from tests.fixtures.certificates import Authority
from tests.fixtures.kubernetes import EmbeddedApi

NewApi = Callable[..., Api]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make certificates with")
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def kubernetes(tmp_path: Path, authority: Authority) -> Iterator[EmbeddedApi]:
    with EmbeddedApi(tmp_path, authority) as kubernetes:
        yield kubernetes


@pytest.fixture
def api(kubernetes: EmbeddedApi) -> Iterator[Api]:
    """The client of a pod in the cluster."""
    api = Api(timeout=10.0, environ=kubernetes.environ, account=kubernetes.account)
    yield api
    api.close()
