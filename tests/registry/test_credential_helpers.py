"""Credential helpers that the node's docker config names are run as the Docker CLI runs them."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from csi_driver.config import Credentials
from csi_driver.inflight import spawn
from csi_driver.registry.credential import Credential
from csi_driver.registry.keychain import Helpers, Keychain
from tests.registry.programs import calls, program

ANSWERS = "print(json.dumps({'ServerURL': given, 'Username': 'helped', 'Secret': 'hunter2 of ' + given}))"


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def keychain(tmp_path: Path, document: dict[str, Any], time: Time | None = None, *, timeout: float = 30.0) -> Keychain:
    (tmp_path / "config.json").write_text(json.dumps(document))
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir(exist_ok=True)
    settings = Credentials(program_timeout_in_seconds=timeout)
    environ = {"PATH": str(bin_dir), "HOME": "/nowhere"}
    helpers = Helpers(settings=lambda: settings, environ=environ, clock=time or Time())
    return Keychain.from_docker_config(tmp_path, helpers)


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def test_the_helper_of_a_registry_is_asked_for_it_and_the_store_for_all_others(tmp_path: Path) -> None:
    one = program(tmp_path / "bin" / "docker-credential-one", ANSWERS)
    store = program(tmp_path / "bin" / "docker-credential-store", ANSWERS)
    keys = keychain(tmp_path, {"credHelpers": {"https://R.io:5000/v2/": "one"}, "credsStore": "store"})
    assert keys.credentials("r.io:5000", "team/model") == (Credential("helped", "hunter2 of r.io:5000"),)
    assert keys.credentials("r.io", "team/model") == (Credential("helped", "hunter2 of r.io"),)
    assert [(call["given"], call["args"]) for call in calls(one)] == [("r.io:5000", ["get"])]
    assert [call["given"] for call in calls(store)] == ["r.io"]
    assert calls(one)[0]["env"]["HOME"] == "/nowhere"


def test_docker_hub_is_asked_for_by_the_name_that_the_docker_cli_stores(tmp_path: Path) -> None:
    helper = program(tmp_path / "bin" / "docker-credential-x", ANSWERS)
    keys = keychain(tmp_path, {"credHelpers": {"https://index.docker.io/v1/": "x"}})
    assert len(keys.credentials("docker.io", "library/model")) == 1
    assert calls(helper)[0]["given"] == "https://index.docker.io/v1/"


def test_the_auths_of_the_file_come_after_what_the_helper_knows(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "docker-credential-x", ANSWERS)
    keys = keychain(tmp_path, {"credsStore": "x", "auths": {"r.io": auth("a:b")}})
    assert [one.username for one in keys.credentials("r.io", "m")] == ["helped", "a"]


def test_an_identity_token_is_one(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "docker-credential-x", "print(json.dumps({'Username': '<token>', 'Secret': 'idt'}))")
    [found] = keychain(tmp_path, {"credsStore": "x"}).credentials("r.io", "m")
    assert (found.password, found.identity_token) == ("", "idt")


def test_a_helper_that_knows_nothing_is_no_trouble(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "docker-credential-x", "print('credentials not found in native keychain'); sys.exit(1)")
    found = keychain(tmp_path, {"credsStore": "x", "auths": {"r.io": auth("a:b")}}).find("r.io", "m")
    assert [one.username for one in found.credentials] == ["a"]
    assert found.troubles == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("print('hunter2'); print('no  network', file=sys.stderr); sys.exit(3)", r"ended with code 3 \(no network\)"),
        ("print('hunter2')", "did not write a JSON object with Username and Secret"),
        ("print(json.dumps({'Username': '', 'Secret': 'hunter2'}))", "did not write a JSON object"),
        ("print(json.dumps(['hunter2']))", "did not write a JSON object"),
        ("print('[' * 100000)", "did not write a JSON object"),
        ("print('hunter2' * 1000000)", "wrote more than"),
        ("import signal; signal.pause()", r"did not end within 0\.5 s"),
    ],
)
def test_a_helper_that_fails_is_a_trouble_that_quotes_nothing(tmp_path: Path, text: str, told: str) -> None:
    program(tmp_path / "bin" / "docker-credential-x", text)
    timeout = 0.5 if "pause" in text else 30.0
    found = keychain(tmp_path, {"credsStore": "x", "auths": {"r.io": auth("a:b")}}, timeout=timeout).find("r.io", "m")
    assert [one.username for one in found.credentials] == ["a"]
    [trouble] = found.troubles
    assert "docker-credential-x" in trouble
    assert "hunter2" not in trouble
    assert re.search(told, trouble)


@pytest.mark.parametrize("name", ["../../evil", "a/b", "/bin/sh", "", "-x", ".x", "a b", "a\0b"])
def test_r18_a_helper_with_a_path_for_a_name_is_not_run(tmp_path: Path, name: str) -> None:
    evil = program(tmp_path / "evil", ANSWERS)
    found = keychain(tmp_path, {"credHelpers": {"r.io": name}}).find("r.io", "m")
    assert found.credentials == ()
    assert calls(evil) == []


def test_a_helper_that_is_not_installed_is_named(tmp_path: Path) -> None:
    found = keychain(tmp_path, {"credsStore": "missing"}).find("r.io", "m")
    assert found.troubles == (
        "credential helper: docker-credential-missing is not in PATH, although the node's docker config names it",
    )


def test_a_directory_of_helpers_goes_instead_of_the_path(tmp_path: Path) -> None:
    program(tmp_path / "own" / "docker-credential-x", ANSWERS)
    (tmp_path / "config.json").write_text('{"credsStore": "x"}')
    settings = Credentials(credential_helper_dir=str(tmp_path / "own"))
    helpers = Helpers(settings=lambda: settings, environ={"PATH": "/nowhere"})
    assert len(Keychain.from_docker_config(tmp_path, helpers).credentials("r.io", "m")) == 1


def test_what_a_helper_said_is_used_for_a_while_and_then_asked_again(tmp_path: Path, time: Time) -> None:
    helper = program(tmp_path / "bin" / "docker-credential-x", ANSWERS)
    keys = keychain(tmp_path, {"credsStore": "x"}, time)
    for time.now in (0.0, 29.0, 31.0):
        assert len(keys.credentials("r.io", "m")) == 1
    assert len(calls(helper)) == 2


def test_all_that_ask_at_once_share_one_run(tmp_path: Path) -> None:
    (tmp_path / "gate").write_text("")
    text = f"import time\nwhile os.path.exists({str(tmp_path / 'gate')!r}): time.sleep(0.01)\n{ANSWERS}"
    helper = program(tmp_path / "bin" / "docker-credential-x", text)
    keys = keychain(tmp_path, {"credsStore": "x"})
    asking = [spawn("ask", lambda: keys.credentials("r.io", "m")) for _ in range(5)]
    (tmp_path / "gate").unlink()
    assert {future.result(30.0) for future in asking} == {(Credential("helped", "hunter2 of r.io"),)}
    assert len(calls(helper)) == 1


def test_a_secret_names_no_helpers(tmp_path: Path) -> None:
    document = {"credsStore": "x", "credHelpers": {"r.io": "x"}, "auths": {"r.io": auth("a:b")}}
    found = Keychain.from_secrets({".dockerconfigjson": json.dumps(document)}, "r.io").find("r.io", "m")
    assert (found.credentials, found.troubles) == ((Credential("a", "b"),), ())


@pytest.mark.parametrize("document", [{"credHelpers": ["x"]}, {"credHelpers": {"r.io": 5}}, {"credsStore": 5}])
def test_what_is_no_helper_is_ignored(tmp_path: Path, document: dict[str, Any]) -> None:
    assert keychain(tmp_path, document).find("r.io", "m").troubles == ()
