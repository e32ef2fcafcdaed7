"""Which files `--secret` takes."""

import base64
import io
import json
from typing import Any

import pytest
import yaml

from csi_driver.cli.credentials import secret_keys
from csi_driver.errors import InvalidRequest

CONFIG = {"auths": {"registry.example.com": {"username": "ann", "password": "geheim"}}}


def keys(content: bytes | str | dict[str, Any]) -> dict[str, str]:
    if isinstance(content, dict):
        content = json.dumps(content)
    return secret_keys(io.BytesIO(content.encode() if isinstance(content, str) else content))


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_no_file_gives_no_keys() -> None:
    assert secret_keys(None) == {}


def test_a_docker_config_becomes_the_key_of_its_secret_type() -> None:
    assert json.loads(keys(CONFIG)[".dockerconfigjson"]) == CONFIG


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump])
def test_a_secret_manifest_gives_its_keys(write: Any) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "registry"},
        "data": {".dockerconfigjson": encoded(json.dumps(CONFIG))},
    }
    assert keys(write(manifest)) == {".dockerconfigjson": json.dumps(CONFIG)}


def test_string_data_of_a_secret_wins_over_data() -> None:
    manifest = {"kind": "Secret", "data": {"username": encoded("old")}, "stringData": {"username": "ann"}}
    assert keys(manifest) == {"username": "ann"}


def test_base64_may_be_broken_into_lines() -> None:
    assert keys(f"kind: Secret\ndata:\n  username: |\n    {encoded('ann')[:2]}\n    {encoded('ann')[2:]}\n") == {
        "username": "ann"
    }


def test_user_name_and_password_are_enough() -> None:
    assert keys("username: ann\npassword: geheim\n") == {"username": "ann", "password": "geheim"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"geheim",
        b"[geheim]",
        b"{geheim",
        b"\xff\xfegeheim",
        b"a: b: geheim",
        b"password: geheim",
        b"username: 7\npassword: geheim",
        b'{"kind": "Secret"}',
        b'{"kind": "Secret", "data": {"password": "geheim!"}}',
        b'{"kind": "Secret", "data": {"password": "/w=="}, "x": "geheim"}',
        b'{"kind": "Secret", "data": ["geheim"]}',
        b'{"kind": "Secret", "stringData": {"password": {"geheim": 1}}}',
        b"[" * 100_000 + b"geheim",
        b"geheim" + b" " * (1 << 20),
    ],
)
def test_anything_else_is_refused_without_being_quoted(content: bytes) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        keys(content)
    assert "geheim" not in str(refusal.value)
