"""Credential providers are asked as kubelet asks them, from the same file and with the same programs."""

import json
from pathlib import Path
from typing import Any

import pytest

from csi_driver.config import Credentials
from csi_driver.inflight import spawn
from csi_driver.registry.credential import Credential
from csi_driver.registry.duration import parse_duration
from csi_driver.registry.keychain import Keychain, Providers
from csi_driver.registry.keychain.providerconfig import parse_config
from tests.registry.programs import calls, program
from tests.registry.providing import ANSWERS, HOST, REPOSITORY, TOKEN, V1, Node


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_provider_gets_kubelet_s_request_and_its_credentials_are_used(node: Node) -> None:
    ecr = node.provider(args=["get-credentials", "--v=2"], env=[{"name": "AWS_PROFILE", "value": "models"}])
    assert node.keychain().credentials(HOST, REPOSITORY) == (Credential("AWS", "pass 1"),)
    [call] = calls(ecr)
    assert json.loads(call["given"]) == {
        "apiVersion": V1, "kind": "CredentialProviderRequest", "image": f"{HOST}/{REPOSITORY}",
    }  # fmt: skip
    assert call["args"] == ["get-credentials", "--v=2"]
    assert call["env"]["AWS_PROFILE"] == "models"
    assert call["env"]["X"] == "y"


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*.dkr.ecr.*.amazonaws.com", True),
        ("*.amazonaws.com", False),
        (HOST, True),
        (f"{HOST}/team", True),
        (f"{HOST}/other", False),
        (f"{HOST}:5000", False),
        ("*.*.*.*.*.*", True),
    ],
)
def test_only_providers_whose_images_match_are_asked(node: Node, pattern: str, matches: bool) -> None:
    ecr = node.provider(matchImages=["first.io", pattern])
    assert len(node.keychain().credentials(HOST, REPOSITORY)) == matches
    assert len(calls(ecr)) == matches


def test_all_providers_that_match_are_asked_in_their_order(node: Node) -> None:
    node.provider("one")
    node.provider("two", ANSWERS.replace("AWS", "two"))
    assert [one.username for one in node.keychain().credentials(HOST, REPOSITORY)] == ["AWS", "two"]


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
def test_every_version_of_both_apis_is_spoken(node: Node, version: str) -> None:
    node.provider(apiVersion=f"credentialprovider.kubelet.k8s.io/{version}")
    node.config.write_text(
        node.config.read_text().replace("kubelet.config.k8s.io/v1", f"kubelet.config.k8s.io/{version}")
    )
    assert len(node.keychain().credentials(HOST, REPOSITORY)) == 1


@pytest.mark.parametrize(("scope", "runs"), [("Image", [1, 2, 3]), ("Registry", [1, 1, 2]), ("Global", [1, 1, 1])])
def test_a_reply_is_used_again_for_what_it_says(node: Node, scope: str, runs: list[int]) -> None:
    ecr = node.provider(env=[{"name": "CACHE", "value": scope}])
    seen = []
    for host, repository in ((HOST, "a"), (HOST, "b"), (HOST.replace("123", "456"), "a")):
        node.keychain().credentials(host, repository)
        node.keychain().credentials(host, repository)
        seen.append(len(calls(ecr)))
    assert seen == runs


@pytest.mark.parametrize(
    ("default", "said", "used_until"),
    [("12h", None, 12 * 3600), ("12h", "1m30s", 90), ("12h", "0s", 0), ("0s", None, 0), ("0", "500ms", 0.5)],
)
def test_a_reply_is_used_for_as_long_as_it_says(node: Node, default: str, said: str | None, used_until: float) -> None:
    env = [{"name": "DURATION", "value": said}] if said else None
    ecr = node.provider(defaultCacheDuration=default, env=env)
    node.keychain().credentials(HOST, REPOSITORY)
    node.now = used_until - 0.01
    node.keychain().credentials(HOST, REPOSITORY)
    assert len(calls(ecr)) == (1 if used_until else 2)
    node.now = used_until
    assert node.keychain().credentials(HOST, REPOSITORY)[0].password == f"pass {len(calls(ecr))}"
    assert len(calls(ecr)) == (2 if used_until else 3)


def test_all_that_ask_at_once_share_one_run(node: Node, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.write_text("")
    ecr = node.provider(text=f"import time\nwhile os.path.exists({str(gate)!r}): time.sleep(0.01)\n{ANSWERS}")
    keychain = node.keychain()
    asking = [spawn("ask", lambda: keychain.credentials(HOST, REPOSITORY)) for _ in range(5)]
    gate.unlink()
    assert {future.result(30.0) for future in asking} == {(Credential("AWS", "pass 1"),)}
    assert len(calls(ecr)) == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("print('hunter2'); print('no role', file=sys.stderr); sys.exit(1)", "ended with code 1 (no role)"),
        ("print('hunter2')", "it is not JSON"),
        ("print(json.dumps(['hunter2']))", "its kind is another one"),
        ("print(json.dumps({'kind': 'hunter2'}))", "its kind is another one"),
        (ANSWERS.replace("request['apiVersion']", "'v9'"), f"its apiVersion is not {V1}"),
        (ANSWERS.replace("'Registry'", "'hunter2'"), "its cacheKeyType is none of Image, Registry, Global"),
        (ANSWERS.replace("'auth': {", "'auth': ['hunter2'], 'x': {"), "its auth is no object"),
        (ANSWERS.replace("'auth': {", "'cacheDuration': 'hunter2', 'auth': {"), "its cacheDuration is no duration"),
        ("print('hunter2' * 1000000)", "wrote more than"),
        ("os.kill(os.getpid(), 9)", "ended with code -9"),
    ],
)
def test_a_provider_that_fails_is_a_trouble_that_quotes_nothing(node: Node, text: str, told: str) -> None:
    node.provider("bad", text)
    node.provider("good")
    found = node.keychain().find(HOST, REPOSITORY)
    assert len(found.credentials) == 1
    [trouble] = found.troubles
    assert trouble.startswith("credential provider bad: ")
    assert told in trouble
    assert "hunter2" not in trouble


def test_a_failure_is_told_for_a_moment_without_another_run(node: Node) -> None:
    bad = node.provider(text="sys.exit(1)")
    for node.now in (0.0, 9.0, 11.0):
        [trouble] = node.keychain().find(HOST, REPOSITORY).troubles
        assert "ended with code 1" in trouble
    assert len(calls(bad)) == 2


def test_a_provider_whose_program_is_missing_is_named(node: Node) -> None:
    node.provider().unlink()
    [trouble] = node.keychain().find(HOST, REPOSITORY).troubles
    assert "bin/ecr cannot be run: No such file or directory" in trouble


def test_a_reply_without_credentials_is_one(node: Node) -> None:
    ecr = node.provider(text=ANSWERS.replace("'auth':", "'auth': None, 'x':"))
    for _ in range(2):
        assert node.keychain().find(HOST, REPOSITORY).credentials == ()
    assert len(calls(ecr)) == 1


def test_entries_that_are_none_are_skipped(node: Node) -> None:
    node.provider(text=ANSWERS.replace("'auth': {", "'auth': {'a.io': 5, '': {'username': 'x'}, "))
    assert len(node.keychain().find(HOST, REPOSITORY).credentials) == 1


def test_the_file_is_read_again_when_it_changes(node: Node) -> None:
    assert node.keychain().find(HOST, REPOSITORY).troubles != ()
    node.provider()
    assert len(node.keychain().credentials(HOST, REPOSITORY)) == 1
    node.config.write_text("kind: CredentialProviderConfig\napiVersion: kubelet.config.k8s.io/v1\nproviders: []\n")
    assert node.keychain().find(HOST, REPOSITORY).credentials == ()


def test_a_directory_of_files_is_taken_together(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.provider("one")
    directory = tmp_path / "configs"
    directory.mkdir()
    (directory / "b.json").write_text(node.config.read_text())
    (directory / "a.yaml").write_text(node.config.read_text().replace('"one"', '"two"'))
    (directory / "ignored.txt").write_text("nonsense")
    program(node.bin / "two", ANSWERS.replace("AWS", "two"))
    node.config = directory
    assert [one.username for one in node.keychain().credentials(HOST, REPOSITORY)] == ["two", "AWS"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "../evil"}, "must be a file name"),
        ({"name": ".."}, "must be a file name"),
        ({"name": "a b"}, "must be a file name"),
        ({"name": None}, "must be a file name"),
        ({"apiVersion": "v9"}, "provider ecr has no apiVersion of"),
        ({"matchImages": []}, "must have matchImages"),
        ({"matchImages": ["/x"]}, "must have matchImages"),
        ({"matchImages": "x.io"}, "matchImages of ecr is no list"),
        ({"defaultCacheDuration": None}, "no defaultCacheDuration"),
        ({"defaultCacheDuration": "12 hours"}, "'12 hours' is not a duration"),
        ({"args": [5]}, "args that are not all texts"),
        ({"env": [{"name": "X", "value": 5, "hunter2": 1}]}, "an entry of env that is not a name and a value"),
        ({"tokenAttributes": {}}, "without a serviceAccountTokenAudience"),
        ({"tokenAttributes": {**TOKEN, "cacheType": "x"}}, "neither Token nor ServiceAccount"),
    ],
)
def test_a_wrong_configuration_is_a_trouble_that_says_what_is_wrong(node: Node, changes: Any, told: str) -> None:
    node.provider(**{each: value for each, value in changes.items() if each != "name"})
    if "name" in changes:
        node.config.write_text(node.config.read_text().replace('"ecr"', json.dumps(changes["name"])))
    found = node.keychain().find(HOST, REPOSITORY)
    assert found.credentials == ()
    [trouble] = found.troubles
    assert str(node.config) in trouble
    assert told in trouble
    assert "hunter2" not in trouble


@pytest.mark.parametrize("text", ["{", "[]", "5", "kind: Pod", "\0", "providers: &x [*x]", "a: &a [*a]"])
def test_a_file_that_is_something_else_is_said_to_be(node: Node, text: str) -> None:
    node.config.write_text(text)
    [trouble] = node.keychain().find(HOST, REPOSITORY).troubles
    assert "cannot be used" in trouble


def test_two_providers_of_one_name_are_refused(node: Node) -> None:
    node.provider()
    node.provider()
    with pytest.raises(ValueError, match="the same name"):
        parse_config(node.config.read_bytes())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12h", 43200), ("1h30m", 5400), ("1.5h", 5400), ("100ms", 0.1), ("0s", 0), ("0", 0), (0, 0), ("1h0m0s", 3600)],
)
def test_durations_are_written_as_go_writes_them(text: object, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "12", "h", "-1h", "1 h", "1d", None, 5, "1h "])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


def test_without_a_configuration_there_are_no_providers() -> None:
    keychain = Keychain((Providers(settings=Credentials).for_node(),))
    assert keychain.find(HOST, REPOSITORY).troubles == ()
