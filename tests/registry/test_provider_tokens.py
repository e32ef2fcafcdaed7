"""Credential providers are told whose pod it is, and what they give to one they give to no other."""

import json
from pathlib import Path

import pytest

from csi_driver.errors import Unavailable
from csi_driver.registry.keychain import NODE, ServiceAccount, owners
from csi_driver.registry.keychain.providerconfig import parse_config
from tests.registry.programs import calls
from tests.registry.providing import HOST, REPOSITORY, TOKEN, Node, account


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


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
