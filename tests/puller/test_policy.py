"""The operator's policy decides by names alone, and its words say which rule it was."""

import pytest

from csi_driver.config import Policy
from csi_driver.config.policy import NamespaceRules
from csi_driver.errors import AccessDenied
from csi_driver.oci.reference import Reference
from csi_driver.puller.policy import check

TEAM = "registry.example.com/team/model:v1"


def allowed(policy: Policy, reference: str = TEAM, namespace: str = "") -> bool:
    try:
        check(policy, Reference.parse(reference), namespace)
    except AccessDenied:
        return False
    return True


def test_without_a_policy_everything_is_allowed() -> None:
    assert allowed(Policy())
    assert allowed(Policy(), namespace="a")


@pytest.mark.parametrize(
    ("pattern", "reference", "matches"),
    [
        ("*", TEAM, True),
        ("*", "localhost/m", True),
        ("*", "gpt2", True),
        ("registry.example.com", TEAM, True),
        ("Registry.Example.com", TEAM, True),
        ("registry.example.com/", TEAM, True),
        ("example.com", TEAM, False),
        ("*.example.com", TEAM, True),
        ("*.com", TEAM, False),
        ("*.*.com", TEAM, True),
        ("reg*.example.com", TEAM, True),
        ("registry.example.com/team", TEAM, True),
        ("registry.example.com/tea", TEAM, False),
        ("registry.example.com/team", "registry.example.com/teammate/model", False),
        ("registry.example.com/team", "registry.example.com/team", True),
        ("registry.example.com/team/model", TEAM, True),
        ("registry.example.com/team/model/x", TEAM, False),
        ("registry.example.com/model", TEAM, False),
        ("registry.example.com/*/model", TEAM, True),
        ("registry.example.com/*", TEAM, True),
        ("registry.example.com/*/*/*", TEAM, False),
        ("registry.example.com/t[aeiou]am/mod?l", TEAM, True),
        ("registry.example.com/**/model", TEAM, True),
        ("registry.example.com/**/model", "registry.example.com/a/b/c/model/d", True),
        ("registry.example.com/**/other", TEAM, False),
        ("*/team", TEAM, True),
        ("*/other", TEAM, False),
        ("docker.io", "gpt2", True),
        ("docker.io/library", "gpt2", True),
        ("docker.io/library", "org/m", False),
        ("index.docker.io", "docker.io/org/m", True),
        ("docker.io", "registry-1.docker.io/org/m", True),
        ("docker.io", "index.docker.io/org/m", True),
        ("docker.io", "registry.hub.docker.com/org/m", True),
        ("[::1]", "[::1]/m", True),
        ("[::1]:5000", "[::1]:5000/m", True),
        ("[::2]", "[::1]/m", False),
    ],
)
def test_patterns_name_registries_and_what_is_below_a_repository(pattern: str, reference: str, matches: bool) -> None:
    assert allowed(Policy(allow=(pattern,)), reference) == matches
    assert allowed(Policy(deny=(pattern,)), reference) != matches


@pytest.mark.parametrize(
    ("pattern", "host", "is_allowed", "is_denied"),
    [
        ("r.io", "r.io:443", True, True),
        ("r.io", "r.io:0443", True, True),
        ("r.io", "r.io:5000", False, True),
        ("r.io:443", "r.io", True, True),
        ("r.io:5000", "r.io", False, False),
        ("r.io:5000", "r.io:5000", True, True),
        ("r.io:5000", "r.io:5001", False, False),
        ("*:5000", "r.io:5000", True, True),
        ("*:5000", "r.io", False, False),
    ],
)
def test_another_port_is_another_registry_unless_it_is_to_be_kept_out(
    pattern: str, host: str, is_allowed: bool, is_denied: bool
) -> None:
    assert allowed(Policy(allow=(pattern,)), f"{host}/m") == is_allowed
    assert allowed(Policy(deny=(pattern,)), f"{host}/m") != is_denied


def test_what_is_denied_is_denied_whatever_allows_it() -> None:
    policy = Policy(
        allow=("registry.example.com",),
        deny=("registry.example.com/team/secret",),
        namespaces=(NamespaceRules("a", allow=("registry.example.com/team/secret",)),),
    )
    assert allowed(policy)
    assert not allowed(policy, "registry.example.com/team/secret/model")
    assert not allowed(policy, "registry.example.com/team/secret", "a")


def test_a_namespace_has_its_own_list_instead_of_the_general_one() -> None:
    policy = Policy(
        allow=("registry.example.com/shared",),
        namespaces=(NamespaceRules("team-*", allow=("registry.example.com/team",)),),
    )
    assert not allowed(policy)
    assert not allowed(policy, namespace="other")
    assert allowed(policy, namespace="team-a")
    assert not allowed(policy, "registry.example.com/shared/m", "team-a")
    assert allowed(policy, "registry.example.com/shared/m", "other")


def test_a_namespace_that_says_only_what_it_denies_keeps_the_general_list() -> None:
    policy = Policy(allow=("registry.example.com",), namespaces=(NamespaceRules("a", deny=("*/team",)),))
    assert not allowed(policy, namespace="a")
    assert allowed(policy, "registry.example.com/other", "a")
    assert not allowed(policy, "elsewhere.io/other", "a")
    assert allowed(policy, namespace="b")


def test_the_lists_of_all_entries_that_match_a_namespace_are_taken_together() -> None:
    rules = (NamespaceRules("a*", allow=("one.io",)), NamespaceRules("*b", allow=("two.io",), deny=("*/x",)))
    policy = Policy(namespaces=rules)
    assert [allowed(policy, each, "ab") for each in ("one.io/m", "two.io/m", "three.io/m", "one.io/x")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_who_brings_no_namespace_has_the_general_rules_only() -> None:
    policy = Policy(deny=("bad.io",), namespaces=(NamespaceRules("*", deny=("*",)),))
    assert allowed(policy)
    assert not allowed(policy, "bad.io/m")
    assert not allowed(policy, namespace="any")


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (Policy(deny=("*/x", "*/team")), r"forbidden for namespace a: policy\.deny has '\*/team'"),
        (
            Policy(namespaces=(NamespaceRules("a", deny=("*",)),)),
            r"forbidden for namespace a: policy\.namespaces\.a\.deny has '\*'",
        ),
        (Policy(allow=("x.io",)), r"forbidden for namespace a: nothing in policy\.allow allows it"),
        (
            Policy(allow=("*",), namespaces=(NamespaceRules("*", allow=("x.io",)),)),
            r"nothing in policy\.namespaces\.\*\.allow allows it",
        ),
    ],
)
def test_a_refusal_names_the_model_and_the_rule(policy: Policy, told: str) -> None:
    with pytest.raises(AccessDenied, match=rf"^registry\.example\.com/team/model is .*{told}"):
        check(policy, Reference.parse(TEAM), "a")
