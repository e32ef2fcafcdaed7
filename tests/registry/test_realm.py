"""Which token services a registry may name."""

import pytest

from csi_driver.registry.realm import check_realm
from csi_driver.registry.url import Url


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("https://ghcr.io", "https://ghcr.io/token"),
        ("https://registry-1.docker.io", "https://auth.docker.io/token"),
        ("https://r.io", "https://8.8.8.8/token"),
        ("https://10.0.0.5", "https://10.0.0.5:8443/token"),
        ("http://10.0.0.5:5000", "http://10.0.0.5:5001/token"),
        ("http://registry.local:5000", "http://auth.local/token"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
        ("http://127.0.0.1:5000", "http://localhost:5001/token"),
        ("http://[::1]:5000", "http://127.0.0.1:5001/token"),
        ("https://r.io", "https://[2606:4700::1111]/token"),
    ],
)
def test_r8_realms_that_are_trusted(registry: str, realm: str) -> None:
    check_realm(Url.parse(realm), Url.parse(registry))


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.r.io/token",
        "http://169.254.169.254/latest",
        "https://169.254.169.254/latest",
        "https://10.0.0.1/token",
        "https://192.168.1.1/token",
        "https://172.16.0.1/token",
        "https://100.64.0.1/token",
        "https://0.0.0.0/token",
        "https://127.0.0.1/token",
        "https://localhost/token",
        "https://x.localhost/token",
        "https://localhost./token",
        "https://[::1]/token",
        "https://[fe80::1]/token",
        "https://[fe80::1%25eth0]/token",
        "https://[fd00::1]/token",
        "https://[::ffff:10.0.0.1]/token",
        "https://[::ffff:127.0.0.1]/token",
        "https://[::127.0.0.1]/token",
        "https://[64:ff9b::169.254.169.254]/token",
        "https://[64:ff9b:1::a9fe:a9fe]/token",
        "https://[2002:a9fe:a9fe::1]/token",
        "https://[fec0::1]/token",
        "https://224.0.0.1/token",
        "https://[ff0e::1]/token",
        "https://2130706433/token",
        "https://0x7f.1/token",
        "https://127.1/token",
        "https://10.0.0.0x1/token",
        "https://0177.0.0.1/token",
    ],
)
def test_r8_realms_that_are_not(realm: str) -> None:
    with pytest.raises(ValueError, match=r"without TLS|inside the node's own network"):
        check_realm(Url.parse(realm), Url.parse("https://r.io"))


def test_r8_a_private_registry_may_not_name_another_private_address() -> None:
    with pytest.raises(ValueError, match="own network"):
        check_realm(Url.parse("http://10.0.0.6/token"), Url.parse("http://10.0.0.5"))
