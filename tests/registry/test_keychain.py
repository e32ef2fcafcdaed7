"""Which credentials match a repository, the way kubelet and docker read them."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from csi_driver.errors import InvalidRequest, Unavailable
from csi_driver.registry.credential import Credential
from csi_driver.registry.keychain import NODE, Keychain, owners


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def secret(auths: dict[str, Any]) -> Keychain:
    return Keychain.from_secrets({".dockerconfigjson": json.dumps({"auths": auths})}, "r.io")


@pytest.mark.parametrize(
    ("key", "host", "repository", "matches"),
    [
        ("registry.example.com", "registry.example.com", "team/model", True),
        ("Registry.Example.com", "registry.example.com", "team/model", True),
        ("registry.example.com", "other.example.com", "team/model", False),
        ("https://registry.example.com/v1/", "registry.example.com", "team/model", True),
        ("https://registry.example.com/v2", "registry.example.com", "team/model", True),
        ("http://registry.example.com", "registry.example.com", "team/model", True),
        ("registry.example.com:5000", "registry.example.com:5000", "team/model", True),
        ("registry.example.com:5000", "registry.example.com", "team/model", False),
        ("registry.example.com", "registry.example.com:5000", "team/model", False),
        ("*.example.com", "registry.example.com", "team/model", True),
        ("*.example.com", "example.com", "team/model", False),
        ("*.example.com", "a.b.example.com", "team/model", False),
        ("*.example.com:5000", "a.example.com:5000", "team/model", True),
        ("reg*.example.com", "registry.example.com", "team/model", True),
        ("registry.example.com/team", "registry.example.com", "team/model", True),
        ("registry.example.com/team", "registry.example.com", "teammate/model", True),  # as kubelet: a string prefix
        ("registry.example.com/team/", "registry.example.com", "teammate/model", False),
        ("registry.example.com/other", "registry.example.com", "team/model", False),
        ("https://index.docker.io/v1/", "docker.io", "library/model", True),
        ("docker.io", "docker.io", "library/model", True),
        ("registry-1.docker.io", "docker.io", "library/model", True),
        ("docker.io/team", "docker.io", "library/model", False),
        ("[::1]:5000", "[::1]:5000", "team/model", True),
        ("[::1]", "[::1]:5000", "team/model", False),
    ],
)
def test_r18_keys_match_as_kubelet_matches_them(key: str, host: str, repository: str, matches: bool) -> None:
    found = secret({key: auth("a:b")}).credentials(host, repository)
    assert found == ((Credential("a", "b"),) if matches else ())


def test_r18_all_that_match_are_tried_longer_paths_first() -> None:
    keychain = secret(
        {"r.io": auth("host:1"), "r.io/team": auth("path:2"), "*.io": auth("glob:3"), "x.io": auth("x:4")}
    )
    assert [one.username for one in keychain.credentials("r.io", "team/model")] == ["path", "host", "glob"]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (auth("user:pass:word"), Credential("user", "pass:word")),
        (auth("user:password\0\0"), Credential("user", "password")),
        ({"auth": auth("user:pw")["auth"].rstrip("=")}, Credential("user", "pw")),
        ({**auth("user:new"), "username": "user", "password": "old"}, Credential("user", "new")),
        ({"username": "user", "password": "pw"}, Credential("user", "pw")),
        ({"username": "<token>", "password": "idt"}, Credential("<token>", "", identity_token="idt")),
        (
            {**auth("00000000-0000-0000-0000-000000000000:"), "identitytoken": "idt"},
            Credential("00000000-0000-0000-0000-000000000000", "", identity_token="idt"),
        ),
        ({"registrytoken": "rt"}, Credential(registry_token="rt")),
        ({"registrytoken": "r\r\nX: y"}, None),
        ({"auth": "not base64!"}, None),
        (auth("no colon"), None),
        ({"auth": base64.b64encode(b"\xff\xfe:x").decode()}, None),
        ({"auth": 5}, None),
        ({}, None),
        ("text", None),
    ],
)
def test_r18_an_entry_becomes_one_credential_or_is_skipped(entry: Any, expected: Credential | None) -> None:
    keychain = secret({"r.io": entry, "*.io": auth("good:one")})
    good = Credential("good", "one")
    assert keychain.credentials("r.io", "m") == ((expected, good) if expected else (good,))


def test_r18_helpers_named_by_a_secret_are_nothing_to_us() -> None:
    document = {"credsStore": "../../evil", "credHelpers": {"r.io": "evil"}, "auths": {"r.io": auth("a:b")}}
    keychain = Keychain.from_secrets({".dockerconfigjson": json.dumps(document)}, "r.io")
    assert keychain.credentials("r.io", "m") == (Credential("a", "b"),)


def test_the_legacy_secret_is_a_bare_map() -> None:
    keychain = Keychain.from_secrets({".dockercfg": json.dumps({"r.io": auth("a:b")})}, "r.io")
    assert keychain.credentials("r.io", "m") == (Credential("a", "b"),)


@pytest.mark.parametrize(
    ("registry", "others"),
    [
        ("anywhere.io:1", ["anywhere.io", "anywhere.io:2", "an.anywhere.io:1", "evil.io:1"]),
        ("anywhere.io", ["anywhere.io:1", "evil.io"]),
        ("docker.io", ["evil.io"]),
        ("[::1]:5000", ["[::2]:5000", "[::1]"]),
        ("UP", ["evil.io"]),
    ],
)
def test_user_and_password_are_for_the_registry_that_is_referenced(registry: str, others: list[str]) -> None:
    keychain = Keychain.from_secrets({"username": "a", "password": "b"}, registry)
    assert keychain.credentials(registry, "m") == (Credential("a", "b"),)
    assert [keychain.credentials(other, "m") for other in others] == [()] * len(others)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_line_end_of_a_file_that_became_a_secret_is_no_part_of_it(end: str) -> None:
    keychain = Keychain.from_secrets({"username": f"a{end}", "password": f" b {end}"}, "r.io")
    assert keychain.credentials("r.io", "m") == (Credential("a", " b "),)


def test_no_secrets_are_anonymous() -> None:
    assert Keychain.from_secrets({}, "r.io").credentials("r.io", "m") == ()


@pytest.mark.parametrize(
    "secrets",
    [
        {".dockerconfigjson": "hunter2 {"},
        {".dockerconfigjson": '["hunter2"]'},
        {".dockercfg": "[" * 100_000},
        {"username": "hunter2"},
        {"password": "hunter2"},
        {"username": "hunter2", "password": ""},
        {"username": "hunter2", "password": "\n"},
        {"token": "hunter2"},
    ],
)
def test_a_secret_of_no_use_is_refused_without_being_quoted(secrets: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Keychain.from_secrets(secrets, "r.io")
    assert "hunter2" not in str(caught.value)


def test_nothing_shows_in_a_repr() -> None:
    credential = Credential("hunter1", "hunter2", "hunter3", "hunter4")
    keychain = Keychain.from_secrets({"username": "hunter1", "password": "hunter2"}, "r.io")
    assert "hunter" not in f"{credential!r} {keychain!r} {keychain.credentials('r.io', 'm')!r}"


def test_one_keychain_goes_before_the_other_and_nothing_is_tried_twice() -> None:
    first, second = secret({"r.io": auth("a:1")}), secret({"r.io": auth("b:2"), "*.io": auth("a:1")})
    assert [one.username for one in first.then(second).credentials("r.io", "m")] == ["a", "b"]


def test_owners_tell_credentials_apart_and_nothing_about_them() -> None:
    def of(password: str, key: bytes = b"key") -> str:
        [owner] = secret({"r.io": auth(f"a:{password}")}).owners("r.io", "m", key)
        return owner

    assert of("1") == of("1")
    assert len({of("1"), of("2"), of("1", b"other key")}) == 3
    assert "1" * 8 not in of("1" * 8)
    assert list(Keychain.anonymous().owners("r.io", "m", b"key")) == []


def test_every_credential_is_an_owner_of_its_own() -> None:
    one, other = auth("a:1"), auth("b:2")
    both, first, second, none = (
        tuple(secret(auths).owners("r.io", "m", b"key"))
        for auths in ({"r.io": one, "*.io": other}, {"r.io": one}, {"r.io": other}, {"s.io": one})
    )
    assert both == (*first, *second)
    assert none == ()


def test_a_holder_is_the_same_owner_whatever_its_password_is_now() -> None:
    def of(password: str, holder: str) -> set[str]:
        return set(owners(Credential("a", password, holder=holder), b"key"))

    assert len(of("1", "secret x") & of("2", "secret x")) == 1
    assert of("1", "secret x") & of("2", "secret y") == set()
    assert len(of("1", "secret x") & of("1", "secret y")) == 1
    assert of("1", "") < of("1", "secret x")


def test_what_needs_no_credential_and_what_the_node_has_belongs_to_all_of_the_node(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"r.io": auth("a:1")}}))
    node = Keychain.from_docker_config(tmp_path)
    [credential] = node.credentials("r.io", "m")
    assert owners(credential, b"key") == owners(None, b"key") == tuple(node.owners("r.io", "m", b"key")) == (NODE,)


def test_the_node_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    keychain = Keychain.from_docker_config(path)
    assert keychain.credentials("r.io", "m") == ()
    path.write_text(json.dumps({"auths": {"r.io": auth("a:1")}}))
    assert keychain.credentials("r.io", "m") == (Credential("a", "1"),)
    replacement = tmp_path / "new"
    replacement.write_text(json.dumps({"auths": {"r.io": auth("b:2")}}))
    os.replace(replacement, path)  # noqa: TID251  as an editor does it
    assert keychain.credentials("r.io", "m") == (Credential("b", "2"),)
    path.unlink()
    assert keychain.credentials("r.io", "m") == ()


def test_the_directory_of_the_node_file_will_do(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"r.io": auth("a:1")}}))
    assert Keychain.from_docker_config(tmp_path).credentials("r.io", "m") == (Credential("a", "1"),)


@pytest.mark.parametrize("text", ['{"auths": null}', "{}", '{"auths": []}'])
def test_a_node_file_without_entries_is_anonymous(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert Keychain.from_docker_config(tmp_path).credentials("r.io", "m") == ()


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_damaged_node_file_is_named_and_recovers(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("latin-1"))
    keychain = Keychain.from_docker_config(path)
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"config\.json is not valid JSON"):
            keychain.credentials("r.io", "m")
    path.write_text("{}")
    assert keychain.credentials("r.io", "m") == ()


def test_only_the_node_file_can_switch_tls_off(tmp_path: Path) -> None:
    auths = {"r.io:5000": {"serverscheme": "http"}, "s.io": {**auth("a:b"), "serverscheme": "https"}}
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    keychain = Keychain.from_docker_config(tmp_path)
    assert keychain.plain_http("r.io:5000")
    assert not keychain.plain_http("r.io")
    assert not keychain.plain_http("s.io")
    assert keychain.credentials("r.io:5000", "m") == ()
    assert not secret(auths).plain_http("r.io:5000")
