"""Credential providers are asked as kubelet asks them, from the same file and with the same programs."""

import json
from pathlib import Path
from typing import Any

import pytest

from csi_driver.config import Credentials
from csi_driver.errors import Unavailable
from csi_driver.inflight import spawn
from csi_driver.registry.credential import Credential
from csi_driver.registry.keychain import NODE, Keychain, Providers, ServiceAccount, owners
from csi_driver.registry.keychain.providerconfig import parse_config, parse_duration
from tests.registry.programs import calls, program

V1 = "credentialprovider.kubelet.k8s.io/v1"
HOST, REPOSITORY = "123.dkr.ecr.eu-west-1.amazonaws.com", "team/model"
ANSWERS = """
request = json.loads(given)
count = len(open(os.path.realpath(__file__) + '.calls').readlines())
print(json.dumps({
    'apiVersion': request['apiVersion'], 'kind': 'CredentialProviderResponse',
    'cacheKeyType': os.environ.get('CACHE', 'Registry'),
    **({'cacheDuration': os.environ['DURATION']} if 'DURATION' in os.environ else {}),
    'auth': {'*.dkr.ecr.*.amazonaws.com': {'username': 'AWS', 'password': 'pass ' + str(count)},
             'other.io': {'username': 'other', 'password': 'x'}},
}))
"""


class Node:
    """A configuration and its programs."""

    def __init__(self, home: Path) -> None:
        self.config = home / "config.yaml"
        self.bin = home / "bin"
        self.now = 0.0
        self.providers = Providers(settings=self.settings, environ={"X": "y"}, clock=lambda: self.now)

    def settings(self) -> Credentials:
        return Credentials(
            image_credential_provider_config=str(self.config), image_credential_provider_bin_dir=str(self.bin)
        )

    def provider(self, name: str = "ecr", text: str = ANSWERS, **changes: Any) -> Path:
        """Configure one more provider, and write its program."""
        entry = {
            "name": name, "matchImages": ["*.dkr.ecr.*.amazonaws.com"], "defaultCacheDuration": "12h", "apiVersion": V1,
            **changes,
        }  # fmt: skip
        document = json.loads(self.config.read_text()) if self.config.exists() else None
        document = document or {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig"}
        document["providers"] = [*document.get("providers", []), {k: v for k, v in entry.items() if v is not None}]
        self.config.write_text(json.dumps(document))
        return program(self.bin / name, text)

    def keychain(self, account: ServiceAccount | None = None) -> Keychain:
        source = self.providers.for_account(account) if account else self.providers.for_node()
        return Keychain((source,))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def account(name: str = "default", token: str = "hunter2", **annotations: str) -> ServiceAccount:
    return ServiceAccount("team", name, f"uid of {name}", {"registry": token}, lambda: annotations)


TOKEN = {"serviceAccountTokenAudience": "registry", "cacheType": "Token", "requireServiceAccount": True}


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


def test_a_provider_that_wants_a_token_gets_that_of_the_pod_s_service_account(node: Node) -> None:
    wanted = {
        **TOKEN,
        "requiredServiceAccountAnnotationKeys": ["role"],
        "optionalServiceAccountAnnotationKeys": ["a", "b"],
    }
    ecr = node.provider(tokenAttributes=wanted)
    keychain = node.keychain(account(role="reader", b="2", c="3"))
    assert len(keychain.credentials(HOST, REPOSITORY)) == 1
    request = json.loads(calls(ecr)[0]["given"])
    assert request["serviceAccountToken"] == "hunter2"
    assert request["serviceAccountAnnotations"] == {"role": "reader", "b": "2"}
    assert node.keychain().find(HOST, REPOSITORY).credentials == ()  # the node has no service account
    assert len(calls(ecr)) == 1


def test_a_provider_that_wants_no_token_gets_none(node: Node) -> None:
    ecr = node.provider()
    assert node.keychain(account()).credentials(HOST, REPOSITORY) == ()
    node.keychain().credentials(HOST, REPOSITORY)
    assert "hunter2" not in calls(ecr)[0]["given"]


def test_what_is_missing_of_the_account_is_said(node: Node) -> None:
    ecr = node.provider(tokenAttributes={**TOKEN, "requiredServiceAccountAnnotationKeys": ["role"]})
    nobody = ServiceAccount("team", "default", "", {"another": "hunter2"})
    [trouble] = node.keychain(nobody).find(HOST, REPOSITORY).troubles
    assert "add it to tokenRequests of the CSIDriver" in trouble
    [trouble] = node.keychain(account()).find(HOST, REPOSITORY).troubles
    assert trouble.endswith("service account team/default has no annotation role")

    def down() -> dict[str, str]:
        raise Unavailable("the Kubernetes API is down")

    broken = ServiceAccount("team", "default", "", {"registry": "hunter2"}, down)
    [trouble] = node.keychain(broken).find(HOST, REPOSITORY).troubles
    assert trouble.endswith("the Kubernetes API is down")
    assert calls(ecr) == []


def test_a_token_that_is_not_required_may_be_missing(node: Node) -> None:
    ecr = node.provider(tokenAttributes={**TOKEN, "requireServiceAccount": False})
    [found] = node.keychain(ServiceAccount("team", "default", "", {})).credentials(HOST, REPOSITORY)
    assert "serviceAccountToken" not in json.loads(calls(ecr)[0]["given"])
    assert owners(found, b"key") == (NODE,)


def test_what_a_provider_gives_without_a_token_is_there_for_whoever_has_no_pod(node: Node) -> None:
    wanted = {**TOKEN, "requireServiceAccount": False, "optionalServiceAccountAnnotationKeys": ["role"]}
    ecr = node.provider(tokenAttributes=wanted)
    [of_node] = node.keychain().credentials(HOST, REPOSITORY)
    assert owners(of_node, b"key") == (NODE,)
    assert json.loads(calls(ecr)[0]["given"]).keys() == {"apiVersion", "kind", "image"}
    [of_account] = node.keychain(account(role="reader")).credentials(HOST, REPOSITORY)
    assert NODE not in owners(of_account, b"key")
    assert json.loads(calls(ecr)[1]["given"])["serviceAccountAnnotations"] == {"role": "reader"}


def test_no_account_gets_what_was_kept_for_another(node: Node) -> None:
    ecr = node.provider(
        tokenAttributes={**TOKEN, "cacheType": "ServiceAccount"}, env=[{"name": "CACHE", "value": "Global"}]
    )
    passwords = [
        node.keychain(one).credentials(HOST, REPOSITORY)[0].password
        for one in (account("a"), account("b"), account("a", token="renewed"), account("b", token="renewed"))
    ]
    assert passwords == ["pass 1", "pass 2", "pass 1", "pass 2"]
    assert len(calls(ecr)) == 2


def test_what_is_kept_for_a_token_is_not_for_the_next_one(node: Node) -> None:
    ecr = node.provider(tokenAttributes=TOKEN)
    for one in (account(), account(), account(token="renewed")):
        node.keychain(one).credentials(HOST, REPOSITORY)
    assert len(calls(ecr)) == 2


def test_an_account_is_the_same_owner_whatever_its_token_and_password_are_now(node: Node) -> None:
    ecr = node.provider(tokenAttributes=TOKEN, defaultCacheDuration="0s")
    before, after, other = (node.keychain(one) for one in (account(), account(token="renewed"), account("other")))
    [first] = before.credentials(HOST, REPOSITORY)
    runs = len(calls(ecr))
    one, same, another, none = (
        set(keychain.owners(host, REPOSITORY, b"key"))
        for keychain, host in ((before, HOST), (after, HOST), (other, HOST), (before, "elsewhere.io"))
    )
    assert one < set(owners(first, b"key"))
    assert one == same
    assert another.isdisjoint(owners(first, b"key"))
    assert none == set()
    assert len(calls(ecr)) == runs


def test_the_node_s_own_providers_belong_to_all_of_the_node(node: Node) -> None:
    node.provider(defaultCacheDuration="0s")
    [found] = node.keychain().credentials(HOST, REPOSITORY)
    assert owners(found, b"key") == tuple(node.keychain().owners(HOST, REPOSITORY, b"key")) == (NODE,)


def test_a_token_that_a_program_echoes_is_not_passed_on(node: Node) -> None:
    node.provider(text="print('bad token ' + json.loads(given)['serviceAccountToken'], file=sys.stderr); sys.exit(1)",
                  tokenAttributes=TOKEN)  # fmt: skip
    [trouble] = node.keychain(account()).find(HOST, REPOSITORY).troubles
    assert trouble.endswith("(bad token ***)")


def test_nothing_shows_in_a_repr(node: Node) -> None:
    node.provider(env=[{"name": "X", "value": "hunter2"}], tokenAttributes=TOKEN)
    keychain = node.keychain(account())
    found = keychain.find(HOST, REPOSITORY)
    [provider] = parse_config(node.config.read_bytes())
    assert "hunter2" not in f"{keychain!r} {found!r} {provider!r} {account()!r}"
    assert "pass 1" not in repr(found)
