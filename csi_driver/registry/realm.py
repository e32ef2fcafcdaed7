"""Whether a token service that a registry names may be trusted with that registry's credentials."""

import ipaddress

from csi_driver.registry.url import Url


def check_realm(realm: Url, registry: Url) -> None:
    """Raise `ValueError` with the reason why `registry` must not send anybody to `realm`.

    A registry is asked by name, but the realm is whatever it answers: without this rule a challenge could have
    credentials, or requests from inside the node's network, sent to any address. So: HTTPS, unless the registry itself
    is spoken to without; and an address only if it is public, or the registry's own.
    """
    if realm.scheme != "https" and registry.scheme == "https":
        raise ValueError("it would have credentials sent without TLS")
    if realm.host == registry.host or (realm.is_loopback and registry.is_loopback):
        return
    if realm.is_loopback or not _is_public(realm.host):
        raise ValueError("it is an address inside the node's own network")


def _is_public(host: str) -> bool:
    """False for addresses that are not, and for numbers that resolvers take for addresses (WHATWG URL, section 3.5)."""
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2]
        return not (last.isdigit() or last.startswith("0x"))
