"""Whether a token service that a registry names may be trusted with that registry's credentials."""

import ipaddress

from csi_driver.registry.url import Url

_LEAD_ELSEWHERE = tuple(
    ipaddress.IPv6Network(text) for text in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "fec0::/10")
)
"""Stand for addresses of IPv4, which may be any (RFC 4291, 6052, 8215 and 3056), and sites that have been given up."""


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
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2]
        return not (last.isdigit() or last.startswith("0x"))
    return address.is_global and not address.is_multicast and not any(address in each for each in _LEAD_ELSEWHERE)
