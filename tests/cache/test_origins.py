"""Which registries have served which layers."""

import os

from csi_driver.cache.layout import LayerId
from csi_driver.cache.store import Cache
from csi_driver.oci.digest import Digest


def test_what_another_registry_left_half_done_is_not_gone_on_with(cache: Cache) -> None:
    layer = LayerId(Digest.of(b"layer"), is_tree=False)
    (cache.ingest(layer, "one.example") / "content").write_bytes(b"lay")
    assert (cache.ingest(layer, "one.example") / "content").read_bytes() == b"lay"
    assert not (cache.ingest(layer, "other.example") / "content").exists()


def test_a_layer_is_for_the_readers_of_the_registries_that_served_it(cache: Cache) -> None:
    layer = LayerId(Digest.of(b"layer"), is_tree=False)
    cache.served(layer, "one.example")
    assert not cache.is_served(layer, "one.example")
    (cache.ingest(layer, "one.example") / "content").write_bytes(b"layer")
    cache.commit(layer)
    assert cache.is_served(layer, "one.example")
    assert not cache.is_served(layer, "other.example")
    for mark in cache.places.origins.iterdir():
        os.utime(mark, (0, 0))
    assert cache.expire_origins(60) == 0
    cache.served(LayerId(Digest.of(b"gone"), is_tree=True), "one.example")
    for mark in cache.places.origins.iterdir():
        os.utime(mark, (0, 0))
    assert cache.expire_origins(60) == 1
