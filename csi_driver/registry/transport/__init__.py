"""How bytes go to registries and come back: the only sockets towards them."""

from csi_driver.registry.transport.transport import Transport, tls_context

__all__ = ["Transport", "tls_context"]
